"""Which images have one value only, or values that are not finite, by the sums of their channels?

Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Rounding of sums of floats. Integers are compared exactly.
_PRECISION = 1e-12
_EXACT = float(1 << 53)


def are_constant(sums: NDArray[np.float64], pixels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say which images have one value in each channel.

    By the inequality of Cauchy and Schwarz, ``n Σx² ≥ (Σx)²``, and both are equal for equal values
    alone.

    Parameters
    ----------
    sums
        (n, C, 2 or 3): the sum and the sum of squares of each channel, and how many values are left
        out of them.
    pixels
        (n,) number of pixels.

    Returns
    -------
    (n,) bool
        Exact for integers while their sums are below 2**53. Floats that differ by less than a
        millionth of their size are taken for one value. Images without any finite value are not
        constant.

    Examples
    --------
    >>> sums = np.array([[[6.0, 18.0]], [[6.0, 20.0]]])
    >>> are_constant(sums, np.array([2, 2])).tolist()
    [True, False]
    """
    total, squares = sums[:, :, 0], sums[:, :, 1]
    counts = pixels[:, None] - sums[:, :, 2:].sum(axis=2)
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(squares * counts - total**2)
        near: NDArray[np.bool_] = np.less_equal(apart, _PRECISION * squares * counts)
        near &= counts > 0
        exact = (total == np.rint(total)) & (squares == np.rint(squares))
        exact &= (np.abs(total) < _EXACT) & (squares < _EXACT)
    for image, channel in np.argwhere(near & exact).tolist():
        # Products are larger than float64 holds exactly.
        square = int(total[image, channel]) ** 2
        near[image, channel] = int(squares[image, channel]) * int(counts[image, channel]) == square
    constant: NDArray[np.bool_] = np.logical_and.reduce(near, axis=1)
    return constant


def not_finite(sums: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Say which images have values that are NaN or infinite.

    Parameters
    ----------
    sums
        As for :func:`are_constant`.
    """
    found: NDArray[np.bool_] = np.logical_or.reduce(sums[:, :, 2:] > 0, axis=(1, 2))
    return found
