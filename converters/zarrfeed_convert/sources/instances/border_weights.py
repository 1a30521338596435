"""How much does a pixel weigh that lies between two instances?

The weight map of the U-Net paper (Ronneberger, Fischer and Brox, 2015, equation 2)::

    w(x) = w_c(x) + w0 · exp(-(d1(x) + d2(x))² / (2·sigma²))

d1 and d2 are the distances of pixel x to the nearest and to the second nearest instance. Here w_c
is 1, because the balance of classes is left to ``class_weight``.

Only pixels near two instances weigh more than 1. Therefore the map is computed in blocks, of which
those that see fewer than two instances are skipped, and a block looks as far as a float32 can tell:
time and memory grow with the number of pixels and with sigma, whatever the number of instances. (A
distance transform for each instance takes 20 hours for 65,535 instances that are scattered over
4000x4000 pixels.)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_BLOCK = 128  # rows and columns: 16,384 int32 stay in the processor's cache
_HALF_ULP = 2.0**-24  # what is added to 1 and is less than this is lost in float32


def border_weights(
    ids: NDArray[np.integer[Any]], *, w0: float, sigma: float
) -> NDArray[np.float32]:
    """Compute the weight map of a mask of instances.

    Parameters
    ----------
    ids
        (H, W) numbers of instances; 0 for pixels of none.
    w0
        Weight, in addition to 1, of a pixel at no distance to two instances; at least 0.
    sigma
        How far weights reach, in pixels; above 0.

    Returns
    -------
    ndarray
        (H, W) float32, between 1 and ``1 + w0``. Distances are Euclidean, between centres of
        pixels: 0 within an instance, 1 beside it. A mask of fewer than two instances weighs 1.

    Examples
    --------
    Two instances that touch, and two with a pixel between them:

    >>> print(border_weights(np.array([[1, 1, 2]]), w0=10, sigma=5).round(2))
    [[10.23 10.8  10.8 ]]
    >>> print(border_weights(np.array([[1, 0, 2]]), w0=10, sigma=5).round(2))
    [[10.23 10.23 10.23]]
    """
    weights = np.ones(ids.shape, np.float32)
    reach = _reach(w0, sigma)
    for rows, columns in _blocks(ids.shape):
        top, left = max(0, rows.start - reach), max(0, columns.start - reach)
        seen = ids[top : rows.stop + reach, left : columns.stop + reach]
        most = int(seen.max(initial=0))
        if most == 0 or int(np.where(seen == 0, most, seen).min()) == most:
            continue  # it sees one instance at most
        block = (
            slice(rows.start - top, rows.stop - top),
            slice(columns.start - left, columns.stop - left),
        )
        near, second = _two_nearest(seen, *block, reach)
        both = np.sqrt(near) + np.sqrt(second)
        more = w0 * np.exp(-(both**2) / (2 * sigma**2))
        weights[rows, columns] = np.where(second > reach**2, 1, 1 + more)
    return weights


def _reach(w0: float, sigma: float) -> int:
    """Return the distance of the second instance beyond which a float32 weight is 1."""
    if w0 <= _HALF_ULP:
        return 0
    return math.ceil(sigma * math.sqrt(2 * math.log(w0 / _HALF_ULP)))


def _blocks(shape: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    height, width = shape
    for top in range(0, height, _BLOCK):
        for left in range(0, width, _BLOCK):
            yield (
                slice(top, min(top + _BLOCK, height)),
                slice(left, min(left + _BLOCK, width)),
            )


def _two_nearest(
    ids: NDArray[np.integer[Any]], rows: slice, columns: slice, reach: int
) -> tuple[NDArray[np.integer[Any]], NDArray[np.integer[Any]]]:
    """Find the squared distances to the two nearest instances.

    A pixel's two nearest instances are among the two nearest, up or down, of each column. Both are
    kept as keys, a squared distance above the bits of a number, so that keys compare as distances.

    Parameters
    ----------
    ids
        A block, with up to `reach` pixels around it.
    rows, columns
        The block within `ids`.
    reach
        Largest distance that counts.

    Returns
    -------
    near, second
        Squared distances of the block; more than ``reach²`` where there is none.
    """
    bits = int(ids.max()).bit_length()
    far = (reach**2 + 1) << bits
    dtype = np.dtype(np.int32 if 2 * far <= np.iinfo(np.int32).max else np.int64)
    keys = ids.astype(dtype)
    keys[ids == 0] = far
    across = _Nearest((rows.stop - rows.start, ids.shape[1]), far, bits, dtype)
    across.add_shifted(keys, rows.start, reach, axis=0)
    found = _Nearest((rows.stop - rows.start, columns.stop - columns.start), far, bits, dtype)
    for keys in (across.near, across.second):
        found.add_shifted(keys, columns.start, reach, axis=1)
    return found.near >> bits, found.second >> bits


class _Nearest:
    """Keys of the two nearest instances of each pixel that were found so far."""

    def __init__(self, shape: tuple[int, int], far: int, bits: int, dtype: np.dtype[Any]) -> None:
        self.near, self.second = np.full(shape, far, dtype), np.full(shape, far, dtype)
        self._far, self._bits, self._number = far, bits, dtype.type((1 << bits) - 1)

    def add_shifted(
        self, keys: NDArray[np.integer[Any]], start: int, reach: int, *, axis: int
    ) -> None:
        """Take what is up to `reach` pixels away along an axis into account.

        Parameters
        ----------
        keys
            Keys, of which those from `start` on along the axis are of these pixels.
        start, reach, axis
            See above.
        """
        length = self.near.shape[axis]
        for step in range(-reach, reach + 1):
            begin, end = max(0, start + step), min(keys.shape[axis], start + step + length)
            if begin < end:
                here = slice(begin - step - start, end - step - start)
                further = keys.dtype.type(step**2 << self._bits)
                if axis == 0:
                    self._add(keys[begin:end] + further, np.s_[here])
                else:
                    self._add(keys[:, begin:end] + further, np.s_[:, here])

    def _add(self, keys: NDArray[np.integer[Any]], where: Any) -> None:
        near, second = self.near[where], self.second[where]
        same = ((near ^ keys) & self._number) == 0
        # An instance that comes first pushes the former first one back.
        behind = np.maximum(near, keys)
        np.copyto(behind, self._far, where=same)
        np.minimum(near, keys, out=near)
        np.minimum(second, behind, out=second)
