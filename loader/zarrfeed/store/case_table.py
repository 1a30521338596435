"""Which tile of which case is each row of a split of cases?

Pure. Case m has the size ``sizes[m]``, and its tiles are the rows from ``first_tile[m]`` on. Since
tiles are cut by a regular grid, everything else is arithmetic, which is in
:mod:`zarrfeed.store.tile_arrays`. The converter uses it, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.store.names import tile_name
from zarrfeed.store.tile_arrays import count_tiles, first_tiles, origins_of, own_sizes
from zarrfeed.store.tile_grid import TileGrid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from zarrfeed.arrays import Ids

_BLOCK = 1 << 16  # tiles that are summed at a time


@dataclass(frozen=True, slots=True, eq=False)
class CaseTable:
    """Sizes and tiles of the cases of a split.

    Attributes
    ----------
    tile
        Size of a tile in pixels, (h, w) or (d, h, w).
    sizes
        (M, axes) int64: size of each case in pixels, without padding.
    first_tile
        (M,) int64: row of each case's first tile.

    Examples
    --------
    >>> table = CaseTable.of_sizes(np.array([[3, 5], [2, 2]]), (2, 4))
    >>> table.first_tile.tolist(), table.tiles
    ([0, 4], 5)
    >>> every = np.arange(5)
    >>> table.cases_of(every).tolist()
    [0, 0, 0, 0, 1]
    >>> table.origins(every).tolist()
    [[0, 0], [0, 4], [2, 0], [2, 4], [0, 0]]
    >>> table.own_sizes(every).tolist()
    [[2, 4], [2, 1], [1, 4], [1, 1], [2, 2]]
    >>> table.tile_names(["a", "b"], range(3, 5))
    ['a#2,4', 'b#0,0']
    """

    tile: tuple[int, ...]
    sizes: NDArray[np.int64]
    first_tile: NDArray[np.int64]

    @classmethod
    def of_sizes(cls, sizes: NDArray[np.int64], tile: tuple[int, ...]) -> CaseTable:
        """Return the table of cases whose tiles follow each other from row 0 on."""
        return cls(tile, sizes, first_tiles(count_tiles(sizes, tile)))

    def __len__(self) -> int:
        """Count the cases."""
        return len(self.sizes)

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return self.rows(len(self) - 1).stop if len(self) else 0

    def grid(self, case: int) -> TileGrid:
        """Return the tiles of a case."""
        return TileGrid(tuple(self.sizes[case].tolist()), self.tile)

    def rows(self, case: int) -> range:
        """Return the rows of the tiles of a case."""
        first = int(self.first_tile[case])
        return range(first, first + self.grid(case).tiles)

    def cases_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the case of each of some tiles, given by their rows."""
        return np.searchsorted(self.first_tile, rows, side="right") - 1

    def origins(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where some tiles begin in their cases, (n, axes) int64."""
        case = self.cases_of(rows)
        return origins_of(self.sizes[case], rows - self.first_tile[case], self.tile)

    def own_sizes(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the sizes of the parts of some tiles that are not padding, (n, axes) int64."""
        case = self.cases_of(rows)
        return own_sizes(self.sizes[case], rows - self.first_tile[case], self.tile)

    def own_pixels(self, rows: Ids) -> int:
        """Count the pixels of some tiles that are inside their cases, not padding."""
        total = 0
        for start in range(0, len(rows), _BLOCK):
            here = np.asarray(rows[start : start + _BLOCK], np.int64)
            total += int(self.own_sizes(here).prod(axis=1).sum())
        return total

    def tile_names(self, keys: Sequence[str] | Mapping[int, str], rows: Ids) -> list[str]:
        """Name tiles by the keys of their cases and their origins, as ``KEY#y,x``."""
        here = np.asarray(rows, np.int64)
        cases: list[int] = self.cases_of(here).tolist()
        origins: list[list[int]] = self.origins(here).tolist()
        return [tile_name(keys[case], at) for case, at in zip(cases, origins, strict=True)]
