"""Which cases does a split have, and which tile of which case is each of its rows?

Pure arithmetic of sizes; see ``CASE_KEY`` in :mod:`zarrfeed.store.schema`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

import numpy as np

from zarrfeed.store.case_table import CaseTable
from zarrfeed.store.names import tile_name
from zarrfeed_convert.shards.rows import Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed_convert.geometry import Size
    from zarrfeed_convert.header import Affine
    from zarrfeed_convert.shards.rows import Numbers
    from zarrfeed_convert.source import JSON


@dataclass(frozen=True, slots=True)
class Cases:
    """The M cases of a split, in the order of their tiles.

    Attributes
    ----------
    keys
        Their names.
    sizes
        (M, 2 or 3) int64, without padding.
    first_tile
        (M,) int64, row of the first tile of each.
    affines
        (M, 3, 3) float64, of volumes (M, 4, 4); NaN where the source does not say it. None if it
        never does.
    """

    keys: Sequence[str]
    sizes: Numbers
    first_tile: Numbers
    affines: NDArray[np.float64] | None

    def rows(self, tile: Size) -> Rows:
        """Return the case, the origin and the size of the case of every tile.

        Parameters
        ----------
        tile
            Size of tiles.

        Examples
        --------
        >>> cases = Cases(["a", "b"], np.array([[3, 5], [2, 2]]), np.array([0, 4]), None)
        >>> rows = cases.rows((2, 4))
        >>> rows.item.tolist(), rows.origin.tolist()
        ([0, 0, 0, 0, 1], [[0, 0], [0, 4], [2, 0], [2, 4], [0, 0]])
        """
        table, every = self._tiles(tile)
        case = table.cases_of(every)
        return Rows(case, table.origins(every), self.sizes[case])

    @property
    def pixels(self) -> int:
        """Number of pixels of all cases."""
        return int(self.sizes.prod(axis=1).sum())

    def part(self, which: Numbers, tile: Size) -> Cases:
        """Select some of the cases, in the given order, whose tiles follow each other."""
        affines = None if self.affines is None else self.affines[which]
        return Cases(
            [self.keys[case] for case in map(int, which)],
            self.sizes[which],
            CaseTable.of_sizes(self.sizes[which], tile).first_tile,
            None if affines is None or np.isnan(affines).all() else affines,
        )

    def _tiles(self, tile: Size) -> tuple[CaseTable, Numbers]:
        """Return the cases with tiles of a size that follow each other, and the row of each."""
        table = CaseTable.of_sizes(self.sizes, tile)
        return table, np.arange(table.tiles)


class TileNames(Sequence[str]):
    """The names of tiles, ``KEY#z,y,x``, made when they are asked for: most are never read.

    Parameters
    ----------
    keys
        Keys of the cases.
    rows
        The tiles, whose items are numbers of cases.
    """

    def __init__(self, keys: Sequence[str], rows: Rows) -> None:
        self._keys = keys
        self._rows = rows

    def __len__(self) -> int:
        """Count the tiles."""
        return len(self._rows)

    @overload
    def __getitem__(self, tile: int) -> str: ...
    @overload
    def __getitem__(self, tile: slice) -> TileNames: ...
    def __getitem__(self, tile: int | slice) -> str | TileNames:
        """Name one or several tiles."""
        if isinstance(tile, slice):
            return TileNames(self._keys, self._rows.part(tile))
        return tile_name(self._keys[int(self._rows.item[tile])], self._rows.origin[tile].tolist())


def affines_of(found: Sequence[Affine | None]) -> NDArray[np.float64] | None:
    """Return affines as one array (M, n, n), NaN where there is none; None if there is none at all.

    Parameters
    ----------
    found
        The affine of each of M headers.
    """
    known = next(filter(None, found), None)
    if known is None:
        return None
    unknown = np.full((len(known), len(known)), np.nan)
    return np.array([unknown if affine is None else affine for affine in found], np.float64)


def crs_recorded(found: Sequence[str]) -> JSON:
    """Return the entry of a split's attributes for the coordinate reference systems of its cases.

    ``wkt`` lists them; if there are several, ``case`` gives the index of that of each case, -1
    where it is unknown. There is no entry if all are.

    Parameters
    ----------
    found
        The system of each case as WKT; empty if it is unknown.

    Examples
    --------
    >>> crs_recorded(["b", "", "a"])
    {'crs': {'wkt': ['a', 'b'], 'case': [1, -1, 0]}}
    """
    known = sorted({*found} - {""})
    if not known:
        return {}
    if len({*found}) == 1:
        return {"crs": {"wkt": known}}
    number = {wkt: at for at, wkt in enumerate(known)}
    return {"crs": {"wkt": known, "case": [number.get(wkt, -1) for wkt in found]}}
