"""What array does a ``.npy`` file hold, by its header?"""

from __future__ import annotations

import io
from typing import IO, TYPE_CHECKING, Any

from numpy.lib import format as npy

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    import numpy as np

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
