"""Which cases does a split have, and which tile of which case is each of its rows?

Pure arithmetic of sizes; see ``CASE_KEY`` in :mod:`zarrfeed.store.schema`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.store.tile_grid import count_tiles
from zarrfeed_convert.geometry import origin_text
from zarrfeed_convert.shards.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        grids = -(-self.sizes // np.array(tile))
        counts = count_tiles(self.sizes, tile)
        case = np.repeat(np.arange(len(counts)), counts)
        number = np.arange(case.size) - np.repeat(np.cumsum(counts) - counts, counts)
        origin = np.empty((case.size, len(tile)), np.int64)
        for axis in reversed(range(len(tile))):
            number, at = np.divmod(number, grids[case, axis])
            origin[:, axis] = at * tile[axis]
        return Rows(case, origin, self.sizes[case])

    def own_sizes(self, tile: Size) -> Numbers:
        """Return the size of the part of every tile, (N, 2 or 3), that is not padded."""
        rows = self.rows(tile)
        assert rows.size is not None
        own: Numbers = np.minimum(rows.size - rows.origin, np.array(tile))
        return own

    @property
    def pixels(self) -> int:
        """Number of pixels of all cases."""
        return int(self.sizes.prod(axis=1).sum())

    def part(self, which: Numbers, tile: Size) -> Cases:
        """Select some of the cases, in the given order, whose tiles follow each other."""
        counts = count_tiles(self.sizes[which], tile)
        affines = None if self.affines is None else self.affines[which]
        return Cases(
            [self.keys[case] for case in map(int, which)],
            self.sizes[which],
            np.cumsum(counts) - counts,
            None if affines is None or np.isnan(affines).all() else affines,
        )

    def tile_names(self, tile: Size) -> list[str]:
        """Return a name for every tile: ``KEY#z,y,x``."""
        rows = self.rows(tile)
        return [
            f"{self.keys[case]}#{origin_text(origin)}"
            for case, origin in zip(rows.item.tolist(), rows.origin.tolist(), strict=True)
        ]


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
