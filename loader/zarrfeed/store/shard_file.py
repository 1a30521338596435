"""Write the file of a shard, chunk by chunk.

zarr-python would take 0.2 ms per chunk, and hold all of a shard in memory. A shard is::

    chunk, chunk, …                       encoded by Blosc, in order
    uint64[chunks, 2] (offset, nbytes)    little-endian; 2**64-1 twice where there is no chunk
    uint32                                crc32c of the table

Source: Zarr v3 ``sharding_indexed`` codec 1.0, index codecs ``bytes`` (little) and ``crc32c``.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import google_crc32c
import numcodecs.blosc
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

CNAME: Literal["lz4"] = "lz4"
CLEVEL = 5
_EMPTY = np.uint64(2**64 - 1)


def shuffle_of(dtype: np.dtype[Any]) -> Literal["shuffle", "noshuffle"]:
    """Return whether Blosc shuffles the bytes of numbers, in the words of zarr-python."""
    return "shuffle" if dtype.itemsize > 1 else "noshuffle"


class ShardFile:
    """A shard that is written under a temporary name, and renamed when it is complete.

    Parameters
    ----------
    path
        Final path of the shard; its folder is created.
    chunks
        Number of chunks that the shard has room for.
    """

    def __init__(self, path: Path, *, chunks: int) -> None:
        self._path = path
        self._aside = aside(path)
        self._table = np.full((chunks, 2), _EMPTY, "<u8")
        self._count = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._aside.open("wb")

    def append(self, chunk: NDArray[Any]) -> None:
        """Write the next chunk, a C-contiguous array of full size."""
        shuffle = numcodecs.blosc.SHUFFLE * (shuffle_of(chunk.dtype) == "shuffle")
        encoded = numcodecs.blosc.compress(
            chunk, CNAME.encode(), CLEVEL, shuffle, 0, chunk.dtype.itemsize
        )
        self._table[self._count] = self._file.tell(), len(encoded)
        self._count += 1
        self._file.write(encoded)

    def finish(self) -> None:
        """Write the table, and put the file in place."""
        table = self._table.tobytes()
        with self._file:
            self._file.write(table)
            self._file.write(google_crc32c.value(table).to_bytes(4, "little"))
        self._aside.replace(self._path)

    def abandon(self) -> None:
        """Remove the unfinished shard; another run writes it anew."""
        with suppress(OSError):  # closing writes what is buffered, which may fail again
            self._file.close()
        with suppress(OSError):
            self._aside.unlink()


def aside(path: Path) -> Path:
    """Return the temporary name of a file."""
    return path.with_name(path.name + ".tmp")
