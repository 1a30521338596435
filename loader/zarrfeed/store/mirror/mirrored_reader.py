"""Read an array of which only some blocks are here: wait for what is missing, and copy.

The mapped files are read as those of a local store. Blocks may be evicted while they are copied;
:mod:`zarrfeed.store.mirror.block_table` says how a reader notices. It then copies again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import ReadError, look_up
from zarrfeed.store.field_reader import FieldReader
from zarrfeed.store.mirror.block_table import BlockTable
from zarrfeed.store.mirror.origin import naming_address
from zarrfeed.store.schema import MIRROR

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import TypeAlias

    from numpy.typing import NDArray

    from zarrfeed.store.box_plan import BoxPlan
    from zarrfeed.store.mapped_reader import MappedReader
    from zarrfeed.store.mirror.file_table import FileTable
    from zarrfeed.store.mirror.origin import Fetching, Origin
    from zarrfeed.store.read_plan import ReadPlan

    Rows: TypeAlias = NDArray[np.int64] | Sequence[int]

# Copies that may turn out invalid in a row. One does if its blocks are evicted within the
# milliseconds that it takes, although the fetcher evicts first what is needed last.
_ATTEMPTS = 20


class MirroredReader(FieldReader):
    """Reads one array of a mirror.

    Parameters
    ----------
    inner
        Reader of the array's files in the mirror.
    folder
        Folder of the split in the mirror.
    name
        Name of the array, which is sharded.
    origin
        Where the split comes from; its `files` have the array.

    Raises
    ------
    StoreError
        The mirror is damaged.
    """

    checks_stamp = True

    def __init__(self, inner: MappedReader, folder: Path, name: str, origin: Origin) -> None:
        assert origin.files is not None
        self._inner = inner
        self._folder = folder
        self._origin = origin
        self._files: FileTable = origin.files
        self._table = BlockTable.open(table_path(folder), origin.files)
        inner.expect_changes(lambda: self._table.evicts)
        self._first = origin.files.file_of(name, 0)
        layout = inner.files.layout
        self._shard_rows = layout.shard_rows
        self._fetching: Fetching | None = None
        # The number of evictions after which all files were here. While it is that, they still are.
        self._complete_at = -1

    @property
    def decode_seconds(self) -> float:  # type: ignore[override]
        """Seconds spent in codecs so far."""
        return self._inner.decode_seconds

    def read_into(self, plan: ReadPlan, out: NDArray[Any]) -> None:
        """Read the samples of a batch; see :meth:`FieldReader.read_into`."""
        self._read(plan.ids, lambda: plan, lambda: self._inner.read_into(plan, out))

    def read_box_into(self, plan: BoxPlan, out: NDArray[Any]) -> None:
        """Read a box of a case; see :meth:`FieldReader.read_box_into`."""
        if plan.rows:
            self._read(plan.rows, lambda: plan.tiles, lambda: self._inner.read_box_into(plan, out))

    def prefetch(self, plan: ReadPlan) -> None:
        """Ask the kernel to load what is here; the fetcher knows by itself what comes next."""
        self._read_whole(plan.ids, lambda: self._inner.prefetch(plan))

    def close(self) -> None:
        """Close the files and the connection."""
        self._inner.close()
        fetching, self._fetching = self._fetching, None
        if fetching is not None:
            fetching.close()  # at once: an error that somebody keeps refers to it

    def _read(self, rows: Rows, plan: Callable[[], ReadPlan], copy: Callable[[], None]) -> None:
        self._connected()  # which also keeps the mirror, now in use, from being removed
        with naming_address(self._folder, self._origin.url):
            if not self._read_whole(rows, copy):
                self._read_blocks(np.unique(self._shards(rows)), plan(), copy)

    def _read_whole(self, rows: Rows, copy: Callable[[], None]) -> bool:
        """Copy from files that are here as a whole, as most are from the second epoch on.

        Returns
        -------
        bool
            False if some are not, or blocks were evicted, so that the copy may be invalid.
        """
        table = self._table
        evictions = table.evictions
        table.fence()
        if evictions != self._complete_at and not self._are_whole(rows, evictions):
            return False
        try:
            copy()
        except ReadError:
            self._inner.forget(self._shards(rows).tolist())
            return False  # block by block it is found out why
        table.fence()
        if table.evictions == evictions:
            return True
        self._inner.forget(self._shards(rows).tolist())
        return False

    def _are_whole(self, rows: Rows, evictions: int) -> bool:
        """Return whether the files of all rows are here, after so many evictions."""
        missing = self._table.missing[self._first : self._first + self._files.shards]
        if missing[self._shards(rows)].any():
            return False
        if not missing.any():
            self._complete_at = evictions
        return True

    def _shards(self, rows: Rows) -> NDArray[np.int64]:
        shards: NDArray[np.int64] = np.asarray(rows, np.int64) // self._shard_rows
        return shards

    def _read_blocks(
        self, shards: NDArray[np.int64], plan: ReadPlan, copy: Callable[[], None]
    ) -> None:
        """Copy from shards what may have to be fetched first, until no block goes meanwhile."""
        for _ in range(_ATTEMPTS):
            self._read_indexes(shards)
            needed = self._inner.ranges(plan)
            blocks = self._files.blocks_of_ranges(
                self._first + needed.shard, needed.start, needed.stop
            )
            if self._confirmed(blocks, copy):
                return
            self._inner.forget(shards.tolist())
        raise ReadError(
            f"{self._inner.files.folder}: blocks left the cache {_ATTEMPTS} times while they were "
            f"read: give a larger cache_limit, or use fewer workers{look_up('cache-limit')}"
        )

    def _read_indexes(self, shards: NDArray[np.int64]) -> None:
        """Read the indexes of shards that have not been read. They stay when blocks go."""
        files = self._inner.files
        new = shards[~files.known(shards)]
        numbers = self._first + new
        absent = numbers[self._table.indexed[numbers] == 0]
        if absent.size:
            self._connected().indexes(self._folder, absent)
        try:
            files.read_tables(new)
        except ReadError:
            self._connected().indexes(self._folder, numbers)
            if not self._open_again():
                raise
            self._read_indexes(shards)

    def _confirmed(self, blocks: NDArray[np.int64], read: Callable[[], None]) -> bool:
        """Read from blocks, fetched if need be; False if one of them went meanwhile."""
        table = self._table
        if not table.present(blocks).all():
            self._fetch(blocks)
            if not table.present(blocks).all() and self._open_again():
                return False
        before = table.generations[blocks]
        if not (before & 1).all():
            return False
        table.fence()
        try:
            read()
        except ReadError:
            unchanged = (table.generations[blocks] == before).all()
            if unchanged and not self._connected().doubt(self._folder, blocks):
                raise
            return False
        table.fence()
        return bool((table.generations[blocks] == before).all())

    def _open_again(self) -> bool:
        """Open all files again if some were removed from the cache, and made anew."""
        path = table_path(self._folder)
        if self._table.is_at(path):
            return False
        self._inner.files.unmap()
        self._table, self._complete_at = BlockTable.open(path, self._files), -1
        return True

    def _fetch(self, blocks: NDArray[np.int64]) -> None:
        self._connected().require(self._folder, blocks)

    def _connected(self) -> Fetching:
        if self._fetching is None:
            self._fetching = self._origin.connect(self._folder)
        return self._fetching


def table_path(folder: Path) -> Path:
    """Return the path of the block table of a split's mirror."""
    return folder.with_name(f"{folder.name}{MIRROR}") / "blocks"
