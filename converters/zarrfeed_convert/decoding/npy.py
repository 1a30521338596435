"""What array does a ``.npy`` file hold? Sizes in its header are checked; nothing is unpickled."""

from __future__ import annotations

import io
import math
import os
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.lib import format as npy

from zarrfeed.errors import SourceError, look_up
from zarrfeed_convert.decoding.limits import Limits, require_regular
from zarrfeed_convert.decoding.pixels import Measure, Pixels

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

NPY = b"\x93NUMPY"  # first bytes of every such file
_LONGEST = 1 << 16  # bytes of a header; NumPy itself accepts 10,000 characters
_CHANNELS = 4  # a first axis of at most this length, before a longer last one, counts channels


def read_npy_header(stream: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the header of a ``.npy`` file; `stream` is then at the first value.

    Parameters
    ----------
    stream
        The file, at its beginning.
    name
        Name of the file, for errors.

    Returns
    -------
    shape
        Shape of the array.
    fortran
        Whether the array is stored in Fortran order, column by column.
    dtype
        Dtype of the array.

    Raises
    ------
    SourceError
        The file has format version 3, which is used for field names that are not ASCII.
    ValueError
        The header is damaged or truncated.
    """
    version = npy.read_magic(stream)
    if version == (1, 0):
        return npy.read_array_header_1_0(stream)
    if version == (2, 0):
        # NumPy would read a header of any length, and check the length only afterwards.
        said = stream.read(4)
        length = int.from_bytes(said, "little")
        if length > _LONGEST:
            raise SourceError(
                f"{name}: needed an NPY header of at most {_LONGEST} bytes, found one of {length}; "
                "the file is damaged: restore it, or take it out"
            )
        return npy.read_array_header_2_0(io.BytesIO(said + stream.read(length)))
    raise SourceError(f"{name}: needed NPY format 1 or 2, found {version}; save it anew")


def measure_npy(stream: IO[bytes], name: str, limits: Limits, size: int | None = None) -> Measure:
    """Read the header of an image (H, W) or (H, W, C).

    Parameters
    ----------
    stream
        The file, or at least the beginning that contains its header.
    name
        Name of the file, for errors.
    limits
        Limits of what the file may claim.
    size
        Size of the whole file, in bytes; None if it is unknown.

    Raises
    ------
    SourceError
        The file is truncated, exceeds `limits`, or does not hold numbers of 2 or 3 axes.
    ValueError
        The header is damaged.
    """
    shape, _, dtype = _header(stream, name, limits, size)
    height, width, channels = (*shape, 1)[:3]
    return Measure(height, width, channels, dtype.name)


def decode_npy(data: bytes, name: str, limits: Limits) -> Pixels:
    """Decode an image (H, W) or (H, W, C) in memory; see :func:`measure_npy`."""
    stream = io.BytesIO(data)
    shape, fortran, dtype = _header(stream, name, limits, len(data))
    stored = np.frombuffer(data, dtype, math.prod(shape), stream.tell())
    arranged = stored.reshape(shape, order="F" if fortran else "C")
    # A copy, since an array on `bytes` is read-only.
    return Pixels(np.array(arranged, dtype.newbyteorder("="), order="C"), bands=True)


def open_npy(path: Path, *, axes: int = 2) -> NpyFile:
    """Read the header of an image or a volume, whose parts can then be read.

    Parameters
    ----------
    path
        The file.
    axes
        Number of spatial axes: 2 for images (H, W) or (H, W, C), 3 for volumes (D, H, W) or
        (D, H, W, C).

    Raises
    ------
    SourceError
        The file is truncated, or does not hold numbers of as many axes, with or without C.
    ValueError
        The header is damaged.
    """
    name = str(path)
    require_regular(path)
    with path.open("rb") as file:
        if not file.read(1):
            raise ValueError("it is empty")
        file.seek(0)
        size = os.fstat(file.fileno()).st_size
        shape, fortran, dtype = _header(file, name, None, size, axes)
        return NpyFile(name, shape, dtype, "F" if fortran else "C", file.tell(), axes)


@dataclass(frozen=True, slots=True)
class NpyFile:
    """A ``.npy`` file, by its header.

    Attributes
    ----------
    name
        Path of the file.
    shape, dtype, order
        Those of the array, as it is stored.
    offset
        Number of bytes before its first value.
    axes
        Number of spatial axes.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    order: Literal["C", "F"]
    offset: int
    axes: int

    def measure(self) -> Measure:
        """Return the size and the dtype; rows of a volume's planes are not added up."""
        *planes, height, width = self.shape[: self.axes]
        channels = (*self.shape[self.axes :], 1)[0]
        return Measure(height, width, channels, self.dtype.name, windows=True, planes=sum(planes))

    def read(self, window: tuple[slice, ...] = ()) -> NDArray[Any]:
        """Read a part, or all of it, through a memory map, into new memory."""
        mapped = np.memmap(self.name, self.dtype, "r", self.offset, self.shape, self.order)
        return np.array(mapped[window], self.dtype.newbyteorder("="), order="C")


def _header(
    stream: IO[bytes], name: str, limits: Limits | None, size: int | None, axes: int = 2
) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    shape, fortran, dtype = read_npy_header(stream, name)
    if dtype.kind not in "buif":
        what = "Python objects, which are never unpickled" if dtype.hasobject else str(dtype)
        raise SourceError(f"{name}: needed an array of numbers, found {what}; convert it first")
    if len(shape) not in (axes, axes + 1):
        raise SourceError(_other_axes(name, shape, axes))
    if limits is not None or min(shape) < 1:
        (limits or Limits()).require(shape, dtype, name)
    nbytes = stream.tell() + math.prod(shape) * dtype.itemsize
    if size is not None and nbytes > size:
        raise SourceError(
            f"{name}: needed {nbytes} bytes for {'×'.join(map(str, shape))} {dtype}, found {size}; "
            "the file ends early: restore it, or take it out"
            f"{look_up('damaged-file')}"
        )
    if axes == 2 and len(shape) == 3 and shape[0] <= _CHANNELS < shape[2]:
        raise SourceError(
            f"{name}: needed an image (H, W, C), found {shape}, whose channels seem to come first; "
            "save it with channels last: np.moveaxis(array, 0, -1); if it is a volume, use "
            "-o axes=DHW"
            f"{look_up('axes')}"
        )
    return shape, fortran, dtype


def _other_axes(name: str, shape: tuple[int, ...], axes: int) -> str:
    found = f"shape {shape}" if len(shape) <= 5 else f"{len(shape)} axes"
    if axes == 3:
        return (
            f"{name}: needed an array (D, H, W) or (D, H, W, C), found {found}; leave out -o axes "
            "if files are images"
        )
    return (
        f"{name}: needed an array (H, W) or (H, W, C), found {found}; of volumes, say "
        "-o axes=DHWC; files of several images are read by --format npz"
    )
