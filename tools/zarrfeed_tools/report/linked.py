"""Which things are linked, directly or through others? Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def components(
    count: int, first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Label things that are linked, directly or through others.

    Parameters
    ----------
    count
        Number of things.
    first, second
        (p,) int64: the two things of each link.

    Returns
    -------
    (count,) int64
        The lowest number of the things that each is linked to, itself included.

    Examples
    --------
    >>> components(5, np.array([3, 1]), np.array([1, 4])).tolist()
    [0, 1, 2, 1, 1]
    """
    labels = np.arange(count)
    while True:
        one, other = labels[first], labels[second]
        apart = one != other
        if not apart.any():
            return labels
        one, other = one[apart], other[apart]
        # The higher root goes below the lower one; then all point to their root.
        np.minimum.at(labels, np.maximum(one, other), np.minimum(one, other))
        while True:
            above = labels[labels]
            if np.array_equal(above, labels):
                break
            labels = above
