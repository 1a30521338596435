"""Which draws must contain which class? Every share is spread evenly over successive draws."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.order.division import Division, hits_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_MOST_BEFORE = 1 << 62  # so that numbers of draws fit int64


class ForcedClasses:
    """The draws that must contain some class.

    Of any n successive draws, ⌊n p⌋ or ⌈n p⌉ must contain some class, where p is the sum of the
    shares; with one class, these are its draws. Several classes cannot all be spread so evenly: the
    number of draws of each differs from n p by less than 4, see
    :class:`zarrfeed.order.division.Division`.

    Parameters
    ----------
    shares
        Share of each class, above 0; their sum is at most 1.

    Examples
    --------
    >>> ForcedClasses([Fraction(1, 3), Fraction(1, 3)]).at(np.arange(6)).tolist()
    [-1, 1, 0, -1, 1, 0]
    """

    def __init__(self, shares: Sequence[Fraction]) -> None:
        self._total = sum(shares, Fraction(0))
        # Of a whole number of periods, all counts are exact.
        self._period = math.lcm(*(share.denominator for share in shares))
        self._classes = Division(shares)

    def at(self, places: NDArray[np.int64], *, after: int = 0) -> NDArray[np.int64]:
        """Return which class each draw must contain.

        Parameters
        ----------
        places
            (b,) int64: numbers of the draws within an epoch.
        after
            Number of draws of all epochs before, so that shares are exact over short epochs, too.

        Returns
        -------
        (b,) int64
            Place of the class in `shares`, or -1.
        """
        chosen = np.full(places.size, -1, np.int64)
        hits, before = hits_of(places + after % min(self._period, _MOST_BEFORE), self._total)
        if self._total:
            chosen[hits] = self._classes.of(before[hits])[0]
        return chosen

    def counts(self, draws: int, *, after: int = 0) -> list[int]:
        """Return how many of some successive draws must contain each class of `shares`."""
        if not self._total:
            return []
        start = self._classes.counts(int(after * self._total))
        stop = self._classes.counts(int((after + draws) * self._total))
        return [last - first for first, last in zip(start, stop, strict=True)]
