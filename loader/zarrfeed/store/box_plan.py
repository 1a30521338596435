"""Which rows of the fields hold a box of a case, and where does each tile's part land?

A plan is data. It serves every field with the same tiles, and knows neither stores nor files.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.store.read_plan import ReadPlan
from zarrfeed.store.tile_grid import tile_rows

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
    rows
        The row of each part's tile.

    Examples
    --------
    >>> from zarrfeed.store.tile_grid import TileGrid
    >>> BoxPlan(100, TileGrid((5, 7), (2, 3)).parts((slice(1, 2), slice(2, 5)))).rows
    [100, 101]
    """

    def __init__(self, first_tile: int, parts: Sequence[TilePart]) -> None:
        self.parts = parts
        self.rows = tile_rows(first_tile, parts)

    @cached_property
    def tiles(self) -> ReadPlan:
        """The plan of reading whole tiles: row i of a batch is the tile of ``parts[i]``."""
        return ReadPlan(np.array(self.rows, np.int64))
