"""Which images look alike? A hash of 64 bits whose distance says so.

The difference hash of Neal Krawetz, "Kind of Like That" (2013): an image is reduced to 8 rows of 9
grey cells, and each bit says whether a cell is brighter than its left neighbour. Two images are
near duplicates if few of the bits differ. Pure, and exact for integers.
"""

from __future__ import annotations

import math
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
    means = _cell_means(image)
    left, right = means[:, :-1], means[:, 1:]
    margin = np.zeros(())
    if image.dtype.kind == "f":
        margin = _PRECISION * np.maximum(np.abs(left), np.abs(right))
    return int.from_bytes(np.packbits(right - left > margin).tobytes(), "big")


def _cell_means(image: Image) -> NDArray[np.float64]:
    """Return the mean of each cell, (8, 9)."""
    image = _enlarged(image)
    *_, height, width, channels = image.shape
    rows, columns = _edges(height, _ROWS), _edges(width, _COLUMNS)
    with np.errstate(invalid="ignore", over="ignore"):
        sums = _cell_sums(image, rows, columns)
    if np.isfinite(sums).all():
        planes = image.size // (height * width * channels)
        pixels = np.outer(np.diff(rows), np.diff(columns))
        means: NDArray[np.float64] = sums / (pixels * (planes * channels))
        return means
    finite = np.abs(image, dtype=np.float64) < _LARGEST
    sums = _cell_sums(np.where(finite, image, 0), rows, columns)
    counts = _cell_sums(finite.view(np.uint8), rows, columns)
    # A cell without a value is as bright as all the others together.
    empty = sums.sum() / max(1, counts.sum())
    return np.where(counts > 0, sums / np.maximum(counts, 1), empty)


def _enlarged(image: Image) -> Image:
    """Repeat rows and columns of an image that has fewer than there are cells."""
    height, width = image.shape[-3:-1]
    if height < _ROWS:
        image = image[..., _edges(height, _ROWS)[:-1], :, :]
    if width < _COLUMNS:
        image = image[..., _edges(width, _COLUMNS)[:-1], :]
    return image


def _edges(extent: int, cells: int) -> NDArray[np.int64]:
    """Return where cells begin and the last one ends.

    Examples
    --------
    >>> _edges(20, 8).tolist()
    [0, 2, 5, 7, 10, 12, 15, 17, 20]
    """
    return np.arange(cells + 1) * extent // cells


def _cell_sums(
    image: Image, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.int64 | np.float64]:
    """Return the sum of each cell, (8, 9): of integers exactly, of others in a fixed order."""
    *planes, _, width, channels = image.shape
    wide = np.float64 if image.dtype.kind == "f" else np.int64
    lines = np.empty((_ROWS, width * channels), wide)
    narrow = _sum_type(image.dtype, math.prod(planes) * int(np.diff(rows).max()))
    along = tuple(range(image.ndim - 2))
    for line, start, stop in zip(lines, rows[:-1].tolist(), rows[1:].tolist(), strict=True):
        band = image[..., start:stop, :, :]
        line[...] = np.add.reduce(band, axis=along, dtype=narrow).reshape(-1)
    return np.add.reduceat(lines, columns[:-1] * channels, axis=1)


def _sum_type(dtype: np.dtype[Any], count: int) -> np.dtype[Any]:
    """Return the narrowest type that holds the sum of some numbers, which is the fastest."""
    if dtype.kind == "f":
        return np.dtype(np.float64)
    limits = np.iinfo(dtype)
    return np.min_scalar_type(count * int(limits.min or limits.max))
