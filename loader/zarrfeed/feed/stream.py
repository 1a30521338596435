"""The batches of a split, epoch after epoch, for whichever framework asks.

Knows no framework. What a batch holds is decided in :mod:`zarrfeed.order.schedule`, how it is read
in the workers, when in :mod:`zarrfeed.feed.feeder`; here they are put together, started when first
needed, and closed.
"""

from __future__ import annotations

import operator
import threading
import warnings
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from zarrfeed.arrays import Arrays, aligned_empty
from zarrfeed.feed.forks import register_at_fork
from zarrfeed.feed.opening import open_request, start_feeder
from zarrfeed.feed.passes import LOOKS, Items, Pass
from zarrfeed.feed.sharing import Sharing
from zarrfeed.feed.slot import Spec, zero_padding_weights
from zarrfeed.feed.workers.batch_maker import BatchMaker
from zarrfeed.store.descriptive_arrays import sample_names

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from zarrfeed.feed.feeder import Feeder
    from zarrfeed.feed.request import Request
    from zarrfeed.feed.stats import EpochStats
    from zarrfeed.order.ranks import Found
    from zarrfeed.order.schedule import Schedule

# Passes that are remembered: enough for any training, little memory.
_EPOCHS_KEPT = 1000
# Passes that are given up, one after another, before a warning: a look may be given up, too.
_REPEATS = 2


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
    epoch, first
        The epoch that the next pass goes through, and the batch that it begins with.
    current
        The newest pass; None before the first.
    items
        What was taken by :meth:`read`.

    Raises
    ------
    StoreError, ValueError, WorkerError
        As :func:`zarrfeed.feed.opening.open_request`.
    """

    def __init__(self, request: Request, find_share: Callable[[], Found]) -> None:
        self.request = request
        self.split, schedule, self.batch_spec = open_request(request)
        self.epoch = 0
        self.first = 0
        self.current: Pass | None = None
        self._sharing = Sharing(str(self.split.path), schedule, request.asked, find_share)
        self._sought = True
        self._repeats = 0
        self._past: deque[EpochStats] = deque(maxlen=_EPOCHS_KEPT)
        self._feeder: Feeder | None = None
        self._maker: BatchMaker | None = None
        self.items = Items(self)
        self._filler_lock = threading.Lock()
        register_at_fork(self)

    @property
    def schedule(self) -> Schedule:
        """Which samples make which batch: of the pass under way, or of one that would begin now.

        Processes may have found each other since the last time, or since the sequence was made.
        """
        return self._under_way or self._sharing.now()

    @property
    def specs(self) -> tuple[Spec, ...]:
        """One sample of each array of a batch."""
        return self.batch_spec.layout.specs

    @property
    def position(self) -> tuple[int, int]:
        """Epoch and batch after the last one that was handed out."""
        if self.current is None or self._sought or self._all_items_taken:
            return self.coming
        return self.current.epoch, self.current.next

    @property
    def coming(self) -> tuple[int, int]:
        """Epoch of the next pass, and the batch that it begins with."""
        return (self.epoch + 1, 0) if self._all_items_taken else (self.epoch, self.first)

    @property
    def epoch_at_hand(self) -> int:
        """The epoch of the batch that a loop by hand has; after it, the coming one."""
        last = self.current
        if last is not None and last.looks is None and last.complete and not last.ended:
            return last.epoch if self.epoch == last.epoch + 1 else self.epoch
        return self.epoch

    @property
    def _all_items_taken(self) -> bool:
        return self.items.complete(self.schedule.batches)

    def seek(self, epoch: int, first: int = 0) -> None:
        """Choose the epoch that the next pass goes through, and the batch that it begins with."""
        self.epoch, self.first = epoch, first
        self._sought = True
        self.items.forget()

    def use_workers(self, count: int, processes: bool) -> None:
        """Choose how many workers there are, and of which kind, from the next pass on."""
        before = self.request
        self.request = replace(before, workers=count, use_multiprocessing=processes)
        if (count, self.request.processes) != (before.workers, before.processes):
            self.close()

    def batches(self, *, looks: int | None = None) -> Generator[Arrays, None, None]:
        """Go through the coming epoch. It is over when its last batch has been handed out.

        Parameters
        ----------
        looks
            See :class:`Pass`.

        Yields
        ------
        tuple of arrays
            What follows runs at the first ``next``, not before.
        """
        schedule = self._sharing.tell()
        feeder = self._ready_feeder(schedule)
        current = self._begin_pass(feeder, schedule, looks)
        ticket = feeder.begin(current.epoch, current.next)
        try:
            while not current.complete:
                yield self._next(feeder, ticket, current)  # and do not hold it meanwhile
        finally:
            current.ended = True

    def stats(self) -> list[EpochStats]:
        """Sum up every pass so far, the one under way included."""
        if self.current is None:
            return list(self._past)
        if self._feeder is not None and not self._feeder.closed and not self.current.complete:
            self.current.tally.rss = self._feeder.resident()
        return [*self._past, self.current.tally.stats()]

    def read(self, index: int) -> Arrays:
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
        schedule = self._under_way or self._sharing.tell()
        batch = self._position(index)
        with self._filler_lock:
            if index >= 0:
                self.items.turn(schedule.batches)
            arrays = self._fill(schedule, self.epoch, batch)
            if index >= 0:
                self.items.take(batch)
        return arrays

    def names(self, index: int, epoch: int) -> list[str]:
        """Name the samples of a batch by their keys, row by row."""
        schedule, index = self.schedule, self._position(index)
        ids = schedule.batch_ids(epoch, index)[: schedule.real_rows(index)]
        return sample_names(self.split, ids)

    def close(self) -> None:
        """Stop the workers and free the memory that no batch is using; a new pass starts anew."""
        if self._feeder is not None:
            self._feeder.close()
        with self._filler_lock:
            if self._maker is not None:
                self._maker.close()
            self._maker = None

    def before_fork(self) -> None:
        """Nothing to do; see :mod:`zarrfeed.feed.forks`."""

    def after_fork(self, *, child: bool) -> None:
        """In a child, read with files of its own; the feeder is closed and started anew."""
        if child:
            self._filler_lock = threading.Lock()
            self._maker = None

    @property
    def _under_way(self) -> Schedule | None:
        current = self.current
        return None if current is None or current.ended or current.complete else current.schedule

    def _next(self, feeder: Feeder, ticket: int, current: Pass) -> Arrays:
        batch = feeder.take(ticket, current.tally)
        if batch is None:  # a newer pass has the workers now: this one goes on by itself
            with self._filler_lock:
                batch = self._fill(current.schedule, current.epoch, current.next)
        current.next += 1
        # Not if another pass was faster, or somebody chose an epoch meanwhile.
        if current.complete and self.epoch == current.epoch and not self._sought:
            self.seek(current.epoch + 1)
        return batch

    def _begin_pass(self, feeder: Feeder, schedule: Schedule, looks: int | None) -> Pass:
        with self._filler_lock:
            self.items.turn(schedule.batches, by_iterator=True)
        last = self.current
        if last is not None:
            self._past.append(last.tally.stats())
            if last.counts and not self._sought:
                self.epoch, self.first = last.epoch + 1, 0
            self._warn_of_repeats(last, schedule, looks)
        tally = feeder.tally(self.epoch)
        self.current = Pass(self.epoch, self.first, schedule, tally, self.first, looks)
        self._sought = False
        return self.current

    def _warn_of_repeats(self, last: Pass, schedule: Schedule, looks: int | None) -> None:
        """Say so once where passes by hand are broken off, and begin with the same batches."""
        given_up = last.taken > LOOKS and not last.complete and not self._sought
        self._repeats = self._repeats + 1 if given_up and looks is last.looks is None else 0
        batch_spec = self.batch_spec
        varies = schedule.shuffle or batch_spec.transform or batch_spec.batch_transform
        if self._repeats == _REPEATS and varies:
            warnings.warn(
                f"epoch {self.epoch} begins once more, after {_REPEATS} passes that were given up: "
                f"all begin with the same batches. Take all {schedule.batches}, keep one "
                "iterator, or call set_epoch() before each pass",
                stacklevel=4,  # the line that asks for a batch
            )

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
        return zero_padding_weights(slot.first_rows(ids.size), schedule.real_rows(index))

    def _position(self, index: int) -> int:
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
