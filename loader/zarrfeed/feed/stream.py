"""The batches of a split, epoch after epoch, for any framework.

A stream combines the parts, starts them when they are first needed, and closes them.
:mod:`zarrfeed.order.schedule` determines which samples are in a batch,
:mod:`zarrfeed.feed.position` which batch comes next, :mod:`zarrfeed.feed.feeder` when it is read,
and the workers how.
"""

from __future__ import annotations

import operator
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from zarrfeed.feed.drawn_classes import draw_shares
from zarrfeed.feed.fetch_notices import FetchNotices
from zarrfeed.feed.forks import register_at_fork
from zarrfeed.feed.opening import open_request, start_feeder
from zarrfeed.feed.position import Position
from zarrfeed.feed.rank_share import Sharing
from zarrfeed.feed.sample_access import SampleAccess
from zarrfeed.feed.slot import SlotLayout
from zarrfeed.feed.workers.batch_maker import BatchMaker
from zarrfeed.feed.workers.draw_names import draw_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from numpy.typing import NDArray

    from zarrfeed.arrays import Arrays, Batch
    from zarrfeed.feed.feeder import Feeder
    from zarrfeed.feed.passes import Pass
    from zarrfeed.feed.request import Request
    from zarrfeed.feed.slot import Spec
    from zarrfeed.feed.stats import EpochStats
    from zarrfeed.feed.workers.patch_reader import PatchPlace
    from zarrfeed.order.class_shares import ClassShares
    from zarrfeed.order.draws import Draws
    from zarrfeed.order.ranks import DetectedRank
    from zarrfeed.order.schedule import Schedule


class Stream:
    """The batches of a split. The store is opened at once; workers start with the first pass.

    Parameters
    ----------
    request
        The user's request.
    detect_rank
        Function that asks the frameworks which rank this process has. It must not refer to the
        sequence, which could then never be freed.

    Attributes
    ----------
    request
        The request, with the number and kind of workers that the next feeder starts.
    split
        The opened split.
    batch_spec
        How a batch is made.
    position
        Which batch comes next.

    Raises
    ------
    StoreError, ValueError, WorkerError
        As :func:`zarrfeed.feed.opening.open_request`.
    """

    def __init__(self, request: Request, detect_rank: Callable[[], DetectedRank]) -> None:
        self.request = request
        self.split, schedule, self.batch_spec = open_request(request)
        self._sharing = Sharing(self.split.address, schedule, request.requested_rank, detect_rank)
        self.position = Position(self._sharing, random=bool(request.transforms))
        self._notices = FetchNotices(self.batch_spec)
        self._feeder: Feeder | None = None
        self._maker: BatchMaker | None = None
        self._maker_lock = threading.Lock()
        register_at_fork(self)

    @property
    def schedule(self) -> Schedule:
        """See :attr:`zarrfeed.feed.position.Position.schedule`."""
        return self.position.schedule

    @property
    def specs(self) -> tuple[Spec, ...]:
        """Name, shape and dtype of one sample of each array of a batch."""
        return self.batch_spec.layout.specs

    def use_workers(self, count: int, processes: bool) -> None:
        """Set the number and the kind of workers, from the next pass on."""
        before = self.request
        self.request = replace(before, workers=count, use_multiprocessing=processes)
        if (count, self.request.processes) != (before.workers, before.processes):
            self.close()

    def batches(
        self, *, peek_limit: int | None = None, nested: bool = True
    ) -> Generator[Batch, None, None]:
        """Iterate over the next epoch, which is over when its last batch has been handed out.

        The pass begins with the first call of ``next``, not with the call of this function.

        Parameters
        ----------
        peek_limit
            See :class:`Pass`.
        nested
            Whether to nest arrays as inputs, targets and weights, rather than yield those of a
            slot.

        Yields
        ------
        tuple
            One batch.
        """
        nest = self.batch_spec.structure.nest if nested else tuple
        schedule = self._sharing.begin()
        feeder = self._ready_feeder(schedule)
        with self._maker_lock:
            current = self.position.begin(schedule, peek_limit, feeder.tally)
        ticket = feeder.begin(schedule, current.epoch, current.next)
        self._notices.begin(schedule, current.epoch, current.next, workers=self.request.workers)
        try:
            while not current.complete:
                yield nest(self._next(feeder, ticket, current))  # without keeping a reference
        finally:
            current.ended = True

    def stats(self) -> list[EpochStats]:
        """Return statistics of every pass so far, including the one under way."""
        current, feeder = self.position.current, self._feeder
        if (
            current is not None
            and not current.complete
            and feeder is not None
            and not feeder.closed
        ):
            current.tally.rss = feeder.resident()
        return self.position.stats()

    def read(self, index: int) -> Batch:
        """Read one batch of the epoch under way into new memory.

        After all batches of an epoch have been read, the next call reads from the next epoch.

        Parameters
        ----------
        index
            Number of the batch. A negative number counts from the end; such a batch does not count
            as read.

        Raises
        ------
        IndexError
            There is no such batch.
        TypeError
            `index` is not an integer.
        """
        position = self.position
        schedule = position.under_way or self._sharing.begin()
        batch = self._batch_number(index)
        with self._maker_lock:
            if index >= 0:
                position.indexed.turn(schedule.batches)
            epoch = position.epoch
            schedule.require_batch(epoch, batch)
            arrays = self._fill(schedule, epoch, batch)
            if index >= 0:
                position.indexed.take(batch)
        return self.batch_spec.structure.nest(arrays)

    def names(self, index: int, epoch: int) -> list[str]:
        """Return the keys of a batch's samples, row by row; of patches those of their cases."""
        return draw_keys(self.split, self._real_draws(index, epoch))

    def shares(self, epoch: int) -> ClassShares:
        """Return which share of an epoch's draws contains each class."""
        return draw_shares(self.request, self.split, self.schedule, epoch)

    def places(self, index: int, epoch: int) -> list[PatchPlace]:
        """Return where the patches of a batch lie, row by row."""
        draws = self._real_draws(index, epoch)
        with self._maker_lock:
            if self._maker is None:
                self._maker = BatchMaker(self.batch_spec)
            return self._maker.places(draws)

    def peek(self, index: int, epoch: int, rows: int | None = None) -> dict[str, NDArray[Any]]:
        """Read a batch, or its first rows, without a worker and without moving on.

        Parameters
        ----------
        index, epoch
            Numbers of the batch and of the epoch.
        rows
            Number of rows, at most; a batch transform gets no more. None for all.

        Returns
        -------
        dict of (rows, …) arrays
            The arrays of the batch by name, without the rows of padding.
        """
        draws = self._real_draws(index, epoch)[:rows]
        spec = self.batch_spec
        layout = SlotLayout.of(spec.layout.specs, draws.size, spec.layout.draw)
        slot = layout.new_slot()
        slot.set_draws(draws)
        maker = BatchMaker(replace(spec, layout=layout))
        try:
            maker.fill(slot, rows=draws.size, epoch=epoch, batch=self._batch_number(index))
        finally:
            maker.close()
        return {each.name: array for each, array in zip(layout.specs, slot.arrays, strict=True)}

    def samples(self) -> SampleAccess:
        """Return the samples of all epochs, by index, of the rank that this process has now."""
        return SampleAccess(self.request, self._sharing.begin(), self.batch_spec)

    def _real_draws(self, index: int, epoch: int) -> Draws:
        schedule, index = self.schedule, self._batch_number(index)
        schedule.require_batch(epoch, index)
        return schedule.batch_draws(epoch, index)[: schedule.real_rows(epoch, index)]

    def close(self) -> None:
        """Stop the workers and free the memory that no batch uses; the next pass starts again."""
        if self._feeder is not None:
            self._feeder.close()
        self._notices.close()
        with self._maker_lock:
            if self._maker is not None:
                self._maker.close()
            self._maker = None

    def before_fork(self) -> None:
        """Nothing to do; see :mod:`zarrfeed.feed.forks`."""

    def after_fork(self, *, child: bool) -> None:
        """In a child, forget the reader, whose lock a thread of the parent may hold."""
        if child:
            self._maker_lock = threading.Lock()
            self._maker = None

    def _next(self, feeder: Feeder, ticket: int, current: Pass) -> Arrays:
        batch = feeder.take(ticket, current.tally)
        if batch is None:  # a newer pass uses the workers, so that this one reads by itself
            with self._maker_lock:
                batch = self._fill(current.schedule, current.epoch, current.next)
        else:
            real = current.schedule.real_rows(current.epoch, current.next)
            self._zero_padding_weights(batch, real)
        self.position.advance(current)
        self._notices.at(current.epoch, current.next)
        return batch

    def _ready_feeder(self, schedule: Schedule) -> Feeder:
        if self._feeder is None or self._feeder.closed:
            self._feeder = start_feeder(self.request, self.batch_spec, schedule)
            self._feeder.close_with(self)
        return self._feeder

    def _fill(self, schedule: Schedule, epoch: int, index: int) -> Arrays:
        """Read a batch. The caller must hold the maker's lock."""
        layout = self.batch_spec.layout
        slot = layout.new_slot()
        draws = schedule.batch_draws(epoch, index)
        slot.set_draws(draws)
        if self._maker is None:
            self._maker = BatchMaker(self.batch_spec)
        self._maker.fill(slot, rows=draws.size, epoch=epoch, batch=index)
        real = schedule.real_rows(epoch, index)
        return self._zero_padding_weights(slot.first_rows(draws.size), real)

    def _zero_padding_weights(self, arrays: Arrays, rows: int) -> Arrays:
        """Set the weights of padding, after so many rows of the last batch, to 0."""
        if rows < len(arrays[0]):
            self.batch_spec.structure.zero_padding_weights(arrays, rows)
        return arrays

    def _batch_number(self, index: int) -> int:
        length = self.schedule.batches
        try:
            index = operator.index(index)
        except TypeError:
            raise TypeError(
                f"needed the number of one batch, 0 … {length - 1}, got {index!r}: take several "
                "one by one; ZarrSequence(subset=…) chooses samples"
            ) from None
        if not -length <= index < length:
            raise IndexError(f"needed a batch from {-length} to {length - 1}, got {index}")
        return index % length
