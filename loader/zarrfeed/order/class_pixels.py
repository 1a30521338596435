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
    totals
        (K,) int64: pixels of each class in all tiles.

    Examples
    --------
    >>> pixels = ClassPixels(np.array([[0, 2], [3, 0], [1, 4]], np.uint32))
    >>> pixels.totals.tolist(), pixels.find(1, 3)
    ([4, 6], (2, 1))
    """

    def __init__(self, counts: NDArray[np.unsignedinteger]) -> None:
        self._counts = counts
        # A part at a time, because NumPy converts what it sums to int64 first.
        parts = [counts[start : start + _PART] for start in range(0, len(counts), _PART)]
        blocks = [
            np.add.reduceat(part, np.arange(0, len(part), _BLOCK), axis=0, dtype=np.int64)
            for part in parts
        ]
        self._ends = np.cumsum(np.concatenate(blocks), axis=0)
        self.totals: NDArray[np.int64] = self._ends[-1]

    def find(self, column: int, nth: int) -> tuple[int, int]:
        """Find a pixel.

        Parameters
        ----------
        column
            Number of the class among those counted.
        nth
            Number of the pixel, from 0 to ``totals[column] - 1``.

        Returns
        -------
        tile, nth
            Number of the tile, and number of the pixel among those of the class in it.
        """
        ends = self._ends[:, column]
        block = int(np.searchsorted(ends, nth, side="right"))
        start = block * _BLOCK
        within, rest = self._find(
            start, start + _BLOCK, column, nth - (ends[block - 1] if block else 0)
        )
        return start + within, rest

    def find_in(self, tiles: range, column: int, nth: int) -> tuple[int, int]:
        """Find the n-th pixel of a class in some neighbouring tiles; see :meth:`find`."""
        within, rest = self._find(tiles.start, tiles.stop, column, nth)
        return tiles.start + within, rest

    def total_in(self, tiles: range, column: int) -> int:
        """Count the pixels of a class in some neighbouring tiles."""
        return int(self._counts[tiles.start : tiles.stop, column].sum(dtype=np.int64))

    def cases_with(self, column: int, first: NDArray[np.int64]) -> NDArray[np.uint32]:
        """Return the numbers of the cases that contain a class.

        Parameters
        ----------
        column
            Number of the class among those counted.
        first
            (M,) int64: number of each case's first tile.
        """
        present = np.logical_or.reduceat(self._counts[:, column] > 0, first)
        return np.flatnonzero(present).astype(np.uint32)

    def _find(self, start: int, stop: int, column: int, nth: int) -> tuple[int, int]:
        ends = np.cumsum(self._counts[start:stop, column], dtype=np.int64)
        tile = int(np.searchsorted(ends, nth, side="right"))
        return tile, int(nth - (ends[tile - 1] if tile else 0))
