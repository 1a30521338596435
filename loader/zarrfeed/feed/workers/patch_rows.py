"""Which rows of the fields, the tiles of cases, do patches need? For many draws at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.order.draws import FREE
from zarrfeed.order.patch_cases import indices_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed.feed.workers.batch_spec import PatchSpec
    from zarrfeed.order.draws import Draws


def patch_rows(draws: Draws, spec: PatchSpec) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows that patches are cut from.

    Where a patch must contain a pixel of a class, the pixel is not known before its tile has been
    read. The rows are then those of all patches that the pixel may lead to.

    Parameters
    ----------
    draws
        (n,) draws of patches.
    spec
        What is equal for all patches.

    Returns
    -------
    draw, row
        (m,) int64 each: the number of a draw, and a row that it needs; each pair once, in the order
        of draws.

    Examples
    --------
    A patch of 4 × 4 at (2, 0) of a case of 8 × 8 pixels, in tiles of 4 × 4 from row 100 on:

    >>> import numpy as np
    >>> from zarrfeed.feed.workers.batch_spec import PatchSpec
    >>> from zarrfeed.order.draws import FREE, patch_draw
    >>> draws = np.zeros(1, patch_draw(2))
    >>> draws["first_tile"], draws["size"], draws["origin"] = 100, (8, 8), (2, 0)
    >>> draws["tile"] = draws["label"] = FREE
    >>> patch_rows(draws, PatchSpec((4, 4), (4, 4), False, (), False))[1].tolist()
    [100, 102]
    """
    tile, patch = np.array(spec.tile), np.array(spec.size)
    size = draws["size"]
    grid = -(-size // tile)
    forced = draws["tile"] != FREE
    # Where the patch may begin: first and last place along each axis.
    first = draws["origin"].copy()
    last = first.copy()
    if forced.any():
        at = indices_of(draws["tile"][forced] - draws["first_tile"][forced], grid[forced]) * tile
        first[forced] += at
        last[forced] += np.minimum(at + tile, size[forced]) - 1
        if spec.shift:
            furthest = size[forced] - patch
            for place in (first, last):
                shifted = np.clip(place[forced], 0, np.maximum(furthest, 0))
                place[forced] = np.where(furthest >= 0, shifted, -((-furthest) // 2))
    first, end = np.clip(first, 0, size), np.clip(last + patch, 0, size)
    start = first // tile
    count = np.where(end > first, -(-end // tile) - start, 0)
    total = count.prod(axis=1)
    draw = np.repeat(np.arange(draws.size), total)
    within = np.arange(draw.size) - np.repeat(np.cumsum(total) - total, total)
    place = indices_of(within, np.maximum(count[draw], 1)) + start[draw]
    row = np.zeros(draw.size, np.int64)
    for axis in range(tile.size):
        row = row * grid[draw, axis] + place[:, axis]
    row += draws["first_tile"][draw]
    if not forced.any():
        return draw, row
    own = np.flatnonzero(forced)  # the tile itself, even if the patch lies beside it
    pairs = np.stack((np.concatenate((draw, own)), np.concatenate((row, draws["tile"][own]))))
    draw, row = np.unique(pairs, axis=1)
    return draw, row
