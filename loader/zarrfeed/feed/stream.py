"""The batches of a split, epoch after epoch, for whichever framework asks.

Knows no framework. What a batch holds is decided in :mod:`zarrfeed.order.schedule`, how it is read
in the workers, when in :mod:`zarrfeed.feed.feeder`; here they are put together, started when first
needed, and closed. Which batch comes next is :mod:`zarrfeed.feed.position`'s.
"""

from __future__ import annotations

import operator
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from zarrfeed.arrays import Arrays, Batch, aligned_empty
from zarrfeed.feed.forks import register_at_fork
from zarrfeed.feed.opening import open_request, start_feeder
from zarrfeed.feed.position import Position
from zarrfeed.feed.sharing import Sharing
from zarrfeed.feed.workers.batch_maker import BatchMaker
from zarrfeed.store.descriptive_arrays import sample_names

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from zarrfeed.feed.feeder import Feeder
    from zarrfeed.feed.passes import Pass
    from zarrfeed.feed.request import Request
    from zarrfeed.feed.slot import Spec
    from zarrfeed.feed.stats import EpochStats
    from zarrfeed.order.ranks import Found
    from zarrfeed.order.schedule import Schedule


class Stream:
    """The batches of a split. The store is opened at once; workers start with the first pass.

    Parameters
    ----------
    request
        What the user asked for.
    find_share
        Asks the frameworks which rank this process has. It must not know the sequence, which could
        never die.

    Attributes
    ----------
    request
        With the number and kind of workers that the next feeder starts.
    split
        What is read.
    batch_spec
        How a batch is made.
    position
        Which batch comes next.

    Raises
    ------
    StoreError, ValueError, WorkerError
        As :func:`zarrfeed.feed.opening.open_request`.
    """

    def __init__(self, request: Request, find_share: Callable[[], Found]) -> None:
        self.request = request
        self.split, schedule, self.batch_spec = open_request(request)
        self._sharing = Sharing(str(self.split.path), schedule, request.asked, find_share)
        self.position = Position(self._sharing, random=bool(request.transforms))
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
        """One sample of each array of a batch."""
        return self.batch_spec.layout.specs

    def use_workers(self, count: int, processes: bool) -> None:
        """Choose how many workers there are, and of which kind, from the next pass on."""
        before = self.request
        self.request = replace(before, workers=count, use_multiprocessing=processes)
        if (count, self.request.processes) != (before.workers, before.processes):
            self.close()

    def batches(
        self, *, looks: int | None = None, nested: bool = True
    ) -> Generator[Batch, None, None]:
        """Go through the coming epoch. It is over when its last batch has been handed out.

        Parameters
        ----------
        looks
            See :class:`Pass`.
        nested
            Whether arrays become inputs, targets and weights, or stay those of a slot.

        Yields
        ------
        tuple
            What follows runs at the first ``next``, not before.
        """
        nest = self.batch_spec.structure.nest if nested else tuple
        schedule = self._sharing.tell()
        feeder = self._ready_feeder(schedule)
        with self._maker_lock:
            current = self.position.begin(schedule, looks, feeder.tally)
        ticket = feeder.begin(current.epoch, current.next)
        try:
            while not current.complete:
                yield nest(self._next(feeder, ticket, current))  # and do not hold it meanwhile
        finally:
            current.ended = True

    def stats(self) -> list[EpochStats]:
        """Sum up every pass so far, the one under way included."""
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
        """Read one batch of the epoch under way into fresh memory.

        After all batches were read, the next one is of the next epoch. A negative number counts
        from the end, and as a look: it does not matter to epochs.

        Raises
        ------
        IndexError
            There is no such batch.
        TypeError
            It is no whole number.
        """
        position = self.position
        schedule = position.under_way or self._sharing.tell()
        batch = self._batch_number(index)
        with self._maker_lock:
            if index >= 0:
                position.items.turn(schedule.batches)
            arrays = self._fill(schedule, position.epoch, batch)
            if index >= 0:
                position.items.take(batch)
        return self.batch_spec.structure.nest(arrays)

    def names(self, index: int, epoch: int) -> list[str]:
        """Name the samples of a batch by their keys, row by row."""
        schedule, index = self.schedule, self._batch_number(index)
        ids = schedule.batch_ids(epoch, index)[: schedule.real_rows(index)]
        return sample_names(self.split, ids)

    def close(self) -> None:
        """Stop the workers and free the memory that no batch is using; a new pass starts anew."""
        if self._feeder is not None:
            self._feeder.close()
        with self._maker_lock:
            if self._maker is not None:
                self._maker.close()
            self._maker = None

    def before_fork(self) -> None:
        """Nothing to do; see :mod:`zarrfeed.feed.forks`."""

    def after_fork(self, *, child: bool) -> None:
        """In a child, read with files of its own; the feeder is closed and started anew."""
        if child:
            self._maker_lock = threading.Lock()
            self._maker = None

    def _next(self, feeder: Feeder, ticket: int, current: Pass) -> Arrays:
        batch = feeder.take(ticket, current.tally)
        if batch is None:  # a newer pass has the workers now: this one goes on by itself
            with self._maker_lock:
                batch = self._fill(current.schedule, current.epoch, current.next)
        else:
            self._zero_padding_weights(batch, current.schedule, current.next)
        self.position.advance(current)
        return batch

    def _ready_feeder(self, schedule: Schedule) -> Feeder:
        if self._feeder is not None and self._feeder.schedule is not schedule:
            self._feeder.close()  # processes have found each other since
        if self._feeder is None or self._feeder.closed:
            self._feeder = start_feeder(self.request, self.batch_spec, schedule)
            self._feeder.close_with(self)
        return self._feeder

    def _fill(self, schedule: Schedule, epoch: int, index: int) -> Arrays:
        """Read a batch; the caller holds the maker's lock."""
        layout = self.batch_spec.layout
        slot = layout.slot(aligned_empty(layout.nbytes))
        ids = schedule.batch_ids(epoch, index)
        slot.set_ids(ids)
        if self._maker is None:
            self._maker = BatchMaker(self.batch_spec)
        self._maker.fill(slot, rows=ids.size, epoch=epoch, batch=index)
        return self._zero_padding_weights(slot.first_rows(ids.size), schedule, index)

    def _zero_padding_weights(self, arrays: Arrays, schedule: Schedule, index: int) -> Arrays:
        """Set the weights of samples that fill the last batch to 0."""
        rows = schedule.real_rows(index)
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
            raise IndexError(f"batch {index} of {length}")
        return index % length
