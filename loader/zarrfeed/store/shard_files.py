"""The shards of one array: where their chunks lie in the mapped files, by their indexes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import numpy as np

from zarrfeed.errors import ReadError
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
        Of the array.
    layout
        Its description.
    required
        Whether a missing file is an error. Zarr allows it (its chunks hold the fill value), but a
        packed store has every file.
    stamp
        See :func:`zarrfeed.store.files.require_same`.
    open_files
        Descriptors to keep open at most, at least 1.
    together
        A range of addresses into which files are mapped as well; None for none.

    Attributes
    ----------
    together
        As given; None once a file turned out not to fit.
    """

    def __init__(
        self,
        folder: Path,
        layout: ArrayLayout,
        *,
        required: bool,
        stamp: Stamp | None,
        open_files: int,
        together: MappedShards | None = None,
    ) -> None:
        self.folder = folder
        self.layout = layout
        self.together = together
        self._required = required
        self._files = MappedFiles(folder, stamp=stamp, open_files=open_files)
        self._used: tuple[int, MappedFile] | None = None
        self._chunks = layout.chunks_in_use
        # Zeroed memory costs nothing until it is written to: only indexes that are used take any.
        table = f"the table of {layout.shards:,} shards of {self._chunks:,} chunks"
        require_memory(folder, layout.shards * (1 + ENTRY_NBYTES * self._chunks), table)
        self._known = np.zeros(layout.shards, np.bool_)
        self._offset = np.zeros((layout.shards, self._chunks), np.int64)
        self._nbytes = np.zeros((layout.shards, self._chunks), np.int64)
        self._size: dict[int, int] = {}  # of each file when its index was read

    def path(self, shard: int) -> Path:
        """Name a shard's file."""
        return self.folder / self.layout.shard_name(shard)

    def learn(self, shards: NDArray[np.int64]) -> None:
        """Read the indexes of shards that are not known yet.

        Raises
        ------
        ReadError
            A file is required and missing, shorter than its index says, or its index is damaged.
        """
        known = self._known[shards]
        if known.all():
            return
        for shard in set(shards[~known].tolist()):
            self._offset[shard], self._nbytes[shard] = self._read_table(shard)
            self._known[shard] = True
            if self.together is not None and not self._fits(shard, self.together):
                self.together = None

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
            As :meth:`learn`.
        """
        self.learn(shard)
        return self._offset[shard, chunk], self._nbytes[shard, chunk]

    def data(self, shard: int) -> NDArray[np.uint8]:
        """Give the bytes of a file whose chunks were located.

        Only one file at a time can be used, because no more may be kept open: this call checks the
        one before.

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
        file = self._whole(shard)
        self._used = shard, file
        return file.data

    def check(self) -> None:
        """Check that the file of the last call of :meth:`data` has been whole until now.

        Raises
        ------
        ReadError
            It has become shorter.
        """
        used, self._used = self._used, None
        if used is not None:
            self._require_whole(*used)

    def require_whole(self, shards: Iterable[int]) -> None:
        """Check that the files of known shards, where there are any, have not become shorter.

        Raises
        ------
        ReadError
            One has, or is gone.
        """
        mapped, sizes = self._files.mapped, self._size
        for shard in shards:
            file = mapped.get(shard)
            if (file is None or file.mapping.size() < sizes[shard]) and shard in sizes:
                self._whole(shard)  # says what is wrong

    def refuse(self, truncated: set[int]) -> NoReturn:
        """Forget files that were truncated while they were copied: zeros have taken their place.

        Raises
        ------
        ReadError
            Always.
        """
        for shard in truncated:
            self._known[shard] = False
            self._files.forget(shard)
        raise self._truncated(min(truncated), "its end was missing")

    def advise(self, shard: int, offset: int, nbytes: int) -> None:
        """Ask the kernel to read a range of a located file ahead."""
        file = self._file(shard)
        if file is not None:
            file.advise(offset, nbytes)

    def close(self) -> None:
        """Close the files."""
        self._files.close()
        self._used = None
        self.together = None

    def _fits(self, shard: int, together: MappedShards) -> bool:
        """Whether the samples of a file can be copied together with those of the others."""
        offset, nbytes = self._offset[shard], self._nbytes[shard]
        needed = self.layout.chunk_rows * self.layout.sample_nbytes
        return bool((nbytes[offset >= 0] == needed).all()) and together.locate(shard, offset)

    def _place(self, shard: int, descriptor: int, nbytes: int) -> None:
        if self.together is not None:
            try:
                self.together.place(shard, descriptor, nbytes)
            except OSError:  # longer than a shard needs to be
                self.together = None

    def _whole(self, shard: int) -> MappedFile:
        """Give a file that was located; an error if it has become shorter since."""
        file = self._file(shard)
        if file is None:
            raise ReadError(f"{self.path(shard)}: the shard has vanished while it was in use")
        self._require_whole(shard, file)
        return file

    def _require_whole(self, shard: int, file: MappedFile) -> None:
        if file.guard.cuts:
            self.refuse({shard})
        needed, now = self._size[shard], file.mapping.size()
        if min(now, file.data.size) < needed:
            raise self._truncated(shard, f"the file had {needed} bytes and now has {now}")

    def _truncated(self, shard: int, found: str) -> ReadError:
        return ReadError(
            f"{self.path(shard)}: {found}: it was truncated while in use; restore it or convert "
            "again"
        )

    def _file(self, shard: int) -> MappedFile | None:
        """Give a file, mapped if need be; None where there is none and none is required."""
        file = self._files.mapped.get(shard)
        if file is not None:
            return file
        path = self.path(shard)
        try:
            return self._files.map(shard, path, self._place)
        except FileNotFoundError as error:
            if not self._required:
                return None
            raise ReadError(f"{path}: the shard is missing; restore it or convert again") from error

    def _read_table(self, shard: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        file = self._file(shard)
        if file is None:
            absent = np.array(-1)  # of every chunk
            return absent, absent
        size = self._size[shard] = file.data.size
        index = self.layout.index
        if index is None:  # a file is one chunk
            return np.zeros(1, np.int64), np.array([size])
        try:
            offset, nbytes = read_table(
                file.data, index, chunks=self.layout.chunks_per_shard, size=size
            )
        except ValueError as error:
            self._files.forget(shard)
            raise ReadError(f"{self.path(shard)}: {error}; restore it or convert again") from error
        self._require_whole(shard, file)
        return offset[: self._chunks], nbytes[: self._chunks]
