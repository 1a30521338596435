"""When is an epoch over? As soon as its last batch is handed out, by iterator or by index.

Pure: this module counts batches and reads none.
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

# Number of batches that Keras takes on JAX or torch to build the model before it trains: one, or
# two if it prefetches. Then it starts the epoch again.
PEEK_LIMIT = 2


@dataclass(slots=True)
class Pass:
    """One iteration over an epoch.

    Attributes
    ----------
    epoch
        Number of the epoch.
    next
        Number of the next batch to hand out.
    schedule
        Which samples are in which batch.
    tally
        Statistics of the batches handed out so far.
    start
        Number of the first batch.
    peek_limit
        A pass that stops after at most this many batches was only a peek. One that took more counts
        as an epoch, as in ``fit(steps_per_epoch=…)``. None if only a complete pass counts.
    ended
        Whether the iterator has been closed.
    """

    epoch: int
    next: int
    schedule: Schedule
    tally: Tally
    start: int
    peek_limit: int | None
    ended: bool = False

    @property
    def complete(self) -> bool:
        """Whether every batch has been handed out."""
        return self.next >= self.schedule.batches

    @property
    def taken(self) -> int:
        """Number of batches handed out so far."""
        return self.next - self.start

    @property
    def counts(self) -> bool:
        """Whether the pass counts as an epoch if it stops here."""
        return self.complete or (self.peek_limit is not None and self.taken > self.peek_limit)


class EpochCounter(Protocol):
    """An object that knows which epoch comes next."""

    @property
    def epoch(self) -> int:
        """The next epoch."""
        ...

    @property
    def first(self) -> int:
        """The first batch of that epoch."""
        ...

    def seek(self, epoch: int) -> None:
        """Move to another epoch."""
        ...


class IndexedBatches:
    """The batches of an epoch that were taken by index, in any order.

    Parameters
    ----------
    counter
        Knows the epoch, and is moved to the next one.

    Examples
    --------
    If a batch is taken twice, all batches up to its first occurrence were only a peek:

    >>> class First:
    ...     epoch = first = 0
    >>> batches = IndexedBatches(counter := First())
    >>> for batch in (0, 1, 0, 1):
    ...     batches.take(batch)
    >>> batches.complete(3)
    False
    >>> batches.take(2)
    >>> batches.complete(3)
    True
    """

    def __init__(self, counter: EpochCounter) -> None:
        self._counter: EpochCounter = weakref.proxy(counter)  # the counter refers to this object
        self._epoch = 0
        self._taken: OrderedDict[int, None] = OrderedDict()
        # Epoch and number of batches taken in a pass that :meth:`follow` counts.
        self._followed: tuple[int, int] | None = None
        self._ends_explicitly = False  # whether a caller of `end` says when an epoch is over

    def turn(self, batches: int, *, by_iterator: bool = False) -> None:
        """Move to the next epoch if all batches of this one have been taken.

        Called when the next batch is requested and not earlier, because until then `batch_keys`
        names the batches of this epoch.

        Parameters
        ----------
        batches
            Number of batches per epoch.
        by_iterator
            Whether an iterator requests the batch, so that no call of :meth:`end` is to come.
        """
        if self.complete(batches) and (by_iterator or not self._ends_explicitly):
            self._counter.seek(self._epoch + 1)

    def take(self, batch: int) -> None:
        """Count a batch."""
        if self._counter.epoch != self._epoch:
            self._epoch = self._counter.epoch
            self._taken.clear()
        if batch in self._taken:
            while self._taken.popitem(last=False)[0] != batch:
                pass
        self._taken[batch] = None

    def forget(self) -> None:
        """Start counting again, because the epoch was set."""
        self._taken.clear()

    def complete(self, batches: int) -> bool:
        """Whether every batch from the epoch's first one on has been taken."""
        first, taken = self._counter.first, self._taken
        return (
            self._counter.epoch == self._epoch
            and len(taken) >= batches - first
            and all(batch in taken for batch in range(first, batches))
        )

    def end(self, batches: int) -> None:
        """End the epoch at the caller's request, unless the batches taken were only a peek.

        Keras calls ``on_epoch_end`` if its passes cannot be followed, even after a peek. Users may
        call it, too.
        """
        if self._followed is None:
            enough = min(batches - self._counter.first, PEEK_LIMIT + 1)
            if self._counter.epoch == self._epoch and len(self._taken) >= enough:
                self._ends_explicitly = True
                self._counter.seek(self._epoch + 1)
            self._taken.clear()

    def follow(self, passes: Callable[[], Iterator[T]], batches: int) -> Callable[[], Iterator[T]]:
        """Make each pass over a dataset that takes batches by index one epoch of this sequence.

        Parameters
        ----------
        passes
            Function that starts a pass of Keras over the dataset.
        batches
            Number of batches per pass. The last one ends the epoch even if not all of them were
            taken here, because the processes of Keras' own pool have copies of the sequence.

        Returns
        -------
        callable
            The function to use in place of `passes`.
        """
        counter = self._counter
        self._followed = self._followed or (counter.epoch, 0)

        def followed() -> Iterator[T]:
            epoch, taken = self._followed or (counter.epoch, 0)
            if taken > PEEK_LIMIT and counter.epoch == epoch:  # the previous pass was not completed
                counter.seek(epoch + 1)
            self._taken.clear()
            epoch, taken = counter.epoch, 0
            for batch in passes():
                taken += 1
                if taken == batches:
                    if counter.epoch == epoch:
                        counter.seek(epoch + 1)
                    epoch, taken = counter.epoch, 0  # tf_keras' pool never ends
                self._followed = epoch, taken
                yield batch

        return followed
