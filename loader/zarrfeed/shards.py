"""The shard files of one array: open descriptors and parsed indexes.

A shard's index is read and checked once and then kept (16 bytes a chunk); descriptors are kept
for the shards opened last, because a process may hold only so many.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.codecs import CHECKSUM_NBYTES, strip_checksum
from zarrfeed.errors import ReadError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from zarrfeed.schema import ArrayLayout, ShardIndex

_ENTRY_NBYTES = 16
_IOV_MAX = 1024  # POSIX lets one readv take at least 16; Linux and macOS take 1024


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
        self._descriptors: dict[int, int] = {}
        shards = -(-layout.shape[0] // layout.shard_rows)
        # Zeroed memory costs nothing before it is written to, so only indexes in use take any.
        self._known = np.zeros(shards, np.bool_)
        self._offset = np.zeros((shards, layout.chunks_per_shard), np.int64)
        self._nbytes = np.zeros((shards, layout.chunks_per_shard), np.int64)

    def path(self, shard: int) -> Path:
        """Name a shard's file."""
        return self._folder / self._layout.shard_name(shard)

    def locate(
        self, shard: NDArray[np.int64], chunk: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Look up where chunks lie.

        Parameters
        ----------
        shard, chunk
            (b,) each: the file, and the chunk within it.

        Returns
        -------
        offset, nbytes
            (b,) each; offset is -1 for a chunk that was never written.

        Raises
        ------
        ReadError
            A file is required and missing, shorter than its index says, or its index is damaged.
        """
        known = self._known[shard]
        if not known.all():
            for new in set(shard[~known].tolist()):
                self._offset[new], self._nbytes[new] = self._read_table(new)
                self._known[new] = True
        return self._offset[shard, chunk], self._nbytes[shard, chunk]

    def read_into(self, shard: int, targets: list[memoryview], offset: int) -> None:
        """Fill `targets` with neighbouring bytes from `offset` on.

        Raises
        ------
        ReadError
            The file is gone, or ends too early.
        """
        descriptor = self._descriptors.get(shard)
        if descriptor is None:
            descriptor = self._descriptor(shard)
        if descriptor is None:
            raise ReadError(f"{self.path(shard)}: the shard has vanished while it was in use")
        if len(targets) == 1 and os.preadv(descriptor, targets, offset) == targets[0].nbytes:
            return
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

    def _read_rest(self, descriptor: int, targets: list[memoryview], offset: int, got: int) -> int:
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
        if len(self._descriptors) > self._open_files:  # the one opened first goes first
            os.close(self._descriptors.pop(next(iter(self._descriptors))))
        return descriptor

    def _read_table(self, shard: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        descriptor = self._descriptor(shard)
        if descriptor is None:
            absent = np.full(self._layout.chunks_per_shard, -1)
            return absent, absent
        size = os.fstat(descriptor).st_size
        index = self._layout.index
        if index is None:  # a file is one chunk
            return np.zeros(1, np.int64), np.array([size])
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
        return np.where(missing, -1, table[:, 0]), table[:, 1]

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
                f"{self.path(shard)}: the file is truncated or its index is damaged: {error}; "
                "restore it or convert again"
            ) from error
        return np.frombuffer(body, "<u8").reshape(-1, 2).astype(np.uint64)
