"""Read the chunks of one array of any regular chunk grid: find, read and decode them.

Slower than mapped readers, but equally careful: sizes that a file or an index claims are compared
with the array's metadata before memory is allocated.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import ReadError
from zarrfeed.store.chunk_table import ENTRY_NBYTES, read_table
from zarrfeed.store.codecs import CHECKSUM_NBYTES, decode_chunk
from zarrfeed.store.files import open_file
from zarrfeed.store.tile_grid import TileGrid

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from zarrfeed.store.schema import ArrayLayout, ShardIndex
    from zarrfeed.store.tile_grid import Box

Place = tuple[int, ...]
_KEPT_TABLES = 64  # shard indexes to keep, because reading one again for every chunk is slow
# Bytes by which codecs may enlarge incompressible data.
_OVERHEAD = 64 << 10


class StoredChunks:
    """The chunks of one array.

    Not thread-safe: every worker has its own.

    Parameters
    ----------
    folder
        Folder of the array.
    layout
        Layout of the array; ``layout.foreign`` must be False.
    within
        Folder that must contain all files, resolved by :func:`os.path.realpath`.
    required
        Whether a missing file is an error. Otherwise its chunks hold the fill value.
    """

    def __init__(self, folder: Path, layout: ArrayLayout, *, within: str, required: bool) -> None:
        self._folder = folder
        self._within = within
        self._layout = layout
        self._required = required
        self._nbytes = math.prod(layout.chunk_shape) * layout.dtype.itemsize
        # Chunks per file along each axis.
        self._ratio = [
            shard // chunk
            for shard, chunk in zip(layout.shard_shape, layout.chunk_shape, strict=True)
        ]
        self._tables: dict[Place, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}

    def read_box(self, box: Box, out: NDArray[Any]) -> None:
        """Read a box. Only the chunks that it touches are decoded, each once.

        Parameters
        ----------
        box
            A slice per axis, as for :meth:`zarrfeed.store.tile_grid.TileGrid.parts`.
        out
            Array to fill, of the shape of the box; strides may be any.

        Raises
        ------
        ReadError
            A file is short or damaged, or missing if it is required.
        """
        layout = self._layout
        for place, inside, lands in TileGrid(layout.shape, layout.chunk_shape).pieces(box):
            values = self.chunk(place)
            out[lands] = layout.fill if values is None else values[inside]

    def chunk(self, place: Place) -> NDArray[Any] | None:
        """Read and decode the chunk at a place of the grid; None if it was never written.

        Raises
        ------
        ReadError
            As :meth:`read_box`.
        """
        file = tuple(number // each for number, each in zip(place, self._ratio, strict=True))
        path = self._folder / self._layout.file_name(file)
        try:
            descriptor = open_file(path, within=self._within)
        except FileNotFoundError as error:
            if self._required:
                raise ReadError(
                    f"{path}: the shard is missing; restore it or convert again"
                ) from error
            return None
        try:
            inside = [number % each for number, each in zip(place, self._ratio, strict=True)]
            encoded = self._encoded(descriptor, file, inside)
            return None if encoded is None else self._decoded(encoded)
        except ValueError as error:
            raise ReadError(
                f"{path}: chunk {place} of {self._folder.name!r} is damaged: {error}; restore the "
                "file or convert again"
            ) from error
        finally:
            os.close(descriptor)

    def _encoded(self, descriptor: int, file: Place, inside: list[int]) -> bytes | None:
        size = os.fstat(descriptor).st_size
        index = self._layout.index
        if index is None:
            return self._read(descriptor, 0, size)
        table = self._tables.get(file)
        if table is None:
            table = self._tables[file] = self._table(descriptor, size, index)
            if len(self._tables) > _KEPT_TABLES:  # the oldest goes first
                self._tables.pop(next(iter(self._tables)))
        number = int(np.ravel_multi_index(inside, self._ratio))
        offset, nbytes = int(table[0][number]), int(table[1][number])
        return None if offset < 0 else self._read(descriptor, offset, nbytes)

    def _table(
        self, descriptor: int, size: int, index: ShardIndex
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        chunks = math.prod(self._ratio)
        length = chunks * ENTRY_NBYTES + (CHECKSUM_NBYTES if index.checksum else 0)
        if length > size:
            raise ValueError(f"needed {length} bytes for the index alone, the file has {size}")
        stored = os.pread(descriptor, length, size - length if index.at_end else 0)
        return read_table(np.frombuffer(stored, np.uint8), index, chunks=chunks, size=size)

    def _read(self, descriptor: int, offset: int, nbytes: int) -> bytes:
        allowed = self._nbytes + self._nbytes // 4 + _OVERHEAD
        if nbytes > allowed:
            raise ValueError(
                f"needed at most {allowed:,} bytes, which decode to {self._nbytes:,}, found "
                f"{nbytes:,}"
            )
        found = os.pread(descriptor, nbytes, offset)
        if len(found) != nbytes:
            raise ValueError(f"needed {nbytes} bytes, found {len(found)}: the file was truncated")
        return found

    def _decoded(self, encoded: bytes) -> NDArray[Any]:
        layout = self._layout
        target = np.empty(self._nbytes, np.uint8)
        decode_chunk(layout, memoryview(encoded), target.data)
        values = target.view(layout.dtype.newbyteorder() if layout.swapped else layout.dtype)
        if layout.order is None:
            return values.reshape(layout.chunk_shape)
        stored = values.reshape([layout.chunk_shape[axis] for axis in layout.order])
        return stored.transpose(np.argsort(layout.order))
