"""Which batch comes next? A position counts batches, and can be saved and restored.

It knows no feeder and no thread. :class:`zarrfeed.feed.stream.Stream` reports the batches that were
handed out.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from zarrfeed.feed.passes import PEEK_LIMIT, IndexedBatches, Pass
from zarrfeed.order.resume_state import saved_schedule, state_of
from zarrfeed.user_warning import warn_user

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zarrfeed.feed.rank_share import Sharing
    from zarrfeed.feed.stats import EpochStats, Tally
    from zarrfeed.order.schedule import Schedule

# Number of passes whose statistics are kept: enough for most training, in little memory.
_EPOCHS_KEPT = 1000
# Number of consecutive unfinished passes before a warning. One alone may be a peek.
_REPEATS = 2


class Position:
    """The position of a sequence, and the passes so far.

    Parameters
    ----------
    sharing
        Determines which samples this process reads.
    random
        Whether transforms may make different batches in every epoch.

    Attributes
    ----------
    current
        The latest pass; None before the first.
    indexed
        The batches that were taken by index.
    """

    def __init__(self, sharing: Sharing, *, random: bool) -> None:
        self._epoch = 0
        self.current: Pass | None = None
        self.indexed = IndexedBatches(self)
        self._sharing = sharing
        self._random = random
        self._sought = True  # whether an epoch was set since the current pass began
        self._repeats = 0
        self._past: deque[EpochStats] = deque(maxlen=_EPOCHS_KEPT)

    @property
    def schedule(self) -> Schedule:
        """The schedule of the pass under way, or of a pass that would begin now.

        It changes when the rank of this process does, such as after a process group was set up.
        """
        return self.under_way or self._sharing.current()

    @property
    def under_way(self) -> Schedule | None:
        """The schedule of the pass under way; None if there is none."""
        current = self.current
        return None if current is None or current.ended or current.complete else current.schedule

    @property
    def epoch(self) -> int:
        """The epoch of the next pass."""
        rest = self._sharing.rest
        if rest is None or rest.epoch != self._epoch:
            return self._epoch
        return self._beginning(self._sharing.current())[0]

    @property
    def first(self) -> int:
        """The first batch of the next pass: not 0 in the rest of an epoch."""
        return self._beginning(self._sharing.current())[1]

    @property
    def reached(self) -> tuple[int, int]:
        """Epoch and number of the batch after the last one that was handed out."""
        if self.current is None or self._sought or self._all_items_taken:
            return self.coming
        return self.current.epoch, self.current.next

    @property
    def coming(self) -> tuple[int, int]:
        """Epoch of the next pass, and number of its first batch."""
        return (self.epoch + 1, 0) if self._all_items_taken else (self.epoch, self.first)

    @property
    def epoch_at_hand(self) -> int:
        """Epoch of the batch that a loop over the sequence has now, else the next epoch."""
        last = self.current
        if last is not None and last.peek_limit is None and last.complete and not last.ended:
            return last.epoch if self.epoch == last.epoch + 1 else self.epoch
        return self.epoch

    def state(self, batch: int | None = None) -> dict[str, Any]:
        """Return the position as a dict that fits JSON.

        Parameters
        ----------
        batch
            Number of the next batch of the current pass, if not all those that were handed out have
            been consumed.
        """
        current = self.current
        if current is None or (batch is None and (self._sought or self._all_items_taken)):
            return self.coming_state()
        return state_of(current.schedule, current.epoch, current.next if batch is None else batch)

    def coming_state(self) -> dict[str, Any]:
        """Return the position at which the next pass begins."""
        return state_of(self._sharing.current(), *self.coming)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go to a position that :meth:`state` returned, of this or of another number of ranks.

        Raises
        ------
        ValueError
            `state` is not a state, or was saved by a sequence with other arguments; the message
            names them.
        """
        saved = saved_schedule(self._sharing.current(), state)
        self._sharing.go_on(saved)
        self._seek(int(state["epoch"]))

    def seek(self, epoch: int) -> None:
        """Set the epoch of the next pass, which begins with its first batch."""
        rest = self._sharing.rest
        if rest is not None and epoch <= rest.epoch:
            self._sharing.rest = None
        self._seek(epoch)

    def repeat(self, last: Pass) -> None:
        """Let the next pass begin where `last` has begun."""
        self._sharing.rest = last.schedule.rest
        self._seek(last.epoch)

    def _seek(self, epoch: int) -> None:
        self._epoch = epoch
        self._sought = True
        self.indexed.forget()

    def _beginning(self, schedule: Schedule) -> tuple[int, int]:
        """Return the epoch of the next pass, and its first batch."""
        grid = schedule.grid(self._epoch)
        # Of the rest of an epoch, fewer places may be left than there are ranks now.
        return (self._epoch, grid.first) if grid.count else (self._epoch + 1, 0)

    def begin(
        self, schedule: Schedule, peek_limit: int | None, new_tally: Callable[[int], Tally]
    ) -> Pass:
        """Begin a pass over the next epoch.

        Parameters
        ----------
        schedule
            Which samples are in which batch.
        peek_limit
            See :class:`zarrfeed.feed.passes.Pass`.
        new_tally
            Function that returns the counter of an epoch.
        """
        self.indexed.turn(schedule.batches, by_iterator=True)
        last = self.current
        if last is not None:
            self._past.append(last.tally.stats())
            if last.counts and not self._sought:
                self._epoch = last.epoch + 1
            self._warn_of_repeats(last, schedule, peek_limit)
        self._epoch, first = self._beginning(schedule)
        tally = new_tally(self._epoch)
        self.current = Pass(self._epoch, first, schedule, tally, first, peek_limit)
        self._sought = False
        return self.current

    def advance(self, current: Pass) -> None:
        """Count the next batch of a pass. The last one ends its epoch."""
        current.next += 1
        # Not if another pass has ended the epoch, or an epoch was set meanwhile.
        if current.complete and self.epoch == current.epoch and not self._sought:
            self.seek(current.epoch + 1)

    def stats(self) -> list[EpochStats]:
        """Return statistics of every pass so far, including the one under way."""
        return [*self._past, *([] if self.current is None else [self.current.tally.stats()])]

    @property
    def _all_items_taken(self) -> bool:
        return self.indexed.complete(self.schedule.batches)

    def _warn_of_repeats(self, last: Pass, schedule: Schedule, peek_limit: int | None) -> None:
        """Warn once if loops over the sequence stop early, and thus repeat the same batches."""
        unfinished = last.taken > PEEK_LIMIT and not last.complete and not self._sought
        by_hand = peek_limit is last.peek_limit is None
        self._repeats = self._repeats + 1 if unfinished and by_hand else 0
        if self._repeats == _REPEATS and (schedule.shuffle or self._random):
            warn_user(
                f"epoch {self.epoch} begins once more, after {_REPEATS} passes that were given up: "
                f"all begin with the same batches. Take all {schedule.batches}, keep one "
                "iterator, or call set_epoch() before each pass",
            )
