"""Read the chunks of one array of any regular chunk grid: find, map and decode them.

Slower than readers of whole samples, but equally careful: sizes that a file or an index claims are
compared with the array's metadata before memory is allocated.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import ReadError, look_up
from zarrfeed.store.chunk_table import read_table
from zarrfeed.store.codecs import decode_chunk
from zarrfeed.store.mapped_files import MappedFile, MappedFiles
from zarrfeed.store.tile_grid import TileGrid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from zarrfeed.store.files import Stamp
    from zarrfeed.store.schema import ArrayLayout
    from zarrfeed.store.tile_grid import Box

Place = tuple[int, ...]
_KEPT_TABLES = 64  # shard indexes to keep, because reading one again for every chunk is slow
# Bytes by which codecs may enlarge incompressible data.
_OVERHEAD = 64 << 10


class Scratch:
    """Memory for one decoded chunk at a time, which several arrays may share."""

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8)

    def take(self, nbytes: int) -> NDArray[np.uint8]:
        """Return memory, which the next call returns again."""
        if self._memory.size < nbytes:
            self._memory = np.empty(nbytes, np.uint8)
        return self._memory[:nbytes]


class StoredChunks:
    """The chunks of one array.

    Not thread-safe: every worker has its own.

    Parameters
    ----------
    folder
        Folder of the array.
    layout
        Layout of the array; ``layout.foreign`` must be False.
    stamp
        Stamp of the array; see :func:`zarrfeed.store.files.require_same`.
    open_files
        Largest number of files to keep open, at least 1.
    required
        Whether a missing file is an error. Otherwise its chunks hold the fill value.
    within
        Folder that must contain all files, resolved by :func:`os.path.realpath`; None for the
        folder above that of the array.
    scratch
        Memory for decoded chunks; None for its own.
    """

    def __init__(
        self,
        folder: Path,
        layout: ArrayLayout,
        *,
        stamp: Stamp | None,
        open_files: int,
        required: bool,
        within: str | None = None,
        scratch: Scratch | None = None,
    ) -> None:
        self._folder = folder
        self._layout = layout
        self._required = required
        self._files = MappedFiles(folder, stamp=stamp, open_files=open_files, within=within)
        self._nbytes = math.prod(layout.chunk_shape) * layout.dtype.itemsize
        # Chunks of a file, chunks of the array, and files of the array.
        self._ratio = TileGrid(layout.shard_shape, layout.chunk_shape)
        shape = tuple(max(1, extent) for extent in layout.shape)  # an empty array has no samples
        self._grid = TileGrid(shape, layout.chunk_shape)
        self._file_grid = TileGrid(shape, layout.shard_shape)
        # By number of the file: its size, and offset and length of each chunk.
        self._tables: dict[int, tuple[int, NDArray[np.int64], NDArray[np.int64]]] = {}
        self._scratch = scratch or Scratch()

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
        for place, inside, lands in self._grid.pieces(box):
            with self.chunk(place) as values:
                out[lands] = self._layout.fill if values is None else values[inside]

    @contextmanager
    def chunk(self, place: Place) -> Iterator[NDArray[Any] | None]:
        """Read the chunk at a place of the grid; None if it was never written.

        Its values are valid inside the context alone. They must not be used if leaving it raises.

        Raises
        ------
        ReadError
            As :meth:`read_box`.
        """
        layout = self._layout
        both = zip(place, layout.chunk_shape, layout.shard_shape, strict=True)
        inside, file = [], []
        for at, chunk, shard in both:
            shard_at, rest = divmod(at * chunk, shard)
            file.append(shard_at)
            inside.append(rest // chunk)
        number = self._file_grid.number(file)
        mapped = self._files.mapped.get(number) or self._map(number, file)
        if mapped is None:
            yield None
            return
        try:
            encoded = self._encoded(mapped.data, number, inside)
            values = None if encoded is None else self._values(encoded)
        except ValueError as error:
            self._require_whole(number, mapped, file)  # it may have been truncated meanwhile
            raise ReadError(
                f"{self._path(file)}: chunk {place} of {self._folder.name!r} is damaged: {error}; "
                "restore the file or convert again"
                f"{look_up('damaged-store')}"
            ) from error
        yield values
        self._require_whole(number, mapped, file)

    def close(self) -> None:
        """Close the files."""
        self._files.close()

    def _path(self, file: list[int]) -> Path:
        return self._folder / self._layout.file_name(file)

    def _map(self, number: int, file: list[int]) -> MappedFile | None:
        path = self._path(file)
        try:
            return self._files.map(number, path, lambda *_: None)
        except FileNotFoundError as error:
            if self._required:
                raise ReadError(
                    f"{path}: the shard is missing; restore it or convert again"
                    f"{look_up('damaged-store')}"
                ) from error
            return None

    def _require_whole(self, number: int, mapped: MappedFile, file: list[int]) -> None:
        needed, now = mapped.data.size, mapped.mapping.size()
        if mapped.guard.missing_pages or now < needed:
            self._files.forget(number)
            raise ReadError(
                f"{self._path(file)}: the file had {needed} bytes and now has {now}: it was "
                "truncated while in use; restore it or convert again"
                f"{look_up('damaged-store')}"
            )

    def _encoded(
        self, data: NDArray[np.uint8], number: int, inside: list[int]
    ) -> NDArray[np.uint8] | None:
        index = self._layout.index
        if index is not None:
            table = self._tables.get(number)
            if table is None or table[0] != data.size:
                read = read_table(data, index, chunks=self._ratio.tiles, size=data.size)
                table = self._tables[number] = data.size, *read
                if len(self._tables) > _KEPT_TABLES:  # the oldest goes first
                    self._tables.pop(next(iter(self._tables)))
            chunk = self._ratio.number(inside)
            offset, nbytes = int(table[1][chunk]), int(table[2][chunk])
            if offset < 0:
                return None
            data = data[offset : offset + nbytes]
        allowed = self._nbytes + self._nbytes // 4 + _OVERHEAD
        if data.size > allowed:
            raise ValueError(
                f"needed at most {allowed:,} bytes, which decode to {self._nbytes:,}, found "
                f"{data.size:,}"
            )
        return data

    def _values(self, encoded: NDArray[np.uint8]) -> NDArray[Any]:
        """Decode a chunk into memory that the next call reuses; raw ones stay where they are."""
        layout = self._layout
        if layout.compressor == "raw" and not layout.checksum and encoded.size == self._nbytes:
            source = encoded
        else:
            source = self._scratch.take(self._nbytes)
            decode_chunk(layout, encoded.data, source.data)
        dtype = layout.dtype.newbyteorder() if layout.swapped else layout.dtype
        order = layout.order or range(len(layout.shape))
        stored: NDArray[Any] = np.ndarray([layout.chunk_shape[n] for n in order], dtype, source)
        return stored if layout.order is None else stored.transpose(np.argsort(layout.order))
