"""Which draws must contain which class? Every share is spread evenly over successive draws."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# A share is the nearest fraction with at most this denominator, so that sums of shares are exact.
_DENOMINATOR = 1_000_000
_INT64 = 1 << 63
_MOST_BEFORE = 1 << 62  # so that numbers of draws fit int64


def exact_share(share: float) -> Fraction:
    """Return a share as a fraction, so that ⌊j × share⌋ is exact for every j.

    Examples
    --------
    >>> exact_share(1 / 3)
    Fraction(1, 3)
    """
    return Fraction(share).limit_denominator(_DENOMINATOR)


class ForcedClasses:
    """The draws that must contain some class.

    Of any n successive draws, ⌊n p⌋ or ⌈n p⌉ must contain some class, where p is the sum of the
    shares; with one class, these are its draws. Several classes cannot all be spread so evenly. The
    draws are divided between two halves of the classes by the same rule, and so on, so that the
    number of draws of each class differs from n p by less than 4.

    Parameters
    ----------
    shares
        Share of each class, above 0; their sum is at most 1.

    Notes
    -----
    The bound: a division of draws whose number is exact to d leaves it exact to d q + 1 for a part
    q. Since classes are divided in the order of their shares, no half of several classes has more
    than 2/3, so that the sum is below 1 + 1 + 2/3 + 4/9 + … = 4.

    Examples
    --------
    >>> ForcedClasses([Fraction(1, 3), Fraction(1, 3)]).at(np.arange(6)).tolist()
    [-1, 1, 0, -1, 1, 0]
    """

    def __init__(self, shares: Sequence[Fraction]) -> None:
        self._shares = list(shares)
        self._columns = sorted(range(len(shares)), key=lambda column: -shares[column])

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
        total = sum(self._shares, Fraction(0))
        period = math.lcm(*(share.denominator for share in self._shares))
        hits, before = _hits(places + after % min(period, _MOST_BEFORE), total)
        if total:
            self._divide(self._columns, np.flatnonzero(hits), before[hits], chosen)
        return chosen

    def counts(self, draws: int, *, after: int = 0) -> list[int]:
        """Return how many of some successive draws must contain each class of `shares`."""
        total = sum(self._shares, Fraction(0))
        start, stop = [0] * len(self._shares), [0] * len(self._shares)
        if total:
            self._count(self._columns, int(after * total), start)
            self._count(self._columns, int((after + draws) * total), stop)
        return [last - first for first, last in zip(start, stop, strict=True)]

    def _divide(
        self,
        columns: list[int],
        rows: NDArray[np.intp],
        numbers: NDArray[np.int64],
        chosen: NDArray[np.int64],
    ) -> None:
        """Divide draws, of which `numbers` precede each, among some classes."""
        if len(columns) == 1:
            chosen[rows] = columns[0]
            return
        first, second, part = self._halves(columns)
        hits, before = _hits(numbers, part)
        self._divide(first, rows[hits], before[hits], chosen)
        self._divide(second, rows[~hits], (numbers - before)[~hits], chosen)

    def _count(self, columns: list[int], draws: int, counts: list[int]) -> None:
        """Count how many of the first draws of some classes belong to each."""
        if len(columns) == 1:
            counts[columns[0]] = draws
            return
        first, second, part = self._halves(columns)
        self._count(first, int(draws * part), counts)
        self._count(second, draws - int(draws * part), counts)

    def _halves(self, columns: list[int]) -> tuple[list[int], list[int], Fraction]:
        """Divide classes into two, and return which part of the draws the first ones have."""
        *sums, total = accumulate(self._shares[column] for column in columns)
        cut = min(range(len(sums)), key=lambda at: abs(2 * sums[at] - total))
        return columns[: cut + 1], columns[cut + 1 :], sums[cut] / total


def _hits(
    numbers: NDArray[np.int64], share: Fraction
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return where ⌊(j + 1) p⌋ > ⌊j p⌋, and ⌊j p⌋."""
    before = _floor(numbers, share)
    return _floor(numbers + 1, share) > before, before


def _floor(numbers: NDArray[np.int64], share: Fraction) -> NDArray[np.int64]:
    """Return ⌊j p⌋, exactly."""
    most = int(numbers.max(initial=0))
    if max(most * share.numerator, share.denominator) < _INT64:
        return numbers * share.numerator // share.denominator
    exact = [j * share.numerator // share.denominator for j in numbers.tolist()]
    return np.array(exact, np.int64)
