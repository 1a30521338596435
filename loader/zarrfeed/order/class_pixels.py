"""Which tile holds the n-th pixel of a class? From the number of pixels in each tile, cumulated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Tiles whose pixels are cumulated together. One sum of 64 bits per tile and class would take twice
# the memory of the counts; within a block they are summed when they are needed.
_BLOCK = 64
_PART = _BLOCK * 256  # tiles that are summed at a time


class ClassPixels:
    """The pixels of some classes in the tiles of a subset.

    Parameters
    ----------
    counts
        (T, K) unsigned integers: pixels of each class in each tile, tiles of a case after one
        another.

    Attributes
    ----------
    counts
        See above.
    totals
        (K,) int64: pixels of each class in all tiles.

    Examples
    --------
    >>> pixels = ClassPixels(np.array([[0, 2], [3, 0], [1, 4]], np.uint32))
    >>> pixels.totals.tolist()
    [4, 6]
    >>> tile, nth = pixels.find(np.array([1]), np.array([3]))
    >>> tile.tolist(), nth.tolist()
    ([2], [1])
    """

    def __init__(self, counts: NDArray[np.unsignedinteger]) -> None:
        self.counts = counts
        # A part at a time, because NumPy converts what it sums to int64 first.
        parts = [counts[start : start + _PART] for start in range(0, len(counts), _PART)]
        blocks = [
            np.add.reduceat(part, np.arange(0, len(part), _BLOCK), axis=0, dtype=np.int64)
            for part in parts
        ]
        self._ends = np.cumsum(np.concatenate(blocks), axis=0)
        self.totals: NDArray[np.int64] = self._ends[-1]

    def find(
        self, columns: NDArray[np.int64], nth: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Find pixels.

        Parameters
        ----------
        columns
            (m,) int64: numbers of classes among those counted.
        nth
            (m,) int64: numbers of pixels, from 0 to ``totals[column] - 1``.

        Returns
        -------
        tile, nth
            (m,) int64 each: number of the tile, and number of the pixel among those of the class in
            it.
        """
        block = np.empty(columns.size, np.int64)
        for column in set(columns.tolist()):
            of_it = columns == column
            block[of_it] = np.searchsorted(self._ends[:, column], nth[of_it], side="right")
        rest = nth - np.where(block > 0, self._ends[block - 1, columns], 0)
        tiles = np.minimum(block[:, None] * _BLOCK + np.arange(_BLOCK), len(self.counts) - 1)
        ends = np.cumsum(self.counts[tiles, columns[:, None]], axis=1, dtype=np.int64)
        within = (ends <= rest[:, None]).sum(axis=1)
        before = np.where(within > 0, ends[np.arange(within.size), within - 1], 0)
        return block * _BLOCK + within, rest - before

    def find_in(self, tiles: range, column: int, nth: int) -> tuple[int, int]:
        """Find the n-th pixel of one class in some neighbouring tiles; see :meth:`find`."""
        ends = np.cumsum(self.counts[tiles.start : tiles.stop, column], dtype=np.int64)
        tile = int(np.searchsorted(ends, nth, side="right"))
        return tiles.start + tile, int(nth - (ends[tile - 1] if tile else 0))

    def total_in(self, tiles: range, column: int) -> int:
        """Count the pixels of a class in some neighbouring tiles."""
        return int(self.counts[tiles.start : tiles.stop, column].sum(dtype=np.int64))

    def cases_with(self, column: int, first: NDArray[np.int64]) -> NDArray[np.uint32]:
        """Return the numbers of the cases that contain a class.

        Parameters
        ----------
        column
            Number of the class among those counted.
        first
            (M,) int64: number of each case's first tile.
        """
        present = np.logical_or.reduceat(self.counts[:, column] > 0, first)
        return np.flatnonzero(present).astype(np.uint32)
