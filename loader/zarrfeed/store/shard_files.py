"""Where are the chunks of an array in its mapped shards? Each shard's index says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import numpy as np

from zarrfeed.errors import ReadError, look_up
from zarrfeed.machine_memory import require_memory
from zarrfeed.store.chunk_table import ENTRY_NBYTES, read_table
from zarrfeed.store.mapped_files import MappedFile, MappedFiles

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from zarrfeed.store.files import Stamp
    from zarrfeed.store.mapped_shards import MappedShards
    from zarrfeed.store.schema import ArrayLayout


class ShardFiles:
    """Finds the bytes of an array's chunks.

    Not thread-safe: every worker has its own.

    Parameters
    ----------
    folder
        Folder of the array.
    layout
        Layout of the array.
    required
        Whether a missing file is an error. Zarr allows it (its chunks hold the fill value), but a
        packed store has every file.
    stamp
        Stamp of the array; see :func:`zarrfeed.store.files.require_same`.
    open_files
        Largest number of descriptors to keep open, at least 1.
    mapped_shards
        A range of addresses into which all files are mapped as well; None for none.

    Attributes
    ----------
    mapped_shards
        The same; set to None once a file turns out not to fit in.
    """

    def __init__(
        self,
        folder: Path,
        layout: ArrayLayout,
        *,
        required: bool,
        stamp: Stamp | None,
        open_files: int,
        mapped_shards: MappedShards | None = None,
    ) -> None:
        self.folder = folder
        self.layout = layout
        self.mapped_shards = mapped_shards
        self._required = required
        self._files = self._map_files(stamp, open_files)
        self._used: tuple[int, MappedFile] | None = None
        self._chunks = layout.chunks_in_use
        # np.zeros takes no memory until it is written to, so that only the indexes read take any.
        table = f"the table of {layout.shards:,} shards of {self._chunks:,} chunks"
        require_memory(folder, layout.shards * (1 + ENTRY_NBYTES * self._chunks), table)
        self._known = np.zeros(layout.shards, np.bool_)
        self._offset = np.zeros((layout.shards, self._chunks), np.int64)
        self._nbytes = np.zeros((layout.shards, self._chunks), np.int64)
        self._size: dict[int, int] = {}  # bytes of each file when its index was read

    def path(self, shard: int) -> Path:
        """Return the path of a shard's file."""
        return self.folder / self.layout.shard_name(shard)

    def first_sample(self, shard: int) -> int:
        """Return the id of the first sample of a shard."""
        return shard * self.layout.shard_rows

    def read_tables(self, shards: NDArray[np.int64]) -> None:
        """Read the indexes of shards that have not been read yet.

        Parameters
        ----------
        shards
            (n,) shard numbers, repeated or not.

        Raises
        ------
        ReadError
            A required file is missing, a file is shorter than its index says, or an index is
            damaged.
        """
        known = self._known[shards]
        if known.all():
            return
        for shard in np.flatnonzero(np.bincount(shards[~known])).tolist():
            self.read_table(shard)

    def read_table(self, shard: int) -> None:
        """Read the index of a shard unless it has been read; raises as :meth:`read_tables`."""
        if self._known[shard]:
            return
        self._offset[shard], self._nbytes[shard] = self._table(shard)
        self._known[shard] = True
        if self.mapped_shards is not None and not self._fits(shard, self.mapped_shards):
            self.mapped_shards = None

    def locate(
        self, shard: NDArray[np.int64], chunk: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Look up the positions of chunks in their files.

        Parameters
        ----------
        shard, chunk
            (b,) int64 each: the file, and the chunk within it.

        Returns
        -------
        offset, nbytes
            (b,) int64 each; offset is -1 for a chunk that was never written.

        Raises
        ------
        ReadError
            As :meth:`read_tables`.
        """
        self.read_tables(shard)
        return self._offset[shard, chunk], self._nbytes[shard, chunk]

    def data(self, shard: int) -> NDArray[np.uint8]:
        """Return the bytes of a file whose chunks have been located.

        Only one file can be used at a time, because more may not stay open. The call therefore
        checks the file of the previous call.

        Parameters
        ----------
        shard
            Number of the file.

        Returns
        -------
        (nbytes,) uint8
            Read-only. Copies of it are valid only if :meth:`check` passes afterwards.

        Raises
        ------
        ReadError
            The file is gone, or it or the file of the previous call has become shorter.
        """
        self.check()
        file = self._whole(shard)
        self._used = shard, file
        return file.data

    def check(self) -> None:
        """Check that the file of the last call of :meth:`data` has not become shorter.

        Raises
        ------
        ReadError
            It has.
        """
        used, self._used = self._used, None
        if used is not None:
            self._require_whole(*used)

    def require_whole(self, shards: Iterable[int]) -> None:
        """Check that the files of shards whose indexes have been read have not become shorter.

        Raises
        ------
        ReadError
            One has become shorter, or is gone.
        """
        mapped, sizes = self._files.mapped, self._size
        for shard in shards:
            file = mapped.get(shard)
            if (file is None or file.mapping.size() < sizes[shard]) and shard in sizes:
                self._whole(shard)  # raises the error

    def refuse(self, truncated: set[int]) -> NoReturn:
        """Unmap files that were truncated during a copy, because zeros took the place of their end.

        Raises
        ------
        ReadError
            Always.
        """
        for shard in truncated:
            self._known[shard] = False
            self._files.forget(shard)
        raise self._truncated(min(truncated), "its end was missing")

    def known(self, shards: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether the index of each of (n,) shards has been read."""
        return self._known[shards]

    def forget_tables(self, shards: Iterable[int]) -> None:
        """Forget indexes, which are read again when they are needed next."""
        for shard in shards:
            self._known[shard] = False

    def unmap(self) -> None:
        """Unmap all files and forget their indexes: others may have taken their places."""
        self._known[:] = False
        self._files.close()

    def prefetch(self, shard: int, offset: int, nbytes: int) -> None:
        """Ask the kernel to load a range of a file into memory, without waiting."""
        file = self._file(shard)
        if file is not None:
            file.prefetch(offset, nbytes)

    def close(self) -> None:
        """Close the files."""
        self._files.close()
        self._used = None
        self.mapped_shards = None

    # What the shards of several arrays differ in; see `zarrfeed.store.mixed.mixed_files`.

    def _map_files(self, stamp: Stamp | None, open_files: int) -> MappedFiles:
        return MappedFiles(self.folder, stamp=stamp, open_files=open_files)

    def _layout_of(self, shard: int) -> ArrayLayout:
        del shard
        return self.layout

    def _requires(self, shard: int) -> bool:
        del shard
        return self._required

    def _fits(self, shard: int, mapped_shards: MappedShards) -> bool:
        """Whether the samples of a file can be gathered in one call with those of other files."""
        offset, nbytes = self._offset[shard], self._nbytes[shard]
        needed = self.layout.chunk_rows * self.layout.sample_nbytes
        return bool((nbytes[offset >= 0] == needed).all()) and mapped_shards.locate(shard, offset)

    def _place(self, shard: int, descriptor: int, nbytes: int) -> None:
        if self.mapped_shards is not None:
            try:
                self.mapped_shards.place(shard, descriptor, nbytes)
            except OSError:  # the file is longer than a shard needs to be
                self.mapped_shards = None

    def _whole(self, shard: int) -> MappedFile:
        """Return a file whose index has been read; raise if it has become shorter since."""
        file = self._file(shard)
        if file is None:
            raise ReadError(
                f"{self.path(shard)}: the shard has vanished while it was in use; restore it or "
                "convert again"
                f"{look_up('damaged-store')}"
            )
        self._require_whole(shard, file)
        return file

    def _require_whole(self, shard: int, file: MappedFile) -> None:
        if file.guard.missing_pages:
            self.refuse({shard})
        needed, now = self._size[shard], file.mapping.size()
        if min(now, file.data.size) < needed:
            raise self._truncated(shard, f"the file had {needed} bytes and now has {now}")

    def _truncated(self, shard: int, found: str) -> ReadError:
        return ReadError(
            f"{self.path(shard)}: {found}: it was truncated while in use; restore it or convert "
            "again"
            f"{look_up('damaged-store')}"
        )

    def _file(self, shard: int) -> MappedFile | None:
        """Return a file, mapped if need be; None if there is none and none is required."""
        file = self._files.mapped.get(shard)
        if file is not None:
            return file
        path = self.path(shard)
        try:
            return self._files.map(shard, path, self._place)
        except FileNotFoundError as error:
            if not self._requires(shard):
                return None
            raise ReadError(
                f"{path}: the shard is missing; restore it or convert again"
                f"{look_up('damaged-store')}"
            ) from error

    def _table(self, shard: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        file = self._file(shard)
        if file is None:
            absent = np.array(-1)  # broadcast to every chunk
            return absent, absent
        size = self._size[shard] = file.data.size
        layout = self._layout_of(shard)
        if layout.index is None:  # the file is one chunk
            return np.zeros(1, np.int64), np.array([size])
        try:
            offset, nbytes = read_table(
                file.data, layout.index, chunks=layout.chunks_per_shard, size=size
            )
        except ValueError as error:
            self._files.forget(shard)
            raise ReadError(
                f"{self.path(shard)}: {error}; restore it or convert again"
                f"{look_up('damaged-store')}"
            ) from error
        self._require_whole(shard, file)
        return offset[: self._chunks], nbytes[: self._chunks]
