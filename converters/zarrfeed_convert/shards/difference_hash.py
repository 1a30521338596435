"""Which images look alike? A hash of 64 bits whose distance says so.

The difference hash of Neal Krawetz, "Kind of Like That" (2013): an image is reduced to 8 rows of 9
grey cells, and each bit says whether a cell is brighter than its left neighbour. Two images are
near duplicates if few of the bits differ. Pure, and exact for integers.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed_convert.source import Image

_ROWS, _COLUMNS = 8, 9
# Means of floats that differ by less are equal: a constant 0.1 has sums that are rounded.
_PRECISION = 1e-9
# float64 holds the sum of as many values below this as there may ever be.
_LARGEST = 2.0**400


def difference_hash(image: Image) -> int:
    """Compute the difference hash (dHash) of an image.

    Parameters
    ----------
    image
        (H, W, C) or (D, H, W, C) numbers. Channels are averaged, and so are the planes of a volume.

    Returns
    -------
    int
        64 bits, row by row, the first one the highest: as ``imagehash.dhash`` writes it in
        hexadecimal. That one averages with other weights (luma, Lanczos), so that a few bits may
        differ. The hash of a constant image is 0.

    Notes
    -----
    Cell i of n along an axis of N pixels is the mean of the pixels from ⌊i·N/n⌋ up to ⌊(i+1)·N/n⌋,
    or that one pixel if there is none between. Values that are NaN, infinite, or beyond ±2**400
    are left out.

    Examples
    --------
    >>> brighter = np.arange(90, dtype=np.uint8).reshape(1, 90, 1)
    >>> f"{difference_hash(brighter):016x}", f"{difference_hash(255 - brighter):016x}"
    ('ffffffffffffffff', '0000000000000000')
    """
    whole = image.dtype.kind != "f"
    means = _cell_means(image) if whole else _finite_means(image)
    left, right = means[:, :-1], means[:, 1:]
    if whole:
        bits = right > left
    else:
        bits = right - left > _PRECISION * np.maximum(np.abs(left), np.abs(right))
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def _cell_means(image: Image) -> NDArray[np.float64]:
    """Return the mean of each cell, (8, 9)."""
    height, width = image.shape[-3:-1]
    pixels = _cell_pixels(height, width) * (image.size // (height * width))
    means: NDArray[np.float64] = _cell_sums(image) / pixels
    return means


def _finite_means(image: Image) -> NDArray[np.float64]:
    """Return the mean of the finite values of each cell."""
    with np.errstate(invalid="ignore", over="ignore"):
        means = _cell_means(image)
    if np.isfinite(means).all():
        return means
    finite = np.abs(image, dtype=np.float64) < _LARGEST
    sums = _cell_sums(np.where(finite, image, 0))
    counts = _cell_sums(finite.view(np.uint8))
    # A cell without a value is as bright as all the others together.
    empty = sums.sum() / max(1, counts.sum())
    return np.where(counts > 0, sums / np.maximum(counts, 1), empty)


def _cell_sums(image: Image) -> NDArray[np.int64 | np.float64]:
    """Return the sum of each cell, (8, 9): of integers exactly, of others in a fixed order."""
    if image.ndim == 4:
        image = np.add.reduce(image, axis=0, dtype=_sum_type(image.dtype, len(image)))
    rows, columns = (_starts(*axis) for axis in zip(image.shape, (_ROWS, _COLUMNS), strict=False))
    if len(image) < _ROWS:
        image, rows = image[rows], _starts(_ROWS, _ROWS)
    if image.shape[1] < _COLUMNS:
        image, columns = image[:, columns], _starts(_COLUMNS, _COLUMNS)
    height, width, channels = image.shape
    lines = image.reshape(height, width * channels)
    tallest = -(-height // _ROWS)
    narrow = _sum_type(image.dtype, tallest)
    if height == tallest * _ROWS:
        bands = np.add.reduce(lines.reshape(_ROWS, tallest, -1), axis=1, dtype=narrow)
    else:
        bands = np.empty((_ROWS, width * channels), narrow)
        ends = [*rows[1:].tolist(), height]
        for band, start, end in zip(bands, rows.tolist(), ends, strict=True):
            np.add.reduce(lines[start:end], axis=0, dtype=narrow, out=band)
    wide = np.float64 if image.dtype.kind == "f" else np.int64
    return np.add.reduceat(bands, columns * channels, axis=1, dtype=wide)


@lru_cache(64)
def _starts(extent: int, cells: int) -> NDArray[np.int64]:
    """Return where cells begin along an axis; repeated if there are fewer pixels than cells.

    Examples
    --------
    >>> _starts(20, 8).tolist(), _starts(3, 8).tolist()
    ([0, 2, 5, 7, 10, 12, 15, 17], [0, 0, 0, 1, 1, 1, 2, 2])
    """
    return np.arange(cells) * extent // cells


@lru_cache(64)
def _cell_pixels(height: int, width: int) -> NDArray[np.int64]:
    """Return the number of pixels of each cell, (8, 9)."""
    along = (
        np.maximum(np.diff(_starts(extent, cells), append=extent), 1)
        for extent, cells in ((height, _ROWS), (width, _COLUMNS))
    )
    return np.outer(*along)


@lru_cache(64)
def _sum_type(dtype: np.dtype[Any], count: int) -> np.dtype[Any]:
    """Return the narrowest type that holds the sum of some numbers, which is the fastest."""
    if dtype.kind == "f":
        return np.dtype(np.float64)
    limits = np.iinfo(dtype)
    return np.min_scalar_type(count * int(limits.min or limits.max))
