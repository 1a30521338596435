"""What samples do HDF5 files hold?

By h5py; hdf5plugin, where it is installed, adds compressions that HDF5 itself does not have.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from math import ceil, prod
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed_convert.sources.arrays.array_attributes import encoding_of
from zarrfeed_convert.sources.arrays.array_files import (
    BLOCK_NBYTES,
    FoundArray,
    Stack,
    choose_array,
    find_arrays,
    texts_of,
)
from zarrfeed_convert.sources.arrays.array_source import ArraySource
from zarrfeed_convert.sources.arrays.hdf5_storage import (
    find_dataset,
    require_declared_chunks,
    require_room,
    unwritten_parts,
)
from zarrfeed_convert.sources.cache import Cache
from zarrfeed_convert.sources.read_errors import source_errors

with contextlib.suppress(ImportError):
    import hdf5plugin  # noqa: F401 (importing it registers its filters)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.sources.arrays.array_files import ArrayFiles

_SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5")
_OPEN_ARRAYS = 32
# Shared chunks stay decoded: at most so many bytes of all arrays.
_OPEN = 4 * BLOCK_NBYTES
_PART_CHUNKS = BLOCK_NBYTES // 2  # of one array that is read in parts
_CHUNK_SLOTS = 100_003  # prime, so that few chunks share a slot of the cache


@source_errors
class Hdf5Arrays(ArraySource):
    """Arrays in HDF5 files, a sample per entry along axis 0.

    Images are (N, H, W) or (N, H, W, C), and volumes (N, D, H, W) or (N, D, H, W, C), with masks
    that have no C; without masks, images are packed alone. Where masks are (H, W), images are one
    sample per file. Arrays (D, H, W) give a sample per slice, unless `axes` says that each is one
    volume. Masks hold integers, truth values, or floats that are whole numbers.
    Images keep their dtype; integers of 64 bits become 32, if these hold them.

    Parameters
    ----------
    images, masks
        ``FILE:ARRAY``, like ``cells.h5:/train/images``. FILE may be a glob or a folder: samples
        follow each other in the order of the files, and mask files pair by name, or by order
        where they have no name in common. Without ``:ARRAY``: the only array of the file.
    axes
        A letter for each axis of the images, like ``NDHWC``: N samples (first), D planes, H rows, W
        columns, C channels; empty to find them by the shapes of images and masks. ``DHW`` is one
        volume per file.
    keys
        An array of texts beside the images, which names the samples.
    channels_first
        Whether channels come before space, as in (N, C, H, W).
    one_hot
        Whether masks have a last axis of K classes, with a 1 in the place of the class.
    color
        ``auto`` keeps the channels that the array has; ``grey``, ``rgb``, ``rgba`` convert.
    mask_map
        What mask values mean: a :class:`MaskMap`, or text as in :func:`parse_mask_map`.
    fields
        Further arrays of every sample: ``{"depth": "target:PLACE"}``, where a place is as for
        `images`, and a role is image, mask or target.
    limits
        What files may claim, and name besides themselves; see :class:`zarrfeed_convert.Limits`.

    Raises
    ------
    SourceError
        There is no such file or array (the message lists those that there are), or the arrays
        have no samples in common.

    Notes
    -----
    Samples that were compressed together, in one chunk, are decoded together for each of them,
    but for 128 MB of them, which are kept in memory. Pack such files with
    ``--order source``: it is faster. Where a split stores tiles, images and volumes of several
    chunks, or of none, are read window by window, and may be of any size.

    Examples
    --------
    >>> Hdf5Arrays("cells.h5:/images", "cells.h5:/masks")  # doctest: +SKIP
    """

    kind = "hdf5"

    def _reader(self) -> ArrayFiles:
        return _Hdf5Files(self._limits)


class _Hdf5Files:
    """Reads HDF5. Files are closed with the source, so that they can be written again."""

    bound = _OPEN

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._open: Cache[h5py.Dataset] = Cache(_OPEN, _weight)
        self._open_for_parts: Cache[h5py.Dataset] = Cache(2 * _PART_CHUNKS, _weight)
        self._checked: set[tuple[str, str, int | None]] = set()  # runs of chunks along axis 0

    def find(self, address: str, what: str) -> list[FoundArray]:
        return find_arrays(address, what, _SUFFIXES)

    def measure(self, found: FoundArray) -> Stack:
        with h5py.File(found.file, "r") as file:
            name, dataset = _dataset(file, found, self._limits)
            if dataset.shape is None:
                raise SourceError(
                    f"{found.name}: needed an array, found an empty dataset; give another"
                )
            self._limits.require_count(int(dataset.shape[0]) if dataset.shape else 1, found.name)
            if dataset.chunks:
                self._limits.require(dataset.chunks, dataset.dtype, found.name, "a chunk")
            whole = replace(found, array=name)
            together = min(dataset.chunks[0], dataset.shape[0]) if dataset.chunks else 1
            kept = min(_entry_chunks(dataset), BLOCK_NBYTES)
            require_room(dataset, found.file)
            unwritten = unwritten_parts(dataset, found.file)
            shape = tuple(map(int, dataset.shape))
            axes = [str(axis[0].name if len(axis) else axis.label) for axis in dataset.dims]
            axes = [axis.rpartition("/")[2] for axis in axes]
            encoding = encoding_of(dict(dataset.attrs), axes, dataset.dtype, name=found.name)
            return Stack(
                whole,
                shape,
                dataset.dtype,
                together,
                kept,
                unwritten=unwritten,
                encoding=encoding,
                chunks=dataset.chunks,
            )

    def read(self, stack: Stack, row: int | None, name: str) -> NDArray[Any]:
        file, array = stack.found.file, stack.found.array
        dataset = self._dataset(stack, name, parts=False)
        run = None if row is None or not dataset.chunks else row // dataset.chunks[0]
        if (file, array, run) not in self._checked:
            part = [slice(0, size) for size in dataset.shape]
            part[:1] = part[:1] if row is None else [slice(row, row + 1)]
            require_declared_chunks(dataset, file, part, name)
            self._checked.add((file, array, run))
        return _values(dataset, () if row is None else row, name)

    def read_part(self, stack: Stack, part: Sequence[slice], name: str) -> NDArray[Any]:
        dataset = self._dataset(stack, name, parts=True)
        require_declared_chunks(dataset, stack.found.file, part, name)
        return _values(dataset, tuple(part), name)

    def _dataset(self, stack: Stack, name: str, *, parts: bool) -> h5py.Dataset:
        """Open an array, unless it is open already."""
        file, array = stack.found.file, stack.found.array
        cache = self._open_for_parts if parts else self._open
        dataset = cache.get((file, array), lambda: _opened(file, array, self._limits, parts=parts))
        if dataset.shape != stack.shape or dataset.dtype != stack.dtype:
            raise SourceError(f"{name}: the array has changed since it was measured; begin anew")
        return dataset

    def texts(self, file: str, array: str) -> list[str]:
        with h5py.File(file, "r") as opened:
            name, dataset = _dataset(opened, FoundArray(file, array, ""), self._limits)
            self._limits.require(dataset.shape or (1,), dataset.dtype, f"{file}:{name}", "keys")
            return texts_of(dataset[()])


def _values(dataset: h5py.Dataset, index: Any, name: str) -> NDArray[Any]:
    try:
        return np.asarray(dataset[index])
    except OSError as error:
        raise _unreadable(dataset, error, name) from error


def _opened(path: str, array: str, limits: Limits, *, parts: bool) -> h5py.Dataset:
    """Open an array with a cache for the chunks of one entry, or of parts of one.

    Its file stays open with it.
    """
    with h5py.File(path, "r") as file:
        dataset = _dataset(file, FoundArray(path, array, ""), limits)[1]
        needed = (
            min(_layer_chunks(dataset), _PART_CHUNKS)
            if parts
            else min(_entry_chunks(dataset), BLOCK_NBYTES)
        )
    access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
    access.set_chunk_cache(_CHUNK_SLOTS, max(needed, 2**20), 0.75)
    file_id = h5py.File(path, "r").id
    return h5py.Dataset(h5py.h5d.open(file_id, array.encode("utf-8"), access))


def _entry_chunks(dataset: h5py.Dataset) -> int:
    """Return the decoded bytes of all chunks that hold a part of an entry along axis 0."""
    if not dataset.chunks or dataset.chunks[0] == 1:
        return 0
    across = [ceil(n / chunk) for n, chunk in zip(dataset.shape, dataset.chunks, strict=True)][1:]
    return int(prod(across) * prod(dataset.chunks) * dataset.dtype.itemsize)


def _layer_chunks(dataset: h5py.Dataset) -> int:
    """Return the decoded bytes of the chunks that neighbouring parts of a sample share.

    Parts follow each other along the first axis along which chunks have several entries.
    """
    chunks = dataset.chunks or ()
    first = next((axis for axis, chunk in enumerate(chunks) if chunk > 1), len(chunks))
    after = [ceil(n / chunk) for n, chunk in zip(dataset.shape, chunks, strict=False)][first + 1 :]
    return int(prod(after) * prod(chunks) * dataset.dtype.itemsize)


def _weight(dataset: h5py.Dataset) -> int:
    kept = dataset.id.get_access_plist().get_chunk_cache()[1]
    return max(_OPEN // _OPEN_ARRAYS, int(kept))


def _dataset(file: h5py.File, found: FoundArray, limits: Limits) -> tuple[str, h5py.Dataset]:
    """Return the array of an address, following links; if there is none, list the others."""
    chosen = find_dataset(file, found.array, found.file, limits) if found.array else None
    if chosen is not None:
        return f"/{found.array.strip('/')}", chosen
    arrays: dict[str, str] = {}

    def look(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            arrays[f"/{name}"] = f"{node.shape} {node.dtype}"

    file.visititems(look)
    name = choose_array(found.file, found.array, arrays)
    chosen = find_dataset(file, name, found.file, limits)
    assert chosen is not None
    return name, chosen


def _unreadable(dataset: h5py.Dataset, error: OSError, name: str) -> Exception:
    """Name the compression that is missing; HDF5 names only the folder of its plugins."""
    properties = dataset.id.get_create_plist()
    for number in range(properties.get_nfilters()):
        code, _, _, said = properties.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            what = f"filter {code} ({said.decode('utf-8', 'replace') or 'no name'})"
            return SourceError(
                f"{name}: needed a compression of which HDF5 knows, found {what}; "
                "pip install hdf5plugin has most of them"
            )
    return error
