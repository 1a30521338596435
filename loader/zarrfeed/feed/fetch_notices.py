"""What does a sequence tell the process that fetches? What it is going to read, and where it is."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from zarrfeed.errors import StoreError
from zarrfeed.feed.fetching.upcoming import Plan, PlanPart
from zarrfeed.store.mirror.block_table import BlockTable
from zarrfeed.store.mirror.connection import Connection
from zarrfeed.store.mirror.mirrored_reader import table_path
from zarrfeed.store.mixed.mixed_field import MixedField

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zarrfeed.feed.workers.batch_spec import BatchSpec
    from zarrfeed.order.schedule import Schedule
    from zarrfeed.store.mirror.origin import Origin
    from zarrfeed.store.split import Split


class _MirroredRows(NamedTuple):
    split: Split
    origin: Origin
    first: int
    stop: int


@dataclass(slots=True, eq=False)
class FetchNotices:
    """Tells the fetcher of a sequence's mirrors about its passes.

    Attributes
    ----------
    batch_spec
        How a batch is made.
    """

    batch_spec: BatchSpec
    _connection: Connection | None = None
    _limited: bool = False

    def begin(self, schedule: Schedule, epoch: int, batch: int, *, workers: int) -> None:
        """Say what a pass reads, unless all of it is there.

        Parameters
        ----------
        schedule, epoch, batch
            Which samples are in which batch, and the first batch of the pass.
        workers
            Number of workers, each of which reads one batch at a time.

        Raises
        ------
        StoreError
            The limit of the cache cannot hold the batches that are under way together.
        ReadError
            What is needed to plan cannot be read.
        """
        rows = list(_mirrored_rows(self.batch_spec.split))
        limited = any(each.origin.remote.cache_limit is not None for each in rows)
        if not rows or not (limited or any(map(_lacks_blocks, rows))):
            self._limited = False
            return
        if self._connection is None:
            remote = rows[0].origin.remote
            self._connection = Connection(remote.cache, timeout=remote.timeout)
            for each in rows:
                remote = each.origin.remote
                self._connection.open(
                    each.origin.url, remote.storage_options, remote.cache_limit, each.split.path
                )
        fields = [spec.name for spec in self.batch_spec.source]
        patches = self.batch_spec.patches
        if patches is not None:
            fields = patches.fields_read(fields)
        parts = [PlanPart(str(each.split.path), each.first, each.stop) for each in rows]
        plan = Plan(schedule, patches, tuple(fields), tuple(parts), max(1, workers))
        self._connection.plan(pickle.dumps(plan), epoch, batch)
        self._limited = limited

    def at(self, epoch: int, batch: int) -> None:
        """Say which batch comes next, where that decides what may go."""
        if self._limited and self._connection is not None:
            self._connection.at(epoch, batch)

    def close(self) -> None:
        """Hang up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _mirrored_rows(split: Split) -> Iterator[_MirroredRows]:
    """Yield the mirrors whose blocks the rows of a split are in."""
    mixed = next((each for each in split.sources.values() if isinstance(each, MixedField)), None)
    stores = [(split, 0)]
    if mixed is not None:
        stores = [(p.split, first) for p, first in zip(mixed.parts, mixed.first, strict=True)]
    for store, first in stores:
        origin = store.origin
        if origin is not None and origin.files is not None:
            rows = store.layouts[origin.files.fields[0]].shape[0]
            yield _MirroredRows(store, origin, first, first + rows)


def _lacks_blocks(rows: _MirroredRows) -> bool:
    assert rows.origin.files is not None
    try:
        table = BlockTable.open(table_path(rows.split.path), rows.origin.files)
    except StoreError:
        return True  # the fetcher makes another one
    return bool(table.missing.any())
