"""What array does a ``.npy`` file hold? Its header is a claim, and nothing in it is unpickled."""

from __future__ import annotations

import io
import math
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.lib import format as npy

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.pixels import Measure, Pixels

if TYPE_CHECKING:
    from zarrfeed_convert.decoding.limits import Limits

NPY = b"\x93NUMPY"  # how every such file begins
_LONGEST = 1 << 16  # bytes; NumPy itself takes 10,000 characters
_CHANNELS = 4  # a first axis of so few, before a long last one, counts channels


def read_npy_header(stream: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read an array's header; its numbers follow it.

    Parameters
    ----------
    stream
        At the beginning of the file.
    name
        Of the file, for errors.

    Returns
    -------
    shape, fortran, dtype
        Of the array; whether it is stored column by column.

    Raises
    ------
    SourceError
        It is of version 3, which is for field names that are not ASCII.
    ValueError
        It is no header, or not all of it is there.
    """
    version = npy.read_magic(stream)
    if version == (1, 0):
        return npy.read_array_header_1_0(stream)
    if version == (2, 0):
        # NumPy reads as much as is said, and only then finds it too long.
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
        The file, or as much of its beginning as holds the header.
    name
        For errors.
    limits
        What it may claim.
    size
        Of the whole file, in bytes; None where it is not known.

    Raises
    ------
    SourceError
        It is damaged, ends early, or is no array of an image.
    """
    shape, _, dtype = _header(stream, name, limits, size)
    height, width, channels = (*shape, 1)[:3]
    return Measure(height, width, channels, dtype.name)


def decode_npy(data: bytes, name: str, limits: Limits) -> Pixels:
    """Load an image, as :func:`measure_npy` measures it."""
    stream = io.BytesIO(data)
    shape, fortran, dtype = _header(stream, name, limits, len(data))
    stored = np.frombuffer(data, dtype, math.prod(shape), stream.tell())
    # A copy: what bytes lend is read-only.
    values = np.array(stored.reshape(shape, order="F" if fortran else "C"), order="C")
    return Pixels(values.astype(dtype.newbyteorder("="), copy=False), bands=True)


def _header(
    stream: IO[bytes], name: str, limits: Limits, size: int | None
) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    shape, fortran, dtype = read_npy_header(stream, name)
    if dtype.kind not in "buif":
        what = "Python objects, which are never unpickled" if dtype.hasobject else str(dtype)
        raise SourceError(f"{name}: needed an array of numbers, found {what}; convert it first")
    if len(shape) not in (2, 3):
        found = f"shape {shape}" if len(shape) <= 5 else f"{len(shape)} axes"
        raise SourceError(
            f"{name}: needed an array (H, W) or (H, W, C), found {found}; arrays of several images "
            "are read by --format npz"
        )
    limits.require(shape, dtype, name)
    nbytes = stream.tell() + math.prod(shape) * dtype.itemsize
    if size is not None and nbytes > size:
        raise SourceError(
            f"{name}: needed {nbytes} bytes for {'×'.join(map(str, shape))} {dtype}, found {size}; "
            "the file ends early: restore it, or take it out"
        )
    if len(shape) == 3 and shape[0] <= _CHANNELS < shape[2]:
        raise SourceError(
            f"{name}: needed an image (H, W, C), found {shape}, whose channels seem to come first; "
            "save it with channels last: np.moveaxis(array, 0, -1)"
        )
    return shape, fortran, dtype
