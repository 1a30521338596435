"""The shard files of one array: mapped into memory, with their indexes parsed.

Mapped pages are copied twice as fast as ``pread`` copies them (measured: 3900 against 2100 batches
of 6 MB a second from the page cache), and encoded chunks are decoded where they lie. A file that
shrinks under a mapping would end the process by SIGBUS, so its size is asked for before every
copy and after it; of what happens between, :mod:`zarrfeed.store.truncation` takes care.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import ReadError
from zarrfeed.store import file_limits
from zarrfeed.store.chunk_table import ENTRY_NBYTES, read_table
from zarrfeed.store.codecs import CHECKSUM_NBYTES
from zarrfeed.store.files import Stamp, open_file, require_same
from zarrfeed.store.mapped_shards import FlatFiles
from zarrfeed.store.split import require_memory
from zarrfeed.store.truncation import GUARDED, Region, guarded

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from zarrfeed.store.schema import ArrayLayout


@dataclass(frozen=True, slots=True)
class _Mapping:
    """A mapped file: its bytes, the mapping that knows the file's size of today, and its guard."""

    file: mmap.mmap
    data: NDArray[np.uint8]
    region: Region


class ShardFiles:
    """Finds the bytes of an array's chunks.

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
    stamp
        See :func:`zarrfeed.store.files.require_same`. Files that are mapped stay what they are.
    open_files
        Mappings to keep at most, at least 1: each holds a descriptor.
    """

    def __init__(
        self,
        folder: Path,
        layout: ArrayLayout,
        *,
        required: bool,
        stamp: Stamp | None,
        open_files: int,
    ) -> None:
        self._folder = folder
        self._stamp = stamp
        self._within = os.path.realpath(folder.parent)
        self._layout = layout
        self._required = required
        self._open_files = open_files
        self._mappings: dict[int, _Mapping] = {}
        self._used: tuple[int, _Mapping] | None = None
        shards = -(-layout.shape[0] // layout.shard_rows)
        # A shard may have room for more chunks than the array.
        self._chunks = min(layout.chunks_per_shard, -(-layout.shape[0] // layout.chunk_rows))
        # Zeroed memory costs nothing before it is written to, so only indexes in use take any.
        table = f"the table of {shards:,} shards of {self._chunks:,} chunks"
        require_memory(folder, shards * (1 + ENTRY_NBYTES * self._chunks), table)
        self._known = np.zeros(shards, np.bool_)
        self._offset = np.zeros((shards, self._chunks), np.int64)
        self._nbytes = np.zeros((shards, self._chunks), np.int64)
        self._flat = self._flat_files(shards)
        self._size: dict[int, int] = {}  # of each file when its index was read
        file_limits.keeps_files(self)

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
            self._learn(set(shard[~known].tolist()))
        return self._offset[shard, chunk], self._nbytes[shard, chunk]

    def data(self, shard: int) -> NDArray[np.uint8]:
        """Give the bytes of a file whose chunks were located.

        One file at a time, because there may be room for no more: the one before is checked.

        Parameters
        ----------
        shard
            Which file.

        Returns
        -------
        (nbytes,) uint8
            Read-only. What was made of them is right if :meth:`check` passes afterwards.

        Raises
        ------
        ReadError
            The file is gone, or this one or the one before has become shorter.
        """
        self.check()
        mapping = self._whole(shard)
        self._used = shard, mapping
        return mapping.data

    def check(self) -> None:
        """See whether the file of the last call of :meth:`data` was whole until now.

        Raises
        ------
        ReadError
            It has become shorter.
        """
        used, self._used = self._used, None
        if used is not None:
            self._require_whole(*used)

    def gather(self, ids: NDArray[np.int64], out: NDArray[np.uint8]) -> NDArray[np.bool_] | None:
        """Copy raw samples in one call, where the files allow it.

        Parameters
        ----------
        ids
            (b,) which.
        out
            (b, sample_nbytes)

        Returns
        -------
        (b,) bool or None
            None, and nothing is copied, where they do not. Else which samples were never written:
            their rows of `out` mean nothing.

        Raises
        ------
        ReadError
            A file is missing, has become shorter, or its index is damaged.
        """
        if self._flat is None:
            return None
        shards = np.flatnonzero(np.bincount(ids // self._layout.shard_rows))
        known = self._known[shards]
        if not known.all():
            self._learn(shards[~known].tolist())
        if self._flat is None:
            return None
        there = [shard for shard in shards.tolist() if shard in self._size]  # of others, no file
        if not GUARDED:
            for shard in there:
                self._whole(shard)
        absent = self._flat.gather(ids, out)
        cut = self._flat.cut()
        for shard in cut:
            self._forget(shard)
        if cut:
            raise self._truncated(min(cut), "its end was missing")
        for shard in there:
            mapping = self._mappings.get(shard)
            if mapping is None or mapping.file.size() < self._size[shard]:
                self._whole(shard)  # says what is wrong
        return absent

    def advise(self, shard: int, offset: int, nbytes: int) -> None:
        """Ask the kernel to read a range of a located file; it starts at once and does not wait."""
        mapping = self._mapping(shard)
        if mapping is not None:
            start = offset - offset % mmap.PAGESIZE
            end = min(offset + nbytes, len(mapping.file))
            if end > start:  # for a mapped file the same as posix_fadvise(POSIX_FADV_WILLNEED)
                mapping.file.madvise(mmap.MADV_WILLNEED, start, end - start)

    def close(self) -> None:
        """Let go of the files; each is unmapped when nobody holds its bytes any more."""
        with file_limits.changing:
            self._mappings.clear()
        self._used = None
        self._flat = None

    @property
    def kept(self) -> int:
        """How many files are open."""
        return len(self._mappings)

    def close_oldest(self) -> None:
        """Close the file opened first; see :mod:`zarrfeed.store.file_limits`."""
        if self._mappings:
            self._mappings.pop(next(iter(self._mappings)))

    def _flat_files(self, shards: int) -> FlatFiles | None:
        """Reserve one range of addresses for all files, if they are raw and may stay open."""
        layout = self._layout
        if layout.compression != "raw" or layout.checksum or shards > self._open_files:
            return None
        index = layout.chunks_per_shard * ENTRY_NBYTES + CHECKSUM_NBYTES
        try:
            nbytes = layout.shard_rows * layout.sample_nbytes + index
            return FlatFiles(shards, self._chunks, layout.chunk_rows, nbytes, layout.sample_nbytes)
        except OSError:
            return None

    def _place(self, shard: int, descriptor: int, nbytes: int) -> None:
        if self._flat is not None:
            try:
                self._flat.place(shard, descriptor, nbytes)
            except OSError:  # longer than a shard needs to be: read each sample by itself
                self._flat = None

    def _learn(self, shards: Iterable[int]) -> None:
        """Read the indexes of files."""
        for shard in shards:
            self._offset[shard], self._nbytes[shard] = self._read_table(shard)
            self._known[shard] = True
            if self._flat is not None and not self._gathers(shard, self._flat):
                self._flat = None

    def _gathers(self, shard: int, flat: FlatFiles) -> bool:
        """Whether the samples of a file can be copied together with those of the others."""
        offset, nbytes = self._offset[shard], self._nbytes[shard]
        needed = self._layout.chunk_rows * self._layout.sample_nbytes
        return bool((nbytes[offset >= 0] == needed).all()) and flat.locate(shard, offset)

    def _whole(self, shard: int) -> _Mapping:
        """Give a file that was located; an error if it has become shorter since."""
        mapping = self._mapping(shard)
        if mapping is None:
            raise ReadError(f"{self.path(shard)}: the shard has vanished while it was in use")
        self._require_whole(shard, mapping)
        return mapping

    def _require_whole(self, shard: int, mapping: _Mapping) -> None:
        if mapping.region.cuts:
            self._forget(shard)
            raise self._truncated(shard, "its end was missing")
        size = mapping.file.size()
        if min(size, mapping.data.size) < self._size[shard]:
            raise self._truncated(
                shard, f"the file had {self._size[shard]} bytes and now has {size}"
            )

    def _truncated(self, shard: int, found: str) -> ReadError:
        return ReadError(
            f"{self.path(shard)}: {found}: it was truncated while in use; restore it or convert "
            "again"
        )

    def _forget(self, shard: int) -> None:
        """Map a file anew when it is read again: where it was cut, there are zeros."""
        self._known[shard] = False
        with file_limits.changing:
            self._mappings.pop(shard, None)

    def _mapping(self, shard: int) -> _Mapping | None:
        mapping = self._mappings.get(shard)
        if mapping is not None:
            return mapping
        path = self.path(shard)
        try:
            mapping = file_limits.with_room(lambda: self._map(shard, path), path, ReadError)
        except FileNotFoundError as error:
            require_same(self._folder, self._stamp)
            if self._required:
                raise ReadError(
                    f"{path}: the shard is missing; restore it or convert again"
                ) from error
            return None
        except ValueError as error:  # an empty file cannot be mapped
            raise ReadError(
                f"{path}: the file is empty: it is truncated; restore it or convert again"
            ) from error
        except OSError as error:
            if isinstance(error, ReadError):
                raise
            raise ReadError(f"{path}: cannot be mapped ({error.strerror})") from error
        with file_limits.changing:
            self._mappings[shard] = mapping
            if len(self._mappings) > self._open_files:
                self.close_oldest()
        file_limits.keep_within_limit()
        return mapping

    def _map(self, shard: int, path: Path) -> _Mapping:
        descriptor = open_file(path, within=self._within)
        try:
            require_same(self._folder, self._stamp)
            mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
            self._place(shard, descriptor, len(mapped))
        finally:
            os.close(descriptor)
        data = np.frombuffer(mapped, np.uint8)
        return _Mapping(mapped, data, guarded(mapped, data.ctypes.data))

    def _read_table(self, shard: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        mapping = self._mapping(shard)
        if mapping is None:
            absent = np.array(-1)  # of every chunk
            return absent, absent
        size = self._size[shard] = mapping.data.size
        index = self._layout.index
        if index is None:  # a file is one chunk
            return np.zeros(1, np.int64), np.array([size])
        try:
            offset, nbytes = read_table(
                mapping.data, index, chunks=self._layout.chunks_per_shard, size=size
            )
        except ValueError as error:
            self._forget(shard)
            raise ReadError(f"{self.path(shard)}: {error}; restore it or convert again") from error
        self._require_whole(shard, mapping)
        return offset[: self._chunks], nbytes[: self._chunks]
