"""Which rows of the fields hold a box of a case, and where does each tile's part land?

A plan is data. It serves every field with the same tiles, and knows neither stores nor files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.store.read_plan import ReadPlan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed.store.tile_grid import TilePart


class BoxPlan:
    """The reads of one box.

    Parameters
    ----------
    first_tile
        Row of the case's first tile.
    parts
        The parts of the box, as :meth:`zarrfeed.store.tile_grid.TileGrid.parts` returns them. Their
        slices may leave out a field's last axis, which is then read whole.

    Attributes
    ----------
    parts
        The parts of the box.
    tiles
        The plan of reading their whole tiles: row ``i`` of a batch is the tile of ``parts[i]``.

    Examples
    --------
    >>> from zarrfeed.store.tile_grid import TileGrid
    >>> plan = BoxPlan(100, TileGrid((5, 7), (2, 3)).parts((slice(1, 2), slice(2, 5))))
    >>> plan.tiles.ids.tolist()
    [100, 101]
    """

    def __init__(self, first_tile: int, parts: Sequence[TilePart]) -> None:
        self.parts = parts
        self.tiles = ReadPlan(np.array([first_tile + part.tile for part in parts], np.int64))
