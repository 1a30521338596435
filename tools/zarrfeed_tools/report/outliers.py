"""Which numbers are far outside of the others? Pure.

A share is compared on the scale of log-odds, log(p / (1 - p)), on which shares of a class are
spread evenly to both sides: on that of shares, a rare large lesion would always be far outside, and
a missing half of a road never. There, a share is far outside if it is more than :data:`FAR`
deviations from the median, where a deviation is 1.4826 times the median distance from the median
(MAD), which is the standard deviation if the distribution is normal. If half of all shares are the
same, the MAD is 0, and none is far outside. Nor is any of fewer than :data:`FEWEST`, and none that
is less than :data:`LEAST` times as much, or as little, as the median.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FAR = 5.0
FEWEST = 20
LEAST = 2.0
_NORMAL = 1.4826


class Outliers(NamedTuple):
    """Shares that are far outside.

    Attributes
    ----------
    places
        (m,) int64: where they are, ascending.
    distances
        (m,) float64: how many deviations each is from the median.
    median
        The median share.
    """

    places: NDArray[np.int64]
    distances: NDArray[np.float64]
    median: float


def far_shares(shares: NDArray[np.float64], smallest: NDArray[np.float64]) -> Outliers:
    """Find shares that are far outside of the others.

    Parameters
    ----------
    shares
        (n,) shares in (0, 1].
    smallest
        (n,) the share of one pixel in each; log-odds are taken at most half a pixel from 0 and 1.

    Examples
    --------
    >>> shares = np.append(np.linspace(0.01, 0.03, 50), 0.9)
    >>> far_shares(shares, np.full(51, 1e-4)).places.tolist()
    [50]
    """
    none = Outliers(
        np.zeros(0, np.int64), np.zeros(0), float(np.median(shares)) if len(shares) else 0.0
    )
    if len(shares) < FEWEST:
        return none
    edge = smallest / 2
    inside = np.clip(shares, edge, 1 - edge)
    odds = np.log(inside / (1 - inside))
    middle = np.median(odds)
    deviation = _NORMAL * np.median(np.abs(odds - middle))
    if deviation <= 1e-9:  # rounding
        return none
    distances = np.abs(odds - middle) / deviation
    # How many times as many pixels have the class, or have it not.
    times = np.exp(np.abs(odds - middle))
    places = np.flatnonzero((distances > FAR) & (times >= LEAST))
    return Outliers(places, distances[places], none.median)
