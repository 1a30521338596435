"""Read an array whose chunks split samples, or store them transposed or in another byte order.

Each chunk is read from its file, decoded and transposed, and the part that is needed is copied.
This is slower than reading samples straight from mapped files, but equally careful: sizes that a
file or an index claims are compared with the array's metadata before memory is allocated.
"""

from __future__ import annotations

import math
import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import ReadError
from zarrfeed.store.chunk_table import ENTRY_NBYTES, read_table
from zarrfeed.store.codecs import CHECKSUM_NBYTES, decode_chunk
from zarrfeed.store.field_reader import FieldReader
from zarrfeed.store.files import open_file
from zarrfeed.store.tile_grid import TileGrid

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from zarrfeed.store.box_plan import BoxPlan
    from zarrfeed.store.read_plan import ReadPlan
    from zarrfeed.store.schema import ArrayLayout, ShardIndex
    from zarrfeed.store.tile_grid import TilePart

_Place = tuple[int, ...]
_KEPT_TABLES = 64  # shard indexes to keep, because reading one again for every chunk is slow
# Bytes by which codecs may enlarge incompressible data.
_OVERHEAD = 64 << 10


class ChunkReader(FieldReader):
    """Reads an array of any regular chunk grid, chunk by chunk.

    Parameters
    ----------
    folder
        Folder of the array.
    layout
        Layout of the array; ``layout.foreign`` must be False.
    required
        Whether a missing file is an error. Otherwise its chunks hold the fill value.
    """

    def __init__(self, folder: Path, layout: ArrayLayout, *, required: bool) -> None:
        self._folder = folder
        self._within = os.path.realpath(folder.parent)
        self._layout = layout
        self._required = required
        self._nbytes = math.prod(layout.chunk_shape) * layout.dtype.itemsize
        # Chunks per file along each axis.
        self._ratio = [
            shard // chunk
            for shard, chunk in zip(layout.shard_shape, layout.chunk_shape, strict=True)
        ]
        # The chunks of a sample: a sample is to them what a case is to its tiles.
        self._grid = TileGrid(layout.sample_shape, layout.chunk_shape[1:])
        self._tables: dict[_Place, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}

    def read_into(self, plan: ReadPlan, out: NDArray[Any]) -> None:
        """Read the samples of a batch; see :meth:`FieldReader.read_into`."""
        chunk, row = np.divmod(plan.ids, self._layout.chunk_rows)
        for first in np.unique(chunk).tolist():
            here = chunk == first
            for chunk_place, part in self._whole:
                values = self._chunk((first, *chunk_place))
                place = (here, *part.lands)
                if values is None:
                    out[place] = self._layout.fill
                else:
                    out[place] = values[(row[here], *part.inside)]

    @cached_property
    def _whole(self) -> list[tuple[_Place, TilePart]]:
        """The chunks of a whole sample: the place of each after the first axis, and its part."""
        parts = self._grid.parts([slice(0, extent) for extent in self._layout.sample_shape])
        return [(self._grid.place(part.tile), part) for part in parts]

    def read_box_into(self, plan: BoxPlan, out: NDArray[Any]) -> None:
        """Read a box of a case; see :meth:`FieldReader.read_box_into`."""
        layout = self._layout
        wanted: dict[_Place, list[tuple[NDArray[Any], tuple[int | slice, ...]]]] = {}
        for sample, part in zip(plan.rows, plan.parts, strict=True):
            first, row = divmod(sample, layout.chunk_rows)
            target = out[part.lands]
            rest = layout.sample_shape[len(part.inside) :]
            inside = (*part.inside, *(slice(0, extent) for extent in rest))
            for piece in self._grid.parts(inside):
                place = first, *self._grid.place(piece.tile)
                wanted.setdefault(place, []).append((target[piece.lands], (row, *piece.inside)))
        for place, pieces in wanted.items():
            values = self._chunk(place)
            for target, within in pieces:
                target[...] = layout.fill if values is None else values[within]

    def _chunk(self, place: _Place) -> NDArray[Any] | None:
        """Read and decode a chunk; None if it was never written."""
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

    def _encoded(self, descriptor: int, file: _Place, inside: list[int]) -> bytes | None:
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
