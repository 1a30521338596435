"""What array does a ``.npy`` file hold, in a file or in memory?"""

from __future__ import annotations

import io
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.lib import format as npy

from zarrfeed.errors import SourceError
from zarrfeed_convert.sources.read_errors import naming_errors
from zarrfeed_convert.sources.values import packed_dtype

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.limits import Limits

NPY = b"\x93NUMPY"  # how every such file begins
_LONGEST = 1 << 16  # bytes; NumPy itself takes 10,000 characters


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


def measure_npy(data: bytes, name: str, limits: Limits) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return the shape and dtype of an image in memory, (H, W) or (H, W, C).

    Parameters
    ----------
    data
        The file, or as much of it as holds the header.
    name
        For errors.
    limits
        What it may claim.

    Raises
    ------
    SourceError
        It is damaged, or no array of an image.
    """
    with naming_errors(name):
        shape, _, dtype = read_npy_header(io.BytesIO(data), name)
        limits.require(shape, dtype, name)
    if len(shape) not in (2, 3) or not all(shape):
        raise SourceError(f"{name}: needed an array (H, W) or (H, W, C), found shape {shape}")
    packed_dtype(dtype, name)  # says more than np.load of what it refuses
    return shape, dtype


def load_npy(data: bytes, name: str, limits: Limits) -> NDArray[Any]:
    """Load an image in memory, as :func:`measure_npy` measures it."""
    measure_npy(data, name, limits)
    with naming_errors(name):
        values: NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
    return values
