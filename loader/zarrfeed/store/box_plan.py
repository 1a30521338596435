"""Which rows of the fields hold a box of a case, and where does each tile's part land?

A plan is data. It serves every field with the same tiles, and knows neither stores nor files.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from zarrfeed.store.read_plan import ReadPlan
from zarrfeed.store.tile_grid import TilePart, tile_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed.store.tile_grid import Box, Cut, TileGrid


class Lines(NamedTuple):
    """The parts of a box of whole pixels, by axes.

    Attributes
    ----------
    lead
        Where the parts are along all axes but the last, in the tiles and in the box.
    across
        The cuts along the last axis. The parts are the combinations of `lead` and these, in order.
    """

    lead: list[tuple[Box, Box]]
    across: tuple[Cut, ...]


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
    rows
        The row of each part's tile.
    lines
        The parts by axes; None if the plan was made of parts.

    Examples
    --------
    >>> from zarrfeed.store.tile_grid import TileGrid
    >>> grid, box = TileGrid((5, 7), (2, 3)), (slice(1, 2), slice(2, 5))
    >>> BoxPlan(100, grid.parts(box)).rows
    [100, 101]
    >>> plan = BoxPlan.of_box(100, grid, box)
    >>> plan.rows, plan.parts == grid.parts(box)
    ([100, 101], True)
    """

    def __init__(self, first_tile: int, parts: Sequence[TilePart]) -> None:
        self.rows = tile_rows(first_tile, parts)
        self.lines: Lines | None = None
        self._first_tile = first_tile
        self._parts: Sequence[TilePart] = parts
        self._moved_from: BoxPlan | None = None

    @classmethod
    def of_box(cls, first_tile: int, grid: TileGrid, box: Sequence[slice]) -> BoxPlan:
        """Plan a box, faster than by its parts.

        Parameters
        ----------
        first_tile
            Row of the case's first tile.
        grid
            The tiles of the case, along at least one axis.
        box
            A slice per axis, inside the case.

        Raises
        ------
        ValueError
            As :meth:`zarrfeed.store.tile_grid.TileGrid.parts`.
        """
        # Plain loops, because copying a small box takes hardly longer than this.
        *lead, across = grid.cuts(box)
        *shape, along = grid.shape
        places: list[tuple[int, Box, Box]] = [(0, (), ())]
        for extent, cuts in zip(shape, lead, strict=True):
            places = [
                (number * extent + at, (*inside, of_tile), (*lands, of_box))
                for number, inside, lands in places
                for at, of_tile, of_box in cuts
            ]
        plan = cls(first_tile, ())
        plan.lines = Lines([(inside, lands) for _, inside, lands in places], across)
        ats = [cut.at for cut in across]
        plan.rows = [
            first + at
            for first in [first_tile + number * along for number, _, _ in places]
            for at in ats
        ]
        return plan

    def moved(self, rows: list[int]) -> BoxPlan:
        """Return the same plan of a field whose tiles are other rows: one for each of `rows`."""
        plan = BoxPlan(self._first_tile, ())
        plan.lines, plan.rows, plan._moved_from = self.lines, rows, self
        return plan

    @cached_property
    def parts(self) -> Sequence[TilePart]:
        """The parts of the box."""
        if self._moved_from is not None:
            return self._moved_from.parts
        if self.lines is None:
            return self._parts
        rows = iter(self.rows)
        return [
            TilePart(next(rows) - self._first_tile, (*inside, of_tile), (*lands, of_box))
            for inside, lands in self.lines.lead
            for _, of_tile, of_box in self.lines.across
        ]

    @cached_property
    def tiles(self) -> ReadPlan:
        """The plan of reading whole tiles: row i of a batch is the tile of ``parts[i]``."""
        return ReadPlan(np.array(self.rows, np.int64))
