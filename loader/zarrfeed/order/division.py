"""Which of several parts does each of some numbered draws belong to? Exact in every window."""

from __future__ import annotations

from fractions import Fraction
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# A share is the nearest fraction with at most this denominator, so that sums of shares are exact.
_DENOMINATOR = 1_000_000
_INT64 = 1 << 63


def exact_share(share: float) -> Fraction:
    """Return a share as a fraction, so that ⌊j × share⌋ is exact for every j.

    Examples
    --------
    >>> exact_share(1 / 3)
    Fraction(1, 3)
    """
    return Fraction(share).limit_denominator(_DENOMINATOR)


class Division:
    """Divides numbered draws among parts, in proportion to shares.

    Draw j belongs to the first of two halves of the parts iff ⌊(j + 1) p⌋ > ⌊j p⌋, where p is the
    share of that half; ⌊j p⌋ of the draws before belong to it, too, so that j - ⌊j p⌋ belong to the
    other one. With these numbers both halves are divided in turn. Thus the part of a draw, and its
    number among the draws of that part, follow from j alone.

    Parameters
    ----------
    shares
        Share of each part, above 0. They are taken relative to their sum.

    Notes
    -----
    Of any n successive draws, ⌊n p⌋ or ⌈n p⌉ belong to each of two parts. Of more parts, the
    number differs from n p by less than 4: a division of draws whose number is exact to d leaves it
    exact to d q + 1 for a part q. Since parts are divided in the order of their shares, no half of
    several parts has more than 2/3, so that the sum is below 1 + 1 + 2/3 + 4/9 + … = 4.

    Examples
    --------
    >>> part, number = Division([Fraction(3), Fraction(1)]).of(np.arange(8))
    >>> part.tolist(), number.tolist()
    ([1, 0, 0, 0, 1, 0, 0, 0], [0, 0, 1, 2, 1, 3, 4, 5])
    """

    def __init__(self, shares: Sequence[Fraction]) -> None:
        self._shares = list(shares)
        self._tree = self._divided(sorted(range(len(shares)), key=lambda part: -shares[part]))

    def of(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the part of each draw, and its number among the draws of that part.

        Parameters
        ----------
        numbers
            (n,) int64: numbers of draws, at least 0.

        Returns
        -------
        part, number
            (n,) int64 each.
        """
        part, number = np.empty(numbers.size, np.int64), np.empty(numbers.size, np.int64)
        _divide(self._tree, np.arange(numbers.size), numbers, part, number)
        return part, number

    def counts(self, draws: int) -> list[int]:
        """Return how many of the first draws belong to each part."""
        counts = [0] * len(self._shares)
        if self._shares:
            _count(self._tree, draws, counts)
        return counts

    def _divided(self, parts: list[int]) -> _Half:
        """Divide parts into two halves, and so on."""
        if len(parts) <= 1:
            return _Half(parts[0] if parts else 0)
        *sums, total = accumulate(self._shares[part] for part in parts)
        cut = min(range(len(sums)), key=lambda at: abs(2 * sums[at] - total))
        first, second = parts[: cut + 1], parts[cut + 1 :]
        return _Half(-1, sums[cut] / total, self._divided(first), self._divided(second))


class _Half(NamedTuple):
    """Some parts: one, or two halves and the share of the first one."""

    part: int
    share: Fraction = Fraction(1)
    first: _Half | None = None
    second: _Half | None = None


def _divide(
    half: _Half,
    rows: NDArray[np.intp],
    numbers: NDArray[np.int64],
    part: NDArray[np.int64],
    number: NDArray[np.int64],
) -> None:
    if not rows.size:
        return
    if half.first is None or half.second is None:
        part[rows], number[rows] = half.part, numbers
        return
    hits, before = hits_of(numbers, half.share)
    _divide(half.first, rows[hits], before[hits], part, number)
    _divide(half.second, rows[~hits], (numbers - before)[~hits], part, number)


def _count(half: _Half, draws: int, counts: list[int]) -> None:
    if half.first is None or half.second is None:
        counts[half.part] = draws
        return
    of_first = draws * half.share.numerator // half.share.denominator
    _count(half.first, of_first, counts)
    _count(half.second, draws - of_first, counts)


def hits_of(
    numbers: NDArray[np.int64], share: Fraction
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return where ⌊(j + 1) p⌋ > ⌊j p⌋, and ⌊j p⌋, exactly."""
    before = _floor(numbers, share)
    return _floor(numbers + 1, share) > before, before


def _floor(numbers: NDArray[np.int64], share: Fraction) -> NDArray[np.int64]:
    most = int(numbers.max(initial=0))
    if max(most * share.numerator, share.denominator) < _INT64:
        return numbers * share.numerator // share.denominator
    exact = [j * share.numerator // share.denominator for j in numbers.tolist()]
    return np.array(exact, np.int64)
