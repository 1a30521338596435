"""Where are the values of an HDF5 array: in its file, in others, or nowhere?

A file can link to any path of the machine (external links), name another file as an array's bytes
(raw storage), and assemble an array from other files (virtual datasets); HDF5 follows them all
silently. For what it does not find (chunks never written, missing sources, a raw file that is too
short) it returns a fill value, which looks like a black image or a mask of background.
"""

from __future__ import annotations

import os
from collections import Counter
from itertools import product
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py

from zarrfeed.errors import SourceError
from zarrfeed_convert.sources.arrays.array_files import UnwrittenParts
from zarrfeed_convert.sources.arrays.chunk_claims import (
    may_be_too_long,
    read_claim,
    require_declared,
    require_whole,
    touched,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed_convert.decoding.limits import Limits

_MOST_LINKS = 32  # one after the other
_THIS = "."  # the file itself, as a virtual dataset's source


def find_dataset(
    file: h5py.File, array: str, path: str, limits: Limits, *, depth: int = 0
) -> h5py.Dataset | None:
    """Find an array by its name, following links.

    Parameters
    ----------
    file, path
        The open file and its own path, for errors.
    array
        The name.
    limits
        Whether links may leave the file.
    depth
        Of virtual datasets that led here.

    Returns
    -------
    h5py.Dataset or None
        None where there is no array of the name.

    Raises
    ------
    SourceError
        A link leaves the file, or links lead to each other.
    """
    _follow(file, array, path, limits)
    found = file.get(array)
    if not isinstance(found, h5py.Dataset):
        return None
    require_own_bytes(found, path, limits, depth=depth)
    return found


def require_own_bytes(dataset: h5py.Dataset, path: str, limits: Limits, *, depth: int = 0) -> None:
    """Refuse an array whose bytes are in other files, unless that is allowed.

    Raises
    ------
    SourceError
        They are in a raw file; or in another HDF5 file, outside the folder of this one.
    """
    name = f"{path}:{dataset.name}"
    if dataset.external:
        limits.require_external(name, f"raw storage in {dataset.external[0][0]}")
    if not dataset.is_virtual:
        return
    if depth > _MOST_LINKS:
        raise SourceError(f"{name}: needed an array, found virtual datasets of each other")
    folder = str(Path(path).absolute().parent)
    for source, array in {(one.file_name, one.dset_name) for one in dataset.virtual_sources()}:
        other = path
        if source != _THIS:
            other = str(Path(folder, source))
            limits.require_own(os.path.relpath(other, folder), folder, name)
        if limits.external or not Path(other).is_file():
            continue  # a missing file is reported when it is read
        with h5py.File(other, "r") as file:
            find_dataset(file, array, other, limits, depth=depth + 1)


def _follow(file: h5py.File, array: str, path: str, limits: Limits) -> None:
    """Follow the parts of a name, and refuse a link into another file."""
    hops = 0
    done, left = "", [part for part in array.split("/") if part not in ("", ".")]
    while left:
        part = left.pop(0)
        link: Any = file.get(f"{done}/{part}", getlink=True)
        if isinstance(link, h5py.ExternalLink):
            where = f"{path}:{done}/{part}"
            limits.require_external(where, f"an array of another file, {link.filename}")
            return
        if isinstance(link, h5py.SoftLink):
            hops += 1
            if hops > _MOST_LINKS:
                raise SourceError(f"{path}:{array}: needed an array, found links to each other")
            target = [name for name in link.path.split("/") if name not in ("", ".")]
            left = target + left
            done = "" if link.path.startswith("/") else done
        else:
            done = f"{done}/{part}"


# Filters, by number, whose stored bytes claim a size.
_CODECS = {1: "gzip", 32001: "blosc", 32015: "zstd"}
_MOST_NESTED = 32  # virtual datasets of virtual datasets
_BLOCK = "%b"  # of a file's name: the number of a block


def unwritten_parts(dataset: h5py.Dataset, path: str) -> UnwrittenParts | None:
    """Find the entries along axis 0 that were never written.

    Parameters
    ----------
    dataset
        An open array.
    path
        Of its file.

    Returns
    -------
    UnwrittenParts or None
        None where all of it was.

    Raises
    ------
    SourceError
        A file that holds values of the array is missing or too short.
    """
    _require_sources(dataset, path)
    if dataset.is_virtual or dataset.external or not dataset.size:
        return None
    defined = dataset.id.get_create_plist().fill_value_defined()
    fill_is_mask = bool(defined == h5py.h5d.FILL_VALUE_USER_DEFINED)
    if dataset.chunks is None:
        all_of_it = frozenset({0})
        written = dataset.id.get_storage_size() > 0
        return (
            None
            if written
            else UnwrittenParts(dataset.shape[0], 1, all_of_it, all_of_it, fill_is_mask)
        )
    grid = [-(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True)]
    if dataset.id.get_num_chunks() == prod(grid):
        return None
    run = int(dataset.chunks[0])
    found = Counter[int]()
    dataset.id.chunk_iter(lambda chunk: found.update([chunk.chunk_offset[0] // run]))
    partly = frozenset(number for number in range(grid[0]) if found[number] < prod(grid[1:]))
    wholly = frozenset(number for number in partly if not found[number])
    return UnwrittenParts(run, grid[0], partly, wholly, fill_is_mask)


def require_room(dataset: h5py.Dataset, path: str) -> None:
    """Refuse an array without chunks whose file ends before its last value.

    Raises
    ------
    SourceError
        The message says how long the file is, and had to be.
    """
    begin = dataset.id.get_offset()
    if begin is None or dataset.chunks or dataset.external or dataset.is_virtual:
        return
    needed = begin + int(dataset.size or 0) * dataset.dtype.itemsize
    size = Path(path).stat().st_size
    if needed > size:
        raise SourceError(
            f"{path}:{dataset.name}: needed {needed} bytes for {dataset.shape} {dataset.dtype}, "
            f"found a file of {size}; it is damaged: restore it, or take it out"
        )


def _require_sources(dataset: h5py.Dataset, path: str, depth: int = 0) -> None:
    name = f"{path}:{dataset.name}"
    if dataset.external:
        _require_raw(dataset, name)
    if not dataset.is_virtual:
        return
    if depth > _MOST_NESTED:
        raise SourceError(f"{name}: needed an array, found virtual datasets of each other")
    sources, size = dataset.virtual_sources(), int(dataset.size or 0)
    covered = sum(_points(one) for one in sources)
    if covered < size:
        raise SourceError(
            f"{name}: needed values for all of the array, found sources for {covered:,} of "
            f"{size:,}; HDF5 makes up the others: write them, or give a smaller array"
        )
    for file, array in sorted({(one.file_name, one.dset_name) for one in sources}):
        _require_source(dataset, file, array, path, name, depth)


def _points(source: Any) -> int:
    return int(source.vspace.get_select_npoints())


def _require_source(
    dataset: h5py.Dataset, file: str, array: str, path: str, name: str, depth: int
) -> None:
    """Refuse a source that is missing or was never written."""
    there = f"{file}:{array}"
    file, array = file.replace(_BLOCK, "0"), array.replace(_BLOCK, "0")
    if file == _THIS:
        _require_written(dataset.file, array, path, there, name, depth)
        return
    beside = Path(path).absolute().parent / file
    found = next((str(one) for one in (beside, Path(file)) if one.is_file()), None)
    if found is None:
        raise _gone(name, there, "the file is not there")
    with h5py.File(found, "r") as opened:
        _require_written(opened, array, found, there, name, depth)


def _require_written(
    file: h5py.File, array: str, path: str, there: str, name: str, depth: int
) -> None:
    source = file.get(array)
    if not isinstance(source, h5py.Dataset):
        raise _gone(name, there, "the file has no such array")
    if not source.is_virtual and source.size and not source.id.get_storage_size():
        raise _gone(name, there, "it was never written")
    _require_sources(source, path, depth + 1)


def _require_raw(dataset: h5py.Dataset, name: str) -> None:
    left = int(dataset.size or 0) * dataset.dtype.itemsize
    for file, offset, size in dataset.external or ():
        part = min(left, size)
        has = Path(file).stat().st_size if Path(file).is_file() else 0
        if has < offset + part:
            raise _gone(name, file, f"it needed {offset + part} bytes, and has {has}")
        left -= part


def _gone(name: str, where: str, why: str) -> SourceError:
    return SourceError(
        f"{name}: needed the values that are in {where}, but {why}: HDF5 would give its fill value "
        "in their place; restore that file"
    )


def require_declared_chunks(
    dataset: h5py.Dataset, path: str, part: Sequence[slice], name: str
) -> None:
    """Refuse chunks of a part of an array that decompress to far more than declared.

    Parameters
    ----------
    dataset, path
        An open array, and its file.
    part
        A slice of each axis, with start and stop.
    name
        For errors.

    Raises
    ------
    SourceError
        A chunk would decompress to more.
    """
    if not dataset.chunks:
        return
    properties = dataset.id.get_create_plist()
    codes = [properties.get_filter(n)[0] for n in range(properties.get_nfilters())]
    codec = next((_CODECS[code] for code in codes if code in _CODECS), "")
    declared = prod(dataset.chunks) * dataset.dtype.itemsize
    if not codec:
        return
    for place in product(*touched(part, dataset.chunks)):
        corner = tuple(at * size for at, size in zip(place, dataset.chunks, strict=True))
        about = dataset.id.get_chunk_info_by_coord(corner)
        if about.byte_offset is None or not may_be_too_long(codec, about.size, declared):
            continue
        with Path(path).open("rb") as file:  # through HDF5, chunks would have to be decoded anew
            claim = read_claim(codec, file, about.byte_offset, about.size)
            require_whole(codec, claim, about.size, name)
            require_declared(codec, claim, declared, name)
