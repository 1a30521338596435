"""How does a large image or mask look in few pixels? Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def thumbnail_size(size: Sequence[int], most: int) -> tuple[int, ...]:
    """Return the size of a thumbnail, at least one pixel along each axis.

    Parameters
    ----------
    size
        Extents of the image, such as (H, W).
    most
        The largest extent of the thumbnail. Smaller images keep their size.

    Examples
    --------
    >>> thumbnail_size((1000, 500), 100), thumbnail_size((30, 20), 100)
    ((100, 50), (30, 20))
    """
    largest = max(size)
    if largest <= most:
        return tuple(size)
    return tuple(max(1, round(extent * most / largest)) for extent in size)


def shrink(image: NDArray[Any], size: Sequence[int]) -> NDArray[Any]:
    """Shrink an image to the means of areas.

    Parameters
    ----------
    image
        (H, W) or (H, W, C). NaN and infinite values do not count.
    size
        (h, w), at most (H, W).

    Returns
    -------
    (h, w) or (h, w, C)
        Of the dtype of `image`; the means of integers are rounded. NaN where an area has no finite
        value.

    Examples
    --------
    >>> shrink(np.array([[0, 2, 10, 20]], np.uint8), (1, 2))
    array([[ 1, 15]], dtype=uint8)
    """
    if tuple(size) == image.shape[:2]:
        return image
    wide = image.astype(np.complex128 if image.dtype.kind == "c" else np.float64)
    known = np.isfinite(wide)
    whole = bool(known.all())
    if not whole:
        wide[~known] = 0
    for axis, extent in enumerate(size):
        wide = _means(wide, axis, extent)
    if not whole:
        shares: NDArray[np.float64] = known.astype(np.float64)
        for axis, extent in enumerate(size):
            shares = _means(shares, axis, extent)
        with np.errstate(invalid="ignore", divide="ignore"):
            wide = np.where(shares > 0, wide / shares, np.nan)
    if image.dtype.kind in "iu":
        bounds = np.iinfo(image.dtype)
        most = np.float64(bounds.max)
        if int(most) > bounds.max:  # float64 rounds up the largest integers of 64 bits
            most = np.nextafter(most, 0)
        wide = np.rint(wide).clip(bounds.min, most)
    elif image.dtype.kind == "b":
        wide = np.rint(wide)
    with np.errstate(over="ignore"):  # of a mean that no float16 holds
        return wide.astype(image.dtype)


def _means(values: NDArray[Any], axis: int, extent: int) -> NDArray[Any]:
    edges = np.arange(extent + 1) * values.shape[axis] // extent
    counts = np.diff(edges).reshape(-1, *(1 for _ in range(values.ndim - axis - 1)))
    # Divided first, for a sum of large float64 may be infinite.
    shares = values / np.repeat(counts, np.diff(edges), axis=0)
    return np.add.reduceat(shares, edges[:-1], axis=axis)


def pick(array: NDArray[Any], size: Sequence[int]) -> NDArray[Any]:
    """Shrink or enlarge a mask, or an image, to pixels that it has.

    Parameters
    ----------
    array
        (H, W) or (H, W, K).
    size
        (h, w).

    Returns
    -------
    (h, w) or (h, w, K)
        The pixels nearest to the middle of each area.

    Examples
    --------
    >>> pick(np.array([[0, 1, 2, 3]]), (1, 2)), pick(np.array([[7]]), (1, 3))
    (array([[1, 3]]), array([[7, 7, 7]]))
    """
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new)
        for new, old in zip(size, array.shape[:2], strict=True)
    )
    picked: NDArray[Any] = array[rows[:, None], columns]
    return picked
