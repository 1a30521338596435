"""What samples do NumPy's files hold?

Samples of a ``.npy`` file, or of a member of an uncompressed ``.npz``, are read one by one from
their place in the file. Pickled objects are never loaded.
"""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.npy import NPY, read_npy_header
from zarrfeed_convert.sources.arrays.array_files import (
    FoundArray,
    Stack,
    choose_array,
    find_arrays,
    texts_of,
)
from zarrfeed_convert.sources.arrays.array_source import ArraySource
from zarrfeed_convert.sources.cache import Cache
from zarrfeed_convert.sources.read_errors import source_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.sources.arrays.array_files import ArrayFiles

_SUFFIXES = (".npz", ".npy")
_KEPT = 2**30  # bytes of decompressed stacks that a process keeps
_MOST_DEFLATED = 1032  # bytes that one deflated byte may become
_LOCAL_HEADER = 30  # bytes of a zip member's own header, before its name


@source_errors
class NpzArrays(ArraySource):
    """Arrays in NPZ or NPY files: a file of many samples, or a file per sample.

    Images are (N, H, W) or (N, H, W, C), and volumes (N, D, H, W) or (N, D, H, W, C), with masks
    that have no C; without masks, images are packed alone. Where masks are (H, W), images are one
    sample per file. Arrays (D, H, W) give a sample per slice, unless `axes` says that each is one
    volume. Masks hold integers, truth values, or floats that are whole numbers.
    Images keep their dtype; integers of 64 bits become 32, if these hold them.

    Parameters
    ----------
    images, masks
        ``FILE.npz:MEMBER``, or ``FILE.npy``. FILE may be a glob or a folder, like
        ``cells/*.npz:image``: samples follow each other in the order of the files, and mask files
        pair by name. Without ``:MEMBER``: the only array of the file.
    axes
        A letter for each axis of the images, like ``NDHWC``: N samples (first), D planes, H rows, W
        columns, C channels; empty to find them by the shapes of images and masks. ``DHW`` is one
        volume per file.
    keys
        An array of texts beside the images, a member of the same files, which names the samples.
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
    What ``np.savez_compressed`` wrote can only be decompressed as a whole: an array of many samples
    is, once by every process, and takes memory for all of them there; use fewer ``--workers``, or
    save by ``np.savez``, where that is too much. Parts of other arrays are read through a memory
    map; where they are in Fortran order, parts along the last axis are the fastest.

    Examples
    --------
    >>> NpzArrays("cells.npz:x", "cells.npz:y")  # doctest: +SKIP
    >>> NpzArrays("cells/*.npz:image", "cells/*.npz:mask")  # doctest: +SKIP
    """

    kind = "npz"

    def _reader(self) -> ArrayFiles:
        return _NpzFiles(self._limits)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the bytes of an array are.

    Attributes
    ----------
    offset
        Offset of its first byte in the file; None if it is compressed.
    fortran
        Whether it is stored in column-major order.
    stamp
        Size and time of the file when it was measured, to notice later changes.
    """

    offset: int | None
    fortran: bool
    stamp: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Placed(Stack):
    place: _Place


class _NpzFiles:
    """Reads NPZ and NPY."""

    bound = _KEPT

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._decompressed: Cache[NDArray[Any]] = Cache(_KEPT, _nbytes)

    def find(self, address: str, what: str) -> list[FoundArray]:
        return find_arrays(address, what, _SUFFIXES)

    def measure(self, found: FoundArray) -> Stack:
        with Path(found.file).open("rb") as file:
            stamp = _stamp(file)
            if file.read(len(NPY)) == NPY:
                file.seek(0)
                _require_no_member(found)
                return self._measured(file, found, offset=0, stamp=stamp)
            with zipfile.ZipFile(file) as archive:
                whole, member = _member(archive, found)
                begin = _begin(file, member)
                with archive.open(member) as stream:
                    stack = self._measured(stream, whole, offset=begin, stamp=stamp)
                _require_room(stack, member)
                return stack

    def _measured(
        self, stream: IO[bytes], found: FoundArray, *, offset: int | None, stamp: tuple[int, int]
    ) -> Stack:
        """Read an array's header; its own bytes begin at the offset, if they are not compressed."""
        shape, fortran, dtype = read_npy_header(stream, found.name)
        if offset is not None:
            offset += stream.tell()
            end = offset + prod(shape) * dtype.itemsize
            if end > stamp[0] and not dtype.hasobject:
                raise SourceError(
                    f"{found.name}: needed {end} bytes, found {stamp[0]}; the file ends early: "
                    "restore it, or take it out"
                )
        together, kept = 1, 0
        if offset is None and shape:
            self._limits.require(shape, dtype, found.name, "a compressed array")
            together, kept = shape[0], prod(shape) * dtype.itemsize
        place, chunks = _Place(offset, fortran, stamp), shape if offset is None else None
        return _Placed(found, shape, dtype, together, kept, place, chunks=chunks)

    def read(self, stack: Stack, row: int | None, name: str) -> NDArray[Any]:
        assert isinstance(stack, _Placed)
        place, path = stack.place, Path(stack.found.file)
        with path.open("rb") as file:
            _require_unchanged(file, place, name)
            if place.offset is not None and not place.fortran:
                return _lying(file, stack, place.offset, row)
        if place.offset is not None:
            mapped = _mapped(stack, place.offset)
            return np.array(mapped if row is None else mapped[row])
        if row is None:
            return _decompress(stack.found)
        key = path, stack.found.array
        values = self._decompressed.get(key, lambda: _decompress(stack.found))
        return np.array(values[row])

    def read_part(self, stack: Stack, part: Sequence[slice], name: str) -> NDArray[Any]:
        assert isinstance(stack, _Placed)
        with Path(stack.found.file).open("rb") as file:
            _require_unchanged(file, stack.place, name)
        if stack.place.offset is None:
            return np.array(_decompress(stack.found)[tuple(part)])
        return np.array(_mapped(stack, stack.place.offset)[tuple(part)])

    def texts(self, file: str, array: str) -> list[str]:
        return texts_of(_decompress(self.measure(FoundArray(file, array, "")).found))


def _nbytes(values: NDArray[Any]) -> int:
    return values.nbytes


def _stamp(file: IO[bytes]) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def _require_unchanged(file: IO[bytes], place: _Place, name: str) -> None:
    if _stamp(file) != place.stamp:
        raise SourceError(f"{name}: the file has changed since it was measured; begin anew")


def _mapped(stack: _Placed, offset: int) -> NDArray[Any]:
    order: Literal["C", "F"] = "F" if stack.place.fortran else "C"
    return np.memmap(stack.found.file, stack.dtype, "r", offset, stack.shape, order)


def _require_no_member(found: FoundArray) -> None:
    if found.array:
        raise SourceError(f"{found.name}: a .npy file is one array; leave ':{found.array}' out")


def _member(archive: zipfile.ZipFile, found: FoundArray) -> tuple[FoundArray, zipfile.ZipInfo]:
    """Find the member that an address names."""
    members = {
        info.filename.removesuffix(".npy"): info
        for info in archive.infolist()
        if info.filename.endswith(".npy")
    }
    array = choose_array(found.file, found.array, dict.fromkeys(members, ""))
    return replace(found, array=array), members[array]


def _begin(file: IO[bytes], member: zipfile.ZipInfo) -> int | None:
    """Return the offset of a member's bytes in the file; None if they are compressed."""
    if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:  # 1: encrypted
        return None
    file.seek(member.header_offset)
    header = file.read(_LOCAL_HEADER)
    name, extra = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
    return member.header_offset + _LOCAL_HEADER + name + extra


def _require_room(stack: Stack, member: zipfile.ZipInfo) -> None:
    """Refuse an array that claims more bytes than its member can hold."""
    most = member.file_size
    if member.compress_type == zipfile.ZIP_DEFLATED:
        most = min(most, member.compress_size * _MOST_DEFLATED)
    claimed = prod(stack.shape) * stack.dtype.itemsize
    if claimed > most and not stack.dtype.hasobject:
        raise SourceError(
            f"{stack.found.name}: needed {claimed} bytes for {stack.shape} {stack.dtype}, found a "
            f"member of at most {most}; the file is damaged: restore it, or take it out"
        )


def _lying(file: IO[bytes], stack: Stack, offset: int, row: int | None) -> NDArray[Any]:
    """Read an array stored in row-major order, or one entry along axis 0."""
    shape = stack.shape if row is None else stack.shape[1:]
    count = prod(shape)
    file.seek(offset + (row or 0) * count * stack.dtype.itemsize)
    values = np.fromfile(file, stack.dtype, count)
    return values.reshape(shape)


def _decompress(found: FoundArray) -> NDArray[Any]:
    with np.load(found.file, allow_pickle=False) as archive:
        values: NDArray[Any] = archive[found.array]
    return values
