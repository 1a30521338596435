"""Which store is draw J from, and which draw of that store is it, if weights have changed?

The weights hold from some draw on, until others do. Both questions are answered by arithmetic for
any J, without the draws before::

    draws     0 … 99                100 …
    shares    3/4, 1/4              1/2, 1/2
    before    0, 0                  75, 25 draws of each store
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from zarrfeed.order.division import Division

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_DIGITS = 1000  # of a numerator or denominator


class _Era(NamedTuple):
    """Draws with the same weights: the first one, the shares, and each store's draws before."""

    start: int
    shares: tuple[Fraction, ...]
    division: Division
    before: NDArray[np.int64]


class WeightHistory:
    """The shares of stores, from the first draw on.

    Parameters
    ----------
    eras
        (first draw, shares of the stores) each; the first begins with draw 0, and each begins after
        the one before. Shares are above 0, and their sum is 1.

    Examples
    --------
    >>> half = Fraction(1, 2)
    >>> history = WeightHistory([(0, (half, half))]).changed(4, (Fraction(3, 4), Fraction(1, 4)))
    >>> store, number = history.of(np.arange(8))
    >>> store.tolist(), number.tolist()
    ([1, 0, 1, 0, 1, 0, 0, 0], [0, 0, 1, 1, 2, 2, 3, 4])
    """

    def __init__(self, eras: Sequence[tuple[int, tuple[Fraction, ...]]]) -> None:
        self._eras: list[_Era] = []
        for start, shares in eras:
            before = np.array(self.counts(start) if self._eras else [0] * len(shares), np.int64)
            self._eras.append(_Era(start, shares, Division(shares), before))
        self._starts = np.array([era.start for era in self._eras], np.int64)

    @property
    def shares(self) -> tuple[Fraction, ...]:
        """The latest shares."""
        return self._eras[-1].shares

    def of(self, draws: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the store of each draw, and the number of the draw among all of that store.

        Parameters
        ----------
        draws
            (n,) int64: numbers of draws over all epochs.

        Returns
        -------
        store, number
            (n,) int64 each.
        """
        if len(self._eras) == 1:
            return self._eras[0].division.of(draws)
        store, number = np.empty(draws.size, np.int64), np.empty(draws.size, np.int64)
        era = np.searchsorted(self._starts, draws, side="right") - 1
        for at in np.unique(era).tolist():
            here, found = era == at, self._eras[at]
            store[here], number[here] = found.division.of(draws[here] - found.start)
            number[here] += found.before[store[here]]
        return store, number

    def counts(self, draws: int) -> list[int]:
        """Return how many of the first draws are from each store."""
        era = [era for era in self._eras if era.start <= draws][-1]
        counted = era.division.counts(draws - era.start)
        return [before + more for before, more in zip(era.before.tolist(), counted, strict=True)]

    def changed(self, draw: int, shares: tuple[Fraction, ...]) -> WeightHistory:
        """Return the history with other shares from a draw on; itself if they are the latest."""
        if shares == self.shares:
            return self
        kept = [(era.start, era.shares) for era in self._eras if era.start < draw]
        return WeightHistory([*kept, (draw, shares)])

    def saved(self) -> list[list[Any]]:
        """Return the eras as JSON."""
        return [[era.start, [str(share) for share in era.shares]] for era in self._eras]

    @classmethod
    def restored(cls, saved: Any, stores: int) -> Self:
        """Return the history that :meth:`saved` returned.

        Parameters
        ----------
        saved
            Untrusted JSON.
        stores
            Number of stores.

        Raises
        ------
        ValueError
            It is not such a history.
        """
        try:
            eras = [(int(start), tuple(map(_fraction, shares))) for start, shares in saved]
        except (TypeError, ValueError, ZeroDivisionError) as error:
            raise ValueError(
                f"needed weights from ZarrSequence.state_dict(), found {saved!r:.300}"
            ) from error
        starts = [start for start, _ in eras]
        fits = starts[:1] == [0] and starts == sorted(set(starts)) and starts[-1] < 1 << 62
        for _, shares in eras:
            fits = fits and len(shares) == stores and min(shares) > 0 and sum(shares) == 1
        if not fits:
            raise ValueError(
                f"needed weights of {stores} stores from ZarrSequence.state_dict(), found "
                f"{saved!r:.300}"
            )
        return cls(eras)


def _fraction(text: str) -> Fraction:
    """Return a fraction such as "3/4". Others, such as "1e99999999", could take all memory."""
    numerator, _, denominator = text.partition("/")
    if max(len(numerator), len(denominator)) > _DIGITS:
        raise ValueError(f"needed a share, found {text!r:.99}")
    return Fraction(int(numerator), int(denominator or "1"))
