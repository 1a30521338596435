"""Which blocks hold the chunks of a field? The indexes of its shards say so.

Indexes are a few kilobytes each. They are read by themselves, far ahead of the blocks, and kept
here: 8 bytes for each chunk of the shards that were needed.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import ReadError, look_up
from zarrfeed.machine_memory import require_memory
from zarrfeed.store.chunk_table import read_table
from zarrfeed.store.mirror.file_table import BLOCK_NBYTES, distinct

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed.feed.fetching.downloads import Downloads
    from zarrfeed.feed.fetching.mirror import Mirror

_AT_ONCE = 16


class ChunkBlocks:
    """The blocks of one field's chunks.

    Parameters
    ----------
    mirror, field
        The field, whose files come block by block.
    downloads
        Makes room for the indexes on a full disk.
    """

    def __init__(self, mirror: Mirror, field: str, downloads: Downloads) -> None:
        assert mirror.files is not None
        self._mirror = mirror
        self._downloads = downloads
        self._layout = mirror.split.layouts[field]
        self._file = mirror.files.file_of(field, 0)
        shape = self._layout.shards, self._layout.chunks_in_use
        require_memory(mirror.folder, 8 * shape[0] * shape[1], "the blocks of all chunks")
        self._known = np.zeros(shape[0], np.bool_)
        self._loading: dict[int, asyncio.Task[None]] = {}
        self._lanes = asyncio.Semaphore(_AT_ONCE)
        # Within the file, of no chunk that was never written. Takes memory when written to.
        self._first = np.zeros(shape, np.uint32)
        self._stop = np.zeros(shape, np.uint32)

    async def load(self, shards: NDArray[np.int64]) -> None:
        """Read the indexes of shards, and keep them in the mirror.

        Parameters
        ----------
        shards
            (n,) int64: numbers of shards, repeated or not.

        Raises
        ------
        ReadError
            One cannot be read or kept, or is damaged.
        """
        shards = distinct(shards)
        loop = asyncio.get_running_loop()
        for shard in shards[~self._known[shards]].tolist():
            if shard not in self._loading:
                self._loading[shard] = loop.create_task(self._load_one(shard))
        await asyncio.gather(
            *(asyncio.shield(self._loading[s]) for s in shards.tolist() if s in self._loading)
        )

    async def load_rows(self, rows: NDArray[np.int64]) -> None:
        """Read the indexes of the shards that hold rows, as :meth:`load`."""
        await self.load(rows // self._layout.shard_rows)

    async def _load_one(self, shard: int) -> None:
        try:
            await self._load_index(shard)
        finally:
            del self._loading[shard]

    async def _load_index(self, shard: int) -> None:
        mirror, file, used = self._mirror, self._file + shard, self._layout.chunks_in_use
        try:
            offset, nbytes = self._table(file, data := mirror.kept_index(file) or b"")
        except ValueError:
            key = mirror.key_of(file)
            async with self._lanes:
                found = await mirror.store.read_range(key, *mirror.index_of(file))
            try:
                offset, nbytes = self._table(file, data := bytes(memoryview(found.data)))
            except ValueError as error:
                raise ReadError(
                    f"{mirror.url}/{key}: {error}: upload the file again{look_up('damaged-store')}"
                ) from error
        keep = partial(mirror.keep_index, file, data)
        await self._downloads.write(mirror.folder, keep, len(data))
        there = (offset >= 0) & (nbytes > 0)
        ends = np.where(there, (offset + nbytes - 1) // BLOCK_NBYTES + 1, 0)
        self._first[shard] = np.where(there, offset // BLOCK_NBYTES, 0)[:used]
        self._stop[shard] = ends[:used]
        self._known[shard] = True

    def _table(self, file: int, data: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the first byte and the length of each chunk; raises as :func:`read_table`."""
        files, layout = self._mirror.files, self._layout
        assert files is not None
        assert layout.index is not None
        stored, size = np.frombuffer(data, np.uint8), int(files.nbytes[file])
        return read_table(stored, layout.index, chunks=layout.chunks_per_shard, size=size)

    def of_rows(
        self, rows: NDArray[np.int64], batch: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the blocks of rows whose shards have been loaded.

        Parameters
        ----------
        rows, batch
            (n,) int64 each: rows of the field, and a number for each.

        Returns
        -------
        batch, block
            (m,) int64 each: the number again, and a block of the mirror; repeated or not.
        """
        layout = self._layout
        assert self._mirror.files is not None
        shard, within = np.divmod(rows, layout.shard_rows)
        chunk = within // layout.chunk_rows
        first = self._first[shard, chunk].astype(np.int64)
        count = self._stop[shard, chunk].astype(np.int64) - first
        first += self._mirror.files.first_block[self._file + shard]
        # 0, 1, … within each chunk.
        step = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
        return np.repeat(batch, count), np.repeat(first, count) + step
