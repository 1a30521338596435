"""When is an epoch over? When its last batch was handed out, whichever way batches are taken.

Pure: counts what was handed out.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zarrfeed.schedule import Schedule
    from zarrfeed.stats import Tally

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


class Items:
    """The batches of an epoch that were taken by their index, in any order.

    Examples
    --------
    A batch that comes again tells that what was taken up to its first time was a look:

    >>> items = Items()
    >>> for batch in (0, 1, 0, 1):
    ...     items.take(0, batch)
    >>> items.complete(0, 3)
    False
    >>> items.take(0, 2)
    >>> items.complete(0, 3), items.complete(1, 3)
    (True, False)
    """

    def __init__(self) -> None:
        self._epoch = 0
        self._taken: OrderedDict[int, None] = OrderedDict()

    def begin(self) -> None:
        """Begin a pass: what was taken before does not count."""
        self._taken.clear()

    def take(self, epoch: int, batch: int) -> None:
        """Note a batch."""
        if epoch != self._epoch:
            self._epoch = epoch
            self.begin()
        if batch in self._taken:
            while self._taken.popitem(last=False)[0] != batch:
                pass
        self._taken[batch] = None

    def complete(self, epoch: int, batches: int) -> bool:
        """Whether all batches of an epoch have been taken."""
        return epoch == self._epoch and len(self._taken) >= batches

    def count(self, epoch: int, batches: int) -> bool:
        """Whether they are more than a look: all batches of an epoch, or many."""
        return self.complete(epoch, min(batches, LOOKS + 1))
