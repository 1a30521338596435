"""When is an epoch over? As soon as its last batch is handed out, by iterator or by index.

Pure: counts batches, and reads none.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from zarrfeed.feed.stats import Tally
    from zarrfeed.order.schedule import Schedule

T = TypeVar("T")

# Before Keras trains on JAX or torch, it takes the first batch to build the model, or two if it
# prefetches. Then it starts over.
LOOKS = 2


@dataclass(slots=True)
class Pass:
    """One iteration over an epoch.

    Attributes
    ----------
    epoch
        The epoch.
    next
        The batch to hand out next.
    schedule
        Which samples make which batch.
    tally
        Figures of the batches handed out so far.
    start
        The first batch.
    looks
        A pass that stops early still counts as an epoch if it took more batches than this, as in
        ``fit(steps_per_epoch=…)``. None if only a complete pass counts.
    ended
        Whether its iterator has been closed.
    """

    epoch: int
    next: int
    schedule: Schedule
    tally: Tally
    start: int
    looks: int | None
    ended: bool = False

    @property
    def complete(self) -> bool:
        """Whether every batch has been handed out."""
        return self.next >= self.schedule.batches

    @property
    def taken(self) -> int:
        """Batches handed out so far."""
        return self.next - self.start

    @property
    def counts(self) -> bool:
        """Whether the epoch counts as seen if the pass stops here."""
        return self.complete or (self.looks is not None and self.taken > self.looks)


class Clock(Protocol):
    """Knows which epoch comes next.

    Attributes
    ----------
    epoch, first
        The next epoch, and its first batch.
    """

    epoch: int
    first: int

    def seek(self, epoch: int) -> None:
        """Move to another epoch."""
        ...


class Items:
    """The batches of an epoch that were taken by index, in any order.

    Parameters
    ----------
    clock
        Knows the epoch, and is moved to the next one.

    Examples
    --------
    If a batch is taken twice, everything up to its first time was only a look:

    >>> class First:
    ...     epoch = first = 0
    >>> items = Items(clock := First())
    >>> for batch in (0, 1, 0, 1):
    ...     items.take(batch)
    >>> items.complete(3)
    False
    >>> items.take(2)
    >>> items.complete(3)
    True
    """

    def __init__(self, clock: Clock) -> None:
        self._clock: Clock = weakref.proxy(clock)  # it holds us
        self._epoch = 0
        self._taken: OrderedDict[int, None] = OrderedDict()
        # Epoch and number of batches taken, if we follow the passes over a dataset around us.
        self._followed: tuple[int, int] | None = None
        self._told = False  # whether a caller of `end` says when an epoch is over

    def turn(self, batches: int, *, by_iterator: bool = False) -> None:
        """Move to the next epoch if all batches of this one have been taken.

        Called when another batch is asked for, and no earlier: until then `batch_keys` names the
        batches of this epoch. An iterator does not wait for :meth:`end`.
        """
        if self.complete(batches) and (by_iterator or not self._told):
            self._clock.seek(self._epoch + 1)

    def take(self, batch: int) -> None:
        """Count a batch."""
        if self._clock.epoch != self._epoch:
            self._epoch = self._clock.epoch
            self._taken.clear()
        if batch in self._taken:
            while self._taken.popitem(last=False)[0] != batch:
                pass
        self._taken[batch] = None

    def forget(self) -> None:
        """Start counting anew, because an epoch was chosen."""
        self._taken.clear()

    def complete(self, batches: int) -> bool:
        """Whether every batch from the epoch's first one on has been taken."""
        first, taken = self._clock.first, self._taken
        return (
            self._clock.epoch == self._epoch
            and len(taken) >= batches - first
            and all(batch in taken for batch in range(first, batches))
        )

    def end(self, batches: int) -> None:
        """End the epoch because the caller says so, unless it has only had a look.

        Keras calls ``on_epoch_end`` where its passes cannot be followed, also after a look; so may
        users, out of habit.
        """
        if self._followed is None:
            enough = min(batches - self._clock.first, LOOKS + 1)
            if self._clock.epoch == self._epoch and len(self._taken) >= enough:
                self._told = True
                self._clock.seek(self._epoch + 1)
            self._taken.clear()

    def follow(self, passes: Callable[[], Iterator[T]], batches: int) -> Callable[[], Iterator[T]]:
        """Let each pass over a dataset that takes our batches by index be one of our epochs.

        Parameters
        ----------
        passes
            Starts a pass of Keras over the dataset.
        batches
            Batches per pass. The last one ends our epoch, even if we were not asked for all: the
            processes of Keras' own pool have copies of us.

        Returns
        -------
        callable
            To be used in place of `passes`.
        """
        clock = self._clock
        self._followed = self._followed or (clock.epoch, 0)

        def followed() -> Iterator[T]:
            epoch, taken = self._followed or (clock.epoch, 0)
            if taken > LOOKS and clock.epoch == epoch:  # given up
                clock.seek(epoch + 1)
            self._taken.clear()
            epoch, taken = clock.epoch, 0
            for batch in passes():
                taken += 1
                if taken == batches:
                    if clock.epoch == epoch:
                        clock.seek(epoch + 1)
                    epoch, taken = clock.epoch, 0  # tf_keras' pool never ends
                self._followed = epoch, taken
                yield batch

        return followed
