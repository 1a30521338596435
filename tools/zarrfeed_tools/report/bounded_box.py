"""Which part of a sample is read, so that a huge one takes no longer than others? Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed.store.tile_grid import Box


def bounded_box(
    size: Sequence[int], tile: Sequence[int], around: Sequence[int], *, most_pixels: int
) -> Box:
    """Return a box of whole tiles that has few enough pixels.

    Parameters
    ----------
    size
        (H, W) or (D, H, W) of the case.
    tile
        Size of a tile.
    around
        Place of a tile in the grid of tiles, which the box holds, in its middle if possible.
    most_pixels
        How many pixels the box may have. It has at least one tile.

    Returns
    -------
    tuple of slice
        All of the case, if that is small enough. Of larger volumes, planes stay whole as long as
        possible.

    Examples
    --------
    >>> bounded_box((100, 100), (10, 10), (0, 0), most_pixels=10_000)
    (slice(0, 100, None), slice(0, 100, None))
    >>> bounded_box((100, 100), (10, 10), (9, 4), most_pixels=1000)
    (slice(70, 100, None), slice(30, 60, None))
    """
    grid = [-(-extent // step) for extent, step in zip(size, tile, strict=True)]
    extents = list(grid)  # in tiles

    def pixels() -> int:
        along = zip(extents, tile, size, strict=True)
        return math.prod(min(count * step, extent) for count, step, extent in along)

    if len(extents) == 3:
        while pixels() > most_pixels and extents[0] > 1:
            extents[0] = -(-extents[0] // 2)
    while pixels() > most_pixels and max(extents) > 1:
        longest = max(
            (axis for axis, count in enumerate(extents) if count > 1),
            key=lambda axis: extents[axis] * tile[axis],
        )
        extents[longest] = -(-extents[longest] // 2)
    box = []
    for at, count, tiles, step, extent in zip(around, extents, grid, tile, size, strict=True):
        first = min(max(0, at - count // 2), tiles - count)
        box.append(slice(first * step, min((first + count) * step, extent)))
    return tuple(box)


def middle_box(size: Sequence[int], around: Sequence[int], *, most_pixels: int) -> Box:
    """Return a box around a pixel that has few enough pixels.

    Parameters
    ----------
    size
        (H, W) or (D, H, W) of an array.
    around
        The index of a pixel, which the box holds, in its middle if possible.
    most_pixels
        How many pixels the box may have. Planes of volumes stay whole as long as possible.

    Examples
    --------
    >>> middle_box((9, 20, 30), (1, 10, 15), most_pixels=3000)
    (slice(0, 5, None), slice(0, 20, None), slice(0, 30, None))
    """
    extents = list(size)
    if len(size) == 3:
        extents[0] = min(size[0], max(1, most_pixels // max(1, math.prod(size[1:]))))
    pixels = math.prod(extents)
    if pixels > most_pixels:
        shrink = math.sqrt(most_pixels / pixels)
        extents[-2:] = [max(1, math.floor(extent * shrink)) for extent in extents[-2:]]
    box = []
    for at, extent, along in zip(around, extents, size, strict=True):
        first = min(max(0, at - extent // 2), along - extent)
        box.append(slice(first, first + extent))
    return tuple(box)


def plane_with_most(mask: NDArray[Any], classes: int, *, multi_hot: bool) -> int:
    """Return the plane of a volume's mask that shows most classes, and of these the most pixels.

    Parameters
    ----------
    mask
        (D, H, W) class ids, or (D, H, W, K).
    classes
        Number of classes; higher ids do not count.
    multi_hot
        Whether the last axis has one channel per class.

    Returns
    -------
    int
        Of several, the one nearest to the middle.
    """
    depth = len(mask)
    if multi_hot:
        pixels = np.count_nonzero(mask, axis=(1, 2))
    else:
        planes = mask.reshape(depth, -1)
        pixels = np.array([_count(plane, classes) for plane in planes])
    shown = (pixels > 0).sum(axis=1)
    # Some of each class shows more than a speck of one beside much of another.
    evenness = np.sqrt(pixels).sum(axis=1)
    away = np.abs(np.arange(depth) - (depth - 1) / 2)
    return int(np.lexsort((away, -evenness, -shown))[0])


def _count(ids: NDArray[Any], classes: int) -> NDArray[np.int64]:
    known = ids[(ids >= 0) & (ids < classes)]
    return np.bincount(known.astype(np.int64), minlength=classes)
