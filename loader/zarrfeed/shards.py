"""The shard files of one array: open descriptors and parsed indexes.

A shard's index is read and checked once and then kept (16 bytes a chunk); descriptors are kept
for the shards used last, because a process may hold only so many.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.codecs import CHECKSUM_NBYTES, strip_checksum
from zarrfeed.errors import ReadError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed.schema import ArrayLayout, ShardIndex

_ENTRY_NBYTES = 16
_IOV_MAX = 1024  # POSIX lets one readv take at least 16; Linux and macOS take 1024


@dataclass(frozen=True, slots=True)
class ChunkTable:
    """Where the chunks of one file lie.

    Attributes
    ----------
    offset
        (chunks,) int64: first byte; -1 for a chunk that was never written.
    nbytes
        (chunks,) int64: encoded size.
    """

    offset: NDArray[np.int64]
    nbytes: NDArray[np.int64]


class ShardFiles:
    """Reads byte ranges of an array's files.

    Not thread-safe: every worker has its own.

    Parameters
    ----------
    folder
        Of the array.
    layout
        Its description.
    required
        Whether a missing file is an error. It is not in Zarr (the chunks hold the fill value), but
        it is in a store that is known to write every file.
    open_files
        Descriptors to keep open at most, at least 1.
    """

    def __init__(
        self, folder: Path, layout: ArrayLayout, *, required: bool, open_files: int
    ) -> None:
        self._folder = folder
        self._layout = layout
        self._required = required
        self._open_files = open_files
        self._descriptors: OrderedDict[int, int] = OrderedDict()
        self._tables: dict[int, ChunkTable] = {}

    def path(self, shard: int) -> Path:
        """Name a shard's file."""
        return self._folder / self._layout.shard_name(shard)

    def table(self, shard: int) -> ChunkTable | None:
        """Look up where a shard's chunks lie; None where the shard has no file.

        Raises
        ------
        ReadError
            The file is required and missing, shorter than its index says, or its index is damaged.
        """
        found = self._tables.get(shard)
        if found is None:
            descriptor = self._descriptor(shard)
            if descriptor is None:
                return None
            found = self._tables[shard] = self._read_table(shard, descriptor)
        return found

    def read_into(self, shard: int, targets: list[memoryview], offset: int) -> None:
        """Fill `targets` with neighbouring bytes from `offset` on.

        Raises
        ------
        ReadError
            The file is gone, or ends too early.
        """
        descriptor = self._descriptor(shard)
        if descriptor is None:
            raise ReadError(f"{self.path(shard)}: the shard has vanished while it was in use")
        for start in range(0, len(targets), _IOV_MAX):
            part = targets[start : start + _IOV_MAX]
            wanted = sum(target.nbytes for target in part)
            got = os.preadv(descriptor, part, offset)
            if got != wanted:
                got = self._read_rest(descriptor, part, offset, got)
            if got != wanted:
                raise ReadError(
                    f"{self.path(shard)}: needed {wanted} bytes at {offset}, the file ends after "
                    f"{got} of them: it is truncated; restore it or convert again"
                )
            offset += wanted

    def close(self) -> None:
        """Close every descriptor."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])

    def _read_rest(
        self, descriptor: int, targets: list[memoryview], offset: int, got: int
    ) -> int:
        """Go on after a short read, which a signal or a read over 2 GiB may cause."""
        skip = got
        for target in targets:
            done = min(skip, target.nbytes)
            skip -= done
            while done < target.nbytes:
                more = os.preadv(descriptor, [target[done:]], offset + got)
                if more == 0:
                    return got
                done += more
                got += more
        return got

    def _descriptor(self, shard: int) -> int | None:
        descriptor = self._descriptors.get(shard)
        if descriptor is not None:
            self._descriptors.move_to_end(shard)
            return descriptor
        try:
            descriptor = os.open(self.path(shard), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            if self._required:
                raise ReadError(
                    f"{self.path(shard)}: the shard is missing; restore it or convert again"
                ) from error
            return None
        self._descriptors[shard] = descriptor
        while len(self._descriptors) > self._open_files:
            os.close(self._descriptors.popitem(last=False)[1])
        return descriptor

    def _read_table(self, shard: int, descriptor: int) -> ChunkTable:
        size = os.fstat(descriptor).st_size
        index = self._layout.index
        if index is None:  # a file is one chunk
            return ChunkTable(np.zeros(1, np.int64), np.array([size]))
        entries = self._read_index(shard, index, size)
        missing = (entries == np.iinfo(np.uint64).max).all(axis=1)
        entries[missing] = 0
        table = entries.astype(np.int64)
        ends = table.sum(axis=1)
        if (table < 0).any() or (ends > size).any():
            chunk = int(np.argmax(ends))
            raise ReadError(
                f"{self.path(shard)}: chunk {chunk} ends at byte {int(ends[chunk])}, the file has "
                f"{size}: it is truncated or its index is damaged; restore it or convert again"
            )
        return ChunkTable(np.where(missing, -1, table[:, 0]), table[:, 1].copy())

    def _read_index(self, shard: int, index: ShardIndex, size: int) -> NDArray[np.uint64]:
        nbytes = self._layout.chunks_per_shard * _ENTRY_NBYTES
        stored = nbytes + (CHECKSUM_NBYTES if index.checksum else 0)
        if size < stored:
            raise ReadError(
                f"{self.path(shard)}: the file has {size} bytes, its index alone needs {stored}: "
                "it is truncated; restore it or convert again"
            )
        raw = memoryview(bytearray(stored))
        self.read_into(shard, [raw], size - stored if index.at_end else 0)
        try:
            body = strip_checksum(raw) if index.checksum else raw
        except ValueError as error:
            raise ReadError(
                f"{self.path(shard)}: the shard index is damaged: {error}; restore the file or "
                "convert again"
            ) from error
        return np.frombuffer(body, "<u8").reshape(-1, 2).astype(np.uint64)
