"""Cut a case into tiles while its planes become known, one after the other."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed.store.tile_grid import TileGrid


class Rows(Protocol):
    """Rows of an array that are filled in order."""

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of a row."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the rows."""
        ...

    def row(self, row: int) -> NDArray[Any] | None:
        """Return the memory of a row, zeros, to fill it; None if it need not be filled."""
        ...


class PlaneTiles:
    """The tiles of a case, filled from its planes in order.

    Planes wait until they fill the height of a tile.

    Parameters
    ----------
    rows
        Where the tiles go. They are filled in order.
    grid
        The tiles of the case.
    first_tile
        Row of the first tile.
    """

    def __init__(self, rows: Rows, grid: TileGrid, first_tile: int) -> None:
        self._rows = rows
        self._grid = grid
        self._next = first_tile
        self._planes = 0  # of the case, up to now
        channels = rows.sample_shape[len(grid.tile) :]
        height = min(grid.tile[0], grid.size[0])
        self._waiting = np.empty((height, *grid.size[1:], *channels), rows.dtype)
        self._parts = list(
            itertools.product(
                *(
                    [slice(at, min(at + step, size)) for at in range(0, size, step)]
                    for size, step in zip(grid.size[1:], grid.tile[1:], strict=True)
                )
            )
        )

    def append(self, planes: NDArray[Any]) -> None:
        """Take the next planes.

        Parameters
        ----------
        planes
            (n, …) array of the case's other extents, with channels if rows have any.
        """
        done = 0
        while done < len(planes):
            at = self._planes % self._grid.tile[0]
            count = min(len(planes) - done, len(self._waiting) - at)
            self._waiting[at : at + count] = planes[done : done + count]
            done += count
            self._planes += count
            if at + count == self._grid.tile[0] or self._planes == self._grid.size[0]:
                self._cut(self._waiting[: at + count], self._parts)

    def _cut(self, planes: NDArray[Any], parts: Sequence[tuple[slice, ...]]) -> None:
        for part in parts:
            tile = self._rows.row(self._next)
            self._next += 1
            if tile is not None:
                found = planes[:, *part]
                tile[tuple(map(slice, found.shape))] = found
