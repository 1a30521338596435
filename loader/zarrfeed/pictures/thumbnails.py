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
    return area_means(image, edges_of(image.shape, size))


def edges_of(shape: Sequence[int], size: Sequence[int]) -> tuple[NDArray[np.int64], ...]:
    """Return where the areas begin and end that become one pixel each, along each axis.

    Examples
    --------
    >>> edges_of((7,), (3,))
    (array([0, 2, 4, 7]),)
    """
    pairs = zip(shape, size, strict=False)  # channels are not cut
    return tuple(np.arange(new + 1) * old // new for old, new in pairs)


def area_means(image: NDArray[Any], edges: Sequence[NDArray[np.int64]]) -> NDArray[Any]:
    """Return the means of areas; see :func:`shrink` and :func:`edges_of`."""
    kind = image.dtype.kind
    if kind in "iub":
        wide, shares = image, None
    else:
        wide = image.astype(np.complex128 if kind == "c" else np.float64)
        known = np.isfinite(wide)
        shares = None if known.all() else known.astype(np.float64)
        if shares is not None:
            wide[~known] = 0
    for axis, ends in enumerate(edges):
        wide = _means(wide, axis, ends)
        shares = None if shares is None else _means(shares, axis, ends)
    if shares is not None:
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            wide = np.where(shares > 0, _bounded(wide / shares), np.nan)
    if kind in "iu":
        bounds = np.iinfo(image.dtype)
        most = np.float64(bounds.max)
        if int(most) > bounds.max:  # float64 rounds up the largest integers of 64 bits
            most = np.nextafter(most, 0)
        wide = np.rint(wide).clip(bounds.min, most)
    elif kind == "b":
        wide = np.rint(wide)
    with np.errstate(over="ignore"):  # of a mean that no float16 holds
        return wide.astype(image.dtype)


def _means(values: NDArray[Any], axis: int, edges: NDArray[np.int64]) -> NDArray[Any]:
    lengths = np.diff(edges)
    counts = lengths.reshape(-1, *(1 for _ in range(values.ndim - axis - 1)))
    if values.dtype.kind in "iub":  # their sum is finite; no copy as floats
        if axis == 0:  # three times as fast as reduceat
            ends = zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
            sums = [values[start:stop].sum(axis=0, dtype=np.float64) for start, stop in ends]
            return np.stack(sums) / counts
        return np.add.reduceat(values, edges[:-1], axis=axis, dtype=np.float64) / counts
    # Divided first, for a sum of large float64 may be infinite.
    parts = values / np.repeat(counts, lengths, axis=0)
    with np.errstate(over="ignore"):
        means: NDArray[Any] = np.add.reduceat(parts, edges[:-1], axis=axis)
    if np.isinf(values).any():
        return means
    return _bounded(means)


def _bounded(means: NDArray[Any]) -> NDArray[Any]:
    """Make means finite again that rounding has lifted above the largest float64."""
    bounded: NDArray[Any] = np.nan_to_num(means, nan=np.nan)
    return bounded


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


def pick_present(
    mask: NDArray[Any], edges: Sequence[NDArray[np.int64]], background: int | None
) -> NDArray[Any]:
    """Shrink a mask so that small objects stay visible.

    Parameters
    ----------
    mask
        (H, W) class ids; or (H, W, K), of which a pixel has each class that its area has.
    edges
        The areas that become one pixel each; see :func:`edges_of`.
    background
        The id that gives way to others. None if no id does: the middle of each area counts.

    Returns
    -------
    (h, w) or (h, w, K)
        Of each area, the first of nine pixels that is not background, from the middle on.

    Examples
    --------
    >>> mask = np.zeros((9, 9), np.uint8)
    >>> mask[1, 7] = 5
    >>> pick_present(mask, edges_of((9, 9), (1, 1)), 0)
    array([[5]], dtype=uint8)
    """
    shares = (3, 1, 5)  # sixths of an area: its middle first
    places = [[(ends[:-1] + np.diff(ends) * share // 6) for share in shares] for ends in edges]
    found: NDArray[Any] | None = None
    for rows in places[0]:
        for columns in places[1]:
            here = mask[rows[:, None], columns]
            if found is None:
                found = here
            elif mask.ndim == 3:
                found = np.maximum(found, here)
            elif background is not None:
                found = np.where(found == background, here, found)
    assert found is not None
    return found
