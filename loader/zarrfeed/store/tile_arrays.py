"""How many tiles do cases have, and where is each? For many cases at once, as arrays.

Pure. The tiles of one case are those of a :class:`zarrfeed.store.tile_grid.TileGrid`. The converter
uses it, too.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Extent of a tile along each of 2 or 3 axes, about half of that of the patches that networks are
# trained with: in smaller tiles, a patch touches many; of larger ones, it reads much that it does
# not need.
USUAL_EXTENT = {2: 256, 3: 64}
# Beyond this, products of int64 could overflow.
_MOST_TILES = 1 << 62


def count_tiles(sizes: NDArray[np.int64], tile: Sequence[int]) -> NDArray[np.int64]:
    """Count the tiles of cases.

    Parameters
    ----------
    sizes
        (M, axes) int64: size of each case in pixels, at least 1 along each axis.
    tile
        Size of a tile along each axis in pixels.

    Returns
    -------
    (M,) int64

    Raises
    ------
    ValueError
        A size is less than 1, or the tiles are more than int64 can count.

    Examples
    --------
    >>> count_tiles(np.array([[5, 7], [2, 3], [2, 4]]), (2, 3)).tolist()
    [9, 1, 2]
    """
    if sizes.min(initial=1) < 1:
        wrong = int(np.argmax((sizes < 1).any(axis=1)))
        raise ValueError(
            f"needed cases of at least 1 pixel along each axis, found {sizes[wrong].tolist()} for "
            f"case {wrong}"
        )
    along = _tiles_along(sizes, tile).T
    # A claimed size may overflow int64: the sum of products is at first formed in floats. Axis by
    # axis, because NumPy is slow to reduce a short axis.
    if functools.reduce(np.multiply, along.astype(np.float64)).sum() > _MOST_TILES:
        raise ValueError(f"needed at most {_MOST_TILES:,} tiles, found cases of more")
    counts: NDArray[np.int64] = functools.reduce(np.multiply, along)
    return counts


def first_tiles(counts: NDArray[np.int64], start: int = 0) -> NDArray[np.int64]:
    """Return the rows of the first tiles of cases whose tiles follow each other.

    Parameters
    ----------
    counts
        (M,) int64: number of tiles of each.
    start
        Row of the first tile of all.

    Returns
    -------
    (M,) int64

    Examples
    --------
    >>> first_tiles(np.array([9, 1, 2])).tolist()
    [0, 9, 10]
    """
    first: NDArray[np.int64] = start + np.cumsum(counts) - counts
    return first


def origins_of(
    sizes: NDArray[np.int64], tiles: NDArray[np.int64], tile: Sequence[int]
) -> NDArray[np.int64]:
    """Return the index of the first pixel of each of some tiles in its case.

    Parameters
    ----------
    sizes
        (n, axes) int64: size of each tile's case in pixels.
    tiles
        (n,) int64: number of each tile within its case.
    tile
        Size of a tile along each axis in pixels.

    Returns
    -------
    (n, axes) int64

    Examples
    --------
    >>> origins_of(np.array([[5, 7], [5, 7]]), np.array([4, 5]), (2, 3)).tolist()
    [[2, 3], [2, 6]]
    """
    along = _tiles_along(sizes, tile)
    origins = np.empty_like(sizes)
    rest = tiles
    for axis in reversed(range(len(tile))):
        rest, place = np.divmod(rest, along[:, axis])
        origins[:, axis] = place * tile[axis]
    return origins


def own_sizes(
    sizes: NDArray[np.int64], tiles: NDArray[np.int64], tile: Sequence[int]
) -> NDArray[np.int64]:
    """Return the sizes of the parts of tiles that are inside their cases, not padding.

    Parameters
    ----------
    sizes, tiles, tile
        As for :func:`origins_of`.

    Returns
    -------
    (n, axes) int64

    Examples
    --------
    >>> own_sizes(np.array([[5, 7], [5, 7]]), np.array([4, 5]), (2, 3)).tolist()
    [[2, 3], [2, 1]]
    """
    own: NDArray[np.int64] = np.minimum(
        np.asarray(tile, np.int64), sizes - origins_of(sizes, tiles, tile)
    )
    return own


def _tiles_along(sizes: NDArray[np.int64], tile: Sequence[int]) -> NDArray[np.int64]:
    steps = np.asarray(tile, np.int64)
    # Sizes near the largest int64 do not overflow.
    along: NDArray[np.int64] = (sizes - 1) // steps + 1
    return along
