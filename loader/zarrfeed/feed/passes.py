"""When is an epoch over? When its last batch was handed out, whichever way batches are taken.

Pure: counts what was handed out.
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

# Keras looks at the first batch on JAX and torch, to build the model, and at two where it looks
# ahead; then it begins anew.
LOOKS = 2


@dataclass(slots=True)
class Pass:
    """One way through an epoch by an iterator.

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
    looks
        Batches after which the epoch counts as seen, though the pass was given up: Keras does in
        ``fit(steps_per_epoch=…)``. None where only a complete pass counts.
    ended
        Whether nobody goes on with it.
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
        """Batches that it handed out."""
        return self.next - self.start

    @property
    def counts(self) -> bool:
        """Whether the epoch has been seen, should nobody go on with this pass."""
        return self.complete or (self.looks is not None and self.taken > self.looks)


class Clock(Protocol):
    """Knows the epoch that comes next.

    Attributes
    ----------
    epoch, first
        Which one, and the batch that it begins with.
    """

    epoch: int
    first: int

    def seek(self, epoch: int) -> None:
        """Choose another."""
        ...


class Items:
    """The batches of an epoch that were taken by their index, in any order.

    Parameters
    ----------
    clock
        Whose epochs they are.

    Examples
    --------
    A batch that comes again tells that what was taken up to its first time was a look:

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
        self._clock: Clock = weakref.proxy(clock)  # which holds us
        self._epoch = 0
        self._taken: OrderedDict[int, None] = OrderedDict()
        # Where passes over a dataset around us are followed: the epoch, and the batches of it that
        # were taken.
        self._followed: tuple[int, int] | None = None
        self._told = False  # whether somebody says when an epoch is over

    def turn(self, batches: int, *, by_iterator: bool = False) -> None:
        """Go on to the next epoch if all batches of this one have been taken.

        Not before more is asked for: until then, batches go by the names of this one. An iterator
        does not wait for somebody who says when an epoch is over.
        """
        if self.complete(batches) and (by_iterator or not self._told):
            self._clock.seek(self._epoch + 1)

    def take(self, batch: int) -> None:
        """Note a batch."""
        if self._clock.epoch != self._epoch:
            self._epoch = self._clock.epoch
            self._taken.clear()
        if batch in self._taken:
            while self._taken.popitem(last=False)[0] != batch:
                pass
        self._taken[batch] = None

    def forget(self) -> None:
        """Begin anew: an epoch was chosen."""
        self._taken.clear()

    def complete(self, batches: int) -> bool:
        """Whether all of so many, from the one on that the epoch begins with, have been taken."""
        first, taken = self._clock.first, self._taken
        return (
            self._clock.epoch == self._epoch
            and len(taken) >= batches - first
            and all(batch in taken for batch in range(first, batches))
        )

    def end(self, batches: int) -> None:
        """Take somebody's word that an epoch is over, unless it was a look.

        Keras says so where its passes cannot be followed, and users may, out of habit: by an
        ``on_epoch_end``, which also comes after a look.
        """
        if self._followed is None:
            enough = min(batches - self._clock.first, LOOKS + 1)
            if self._clock.epoch == self._epoch and len(self._taken) >= enough:
                self._told = True
                self._clock.seek(self._epoch + 1)
            self._taken.clear()

    def follow(self, passes: Callable[[], Iterator[T]], batches: int) -> Callable[[], Iterator[T]]:
        """Let epochs be the passes of somebody who takes our batches by their index: of Keras.

        Parameters
        ----------
        passes
            Begins a pass.
        batches
            In a pass. With the last one our epoch is over, too, also where we did not see all of
            it: a process of Keras' own pool has a copy of us.

        Returns
        -------
        callable
            In place of `passes`.
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
