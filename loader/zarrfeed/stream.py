"""The batches of a split, epoch after epoch, for whichever framework asks.

Knows no framework. What a batch holds is decided in :mod:`zarrfeed.schedule`, how it is read in the
workers, when in :mod:`zarrfeed.feeder`; here they are put together, started when first needed,
and closed.
"""

from __future__ import annotations

import logging
import threading
import warnings
import weakref
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zarrfeed.reader import sample_names
from zarrfeed.request import share_schedule
from zarrfeed.slot import Arrays, Spec, aligned_empty, weighing
from zarrfeed.workers.recipe import Filler, Recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from zarrfeed.feeder import Feeder
    from zarrfeed.ranks import Asked, Found
    from zarrfeed.schedule import Schedule
    from zarrfeed.stats import EpochStats, Tally
    from zarrfeed.store import Split

_LOG = logging.getLogger(__name__)

# Passes that are remembered: enough for any training, little memory.
_EPOCHS_KEPT = 1000


@dataclass(slots=True)
class Pass:
    """One way through an epoch.

    Attributes
    ----------
    epoch
        Which one.
    next
        The batch that is handed out next.
    schedule
        Which samples make which batch.
    tally
        What was counted.
    start
        The batch that it began with.
    ended
        Whether nobody goes on with it.
    """

    epoch: int
    next: int
    schedule: Schedule
    tally: Tally
    start: int
    ended: bool = False

    @property
    def complete(self) -> bool:
        """Whether every batch has been handed out."""
        return self.next >= self.schedule.batches

    @property
    def probed(self) -> bool:
        """Whether somebody took a look at the first batch or two and went away.

        Keras does on JAX and torch, to build the model; one that looks ahead takes two.
        """
        return self.ended and not self.complete and self.next - self.start <= 2


class Stream:
    """The batches of a split.

    Parameters
    ----------
    split
        What is read.
    schedule
        Which samples make which batch, in one process or for the rank that was asked for.
    recipe
        How a batch is made.
    start_feeder
        Starts so many workers (processes or threads), and memory, for a schedule.
    asked, find_share
        Which rank this process has: what the user asked for, and what the frameworks say.
    workers, processes
        How many, and whether they are processes.

    Attributes
    ----------
    epoch, first
        The epoch that the next pass goes through, and the batch that it begins with.
    current
        The newest pass; None before the first.
    workers, processes
        How many workers the next feeder starts, and whether they are processes.
    """

    def __init__(
        self,
        split: Split,
        schedule: Schedule,
        recipe: Recipe,
        start_feeder: Callable[[Schedule, int, bool], Feeder],
        *,
        asked: Asked,
        find_share: Callable[[], Found],
        workers: int,
        processes: bool,
    ) -> None:
        self.split = split
        self.recipe = recipe
        self.epoch = 0
        self.first = 0
        self.current: Pass | None = None
        self.workers = workers
        self.processes = processes
        self._schedule = schedule
        self._asked = asked
        self._find_share = find_share
        self._told: tuple[int, int] | None = None
        self._sought = True
        self._past: deque[EpochStats] = deque(maxlen=_EPOCHS_KEPT)
        self._start_feeder = start_feeder
        self._feeder: Feeder | None = None
        self._filler: Filler | None = None
        self._filler_lock = threading.Lock()

    @property
    def schedule(self) -> Schedule:
        """Which samples make which batch: of the pass under way, or of one that would begin now.

        Processes may have found each other since the last time, or since the sequence was made.
        """
        if self.current is not None and not self.current.ended and not self.current.complete:
            return self.current.schedule
        return self._settle(self._find_share())

    @property
    def specs(self) -> tuple[Spec, ...]:
        """One sample of each array of a batch."""
        return self.recipe.layout.specs

    @property
    def position(self) -> tuple[int, int]:
        """Epoch and batch after the last one that was handed out."""
        if self.current is None or self._sought:
            return self.epoch, self.first
        return self.current.epoch, self.current.next

    def seek(self, epoch: int, first: int = 0) -> None:
        """Choose the epoch that the next pass goes through, and the batch that it begins with."""
        self.epoch, self.first = epoch, first
        self._sought = True

    def use_workers(self, count: int, processes: bool) -> None:
        """Choose how many workers there are, and of which kind, from the next pass on."""
        if (count, processes) != (self.workers, self.processes):
            self.close()
            self.workers, self.processes = count, processes

    def share(self) -> tuple[int, int]:
        """Decide which rank this process has, of how many, and say so once.

        Raises
        ------
        ValueError
            There is no such rank, or not a batch for every rank.
        """
        found = self._find_share()
        schedule = self._settle(found)
        decided = schedule.rank, schedule.world_size
        if decided != self._told:
            self._told = decided
            _tell(schedule, found, self.split.path)
            if complaint := self._asked.complaint(found):
                warnings.warn(complaint, UserWarning, stacklevel=3)
        return decided

    def batches(self) -> Generator[Arrays, None, None]:
        """Go through the coming epoch. What follows runs at the first ``next``, not before."""
        self.share()
        feeder = self._ready_feeder()
        current = self._begin_pass(feeder)
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
        """Read one batch of the coming epoch into fresh memory; negative counts from the end.

        Raises
        ------
        IndexError
            There is no such batch.
        """
        return self._read(self.schedule, self.epoch, self._position(index))

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
            if self._filler is not None:
                self._filler.close()
            self._filler = None

    def _next(self, feeder: Feeder, ticket: int, current: Pass) -> Arrays:
        batch = feeder.take(ticket, current.tally)
        if batch is None:  # a newer pass has the workers now: this one goes on by itself
            batch = self._read(current.schedule, current.epoch, current.next)
        current.next += 1
        return batch

    def _begin_pass(self, feeder: Feeder) -> Pass:
        if self.current is not None:
            self._past.append(self.current.tally.stats())
        tally = feeder.tally(self.epoch)
        self.current = Pass(self.epoch, self.first, self._schedule, tally, self.first)
        self._sought = False
        return self.current

    def _settle(self, found: Found) -> Schedule:
        self._schedule = share_schedule(self._schedule, *self._asked.share(found))
        return self._schedule

    def _ready_feeder(self) -> Feeder:
        if self._feeder is not None and self._feeder.schedule is not self._schedule:
            self._feeder.close()  # processes have found each other since
        if self._feeder is None or self._feeder.closed:
            self._feeder = self._start_feeder(self._schedule, self.workers, self.processes)
            weakref.finalize(self, self._feeder.close)
        return self._feeder

    def _read(self, schedule: Schedule, epoch: int, index: int) -> Arrays:
        layout = self.recipe.layout
        slot = layout.slot(aligned_empty(layout.nbytes))
        ids = schedule.batch_ids(epoch, index)
        slot.order(ids)
        with self._filler_lock:
            if self._filler is None:
                self._filler = Filler(self.recipe)
            self._filler.fill(slot, rows=ids.size, epoch=epoch, batch=index)
        return weighing(slot.cut(ids.size), schedule.real_rows(index))

    def _position(self, index: int) -> int:
        length = self.schedule.batches
        if not -length <= index < length:
            raise IndexError(f"batch {index} of {length}")
        return index % length


def _tell(schedule: Schedule, found: Found, path: Path) -> None:
    """Say which share was chosen, and what it leaves out."""
    who = found.source or "no other process was found"
    _LOG.info(
        "%s: rank %d of %d (%s): %d of %d samples in %d batches",
        path, schedule.rank, schedule.world_size, who,
        schedule.samples, len(schedule.ids), schedule.batches,
    )  # fmt: skip
    if found.doubt and schedule.world_size == 1:
        _LOG.warning("%s: this process takes all samples, but %s", path, found.doubt)
    if schedule.world_size > 1 and schedule.left_out:
        _LOG.warning(
            "%s: %d of %d samples are left out of %s, so that all %d ranks have equally many; "
            "pad_remainder=True takes them in",
            path, schedule.left_out, len(schedule.ids),
            "every epoch (others each time)" if schedule.shuffle else "every pass, always the same",
            schedule.world_size,
        )  # fmt: skip
