"""Which batch comes next? Counts what is handed out, and can be saved and restored.

Knows no feeder and no thread; :class:`zarrfeed.feed.stream.Stream` tells it what was handed out.
"""

from __future__ import annotations

import warnings
from collections import deque
from typing import TYPE_CHECKING, Any

from zarrfeed.feed.passes import LOOKS, Items, Pass
from zarrfeed.order.resume_state import position_of, state_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zarrfeed.feed.sharing import Sharing
    from zarrfeed.feed.stats import EpochStats, Tally
    from zarrfeed.order.schedule import Schedule

# Passes that are remembered: enough for any training, little memory.
_EPOCHS_KEPT = 1000
# Passes that are given up, one after another, before a warning: a look may be given up, too.
_REPEATS = 2


class Position:
    """Where a sequence stands, and the passes that led there.

    Parameters
    ----------
    sharing
        Decides which samples are this process's.
    random
        Whether transforms may make other batches of every epoch.

    Attributes
    ----------
    epoch, first
        The epoch that the next pass goes through, and the batch that it begins with.
    current
        The newest pass; None before the first.
    items
        What was taken by index.
    """

    def __init__(self, sharing: Sharing, *, random: bool) -> None:
        self.epoch = 0
        self.first = 0
        self.current: Pass | None = None
        self.items = Items(self)
        self._sharing = sharing
        self._random = random
        self._sought = True  # somebody chose an epoch since the current pass began
        self._repeats = 0
        self._past: deque[EpochStats] = deque(maxlen=_EPOCHS_KEPT)

    @property
    def schedule(self) -> Schedule:
        """Which samples make which batch: of the pass under way, or of one that would begin now.

        Processes may have found each other since the last time, or since the sequence was made.
        """
        return self.under_way or self._sharing.now()

    @property
    def under_way(self) -> Schedule | None:
        """That of the pass under way; None where there is none."""
        current = self.current
        return None if current is None or current.ended or current.complete else current.schedule

    @property
    def reached(self) -> tuple[int, int]:
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

    def state(self, at: tuple[int, int] | None = None) -> dict[str, Any]:
        """Describe the position, or another epoch and batch, fit for JSON."""
        return state_of(self.schedule, *(at or self.reached))

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go to a position that :meth:`state` described.

        Raises
        ------
        ValueError
            It is no state, or one of a sequence with other arguments; the message names them.
        """
        self.seek(*position_of(self.schedule, state))

    def seek(self, epoch: int, first: int = 0) -> None:
        """Choose the epoch that the next pass goes through, and the batch that it begins with."""
        self.epoch, self.first = epoch, first
        self._sought = True
        self.items.forget()

    def begin(
        self, schedule: Schedule, looks: int | None, new_tally: Callable[[int], Tally]
    ) -> Pass:
        """Begin a pass through the coming epoch.

        Parameters
        ----------
        schedule
            Which samples make which batch.
        looks
            See :class:`zarrfeed.feed.passes.Pass`.
        new_tally
            Begins to count an epoch.
        """
        self.items.turn(schedule.batches, by_iterator=True)
        last = self.current
        if last is not None:
            self._past.append(last.tally.stats())
            if last.counts and not self._sought:
                self.epoch, self.first = last.epoch + 1, 0
            self._warn_of_repeats(last, schedule, looks)
        tally = new_tally(self.epoch)
        self.current = Pass(self.epoch, self.first, schedule, tally, self.first, looks)
        self._sought = False
        return self.current

    def advance(self, current: Pass) -> None:
        """Note that a pass has handed out its next batch. With the last one its epoch is over."""
        current.next += 1
        # Not if another pass was faster, or somebody chose an epoch meanwhile.
        if current.complete and self.epoch == current.epoch and not self._sought:
            self.seek(current.epoch + 1)

    def stats(self) -> list[EpochStats]:
        """Sum up every pass so far, the one under way included."""
        return [*self._past, *([] if self.current is None else [self.current.tally.stats()])]

    @property
    def _all_items_taken(self) -> bool:
        return self.items.complete(self.schedule.batches)

    def _warn_of_repeats(self, last: Pass, schedule: Schedule, looks: int | None) -> None:
        """Say so once where passes by hand are broken off, and begin with the same batches."""
        given_up = last.taken > LOOKS and not last.complete and not self._sought
        self._repeats = self._repeats + 1 if given_up and looks is last.looks is None else 0
        if self._repeats == _REPEATS and (schedule.shuffle or self._random):
            warnings.warn(
                f"epoch {self.epoch} begins once more, after {_REPEATS} passes that were given up: "
                f"all begin with the same batches. Take all {schedule.batches}, keep one "
                "iterator, or call set_epoch() before each pass",
                stacklevel=4,  # the line that asks for a batch
            )
