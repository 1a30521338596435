"""Which value stands at one place of a shuffle? Computed for that place alone, in no memory.

For more samples than ``sample_order.IN_MEMORY`` only: smaller permutations are kept.

A shuffle of ``0 … size-1`` is a permutation, and so is a block cipher: this is a Feistel network
over a grid with room for `size` values. A place is a cell (row, column) of the grid; every round
moves the one coordinate, around its end, by a keyed hash of the other, which can be undone, so no
two places ever meet::

    column += hash(row, key 0) · row += hash(column, key 1) · column += hash(row, key 2) …

The grid is as square as can be and hardly larger than `size`. A place that comes out in a cell
past the end goes through the network again until it does not ("cycle walking"), which keeps it a
permutation. Integers alone are calculated with: it is the same on every machine, for ever.

Eight rounds: six make a Feistel network of perfect hashes a perfect shuffle, and two are spare.
The tests of ``benchmarks/growth`` tell five rounds from chance in a shuffle of millions, no longer
six. In one of 16 even eight leave a trace (4 σ in 100,000 groups), which only a "block" shuffle of
blocks of two samples could show.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROUNDS = 8
# Odd numbers whose products spread every bit: of the golden ratio, and of SplitMix64.
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_HALF = np.uint64(32)


class IndexShuffle:
    """Many shuffles of up to `size` values, one for each number; most users need only number 0.

    Parameters
    ----------
    size
        How many values there are, at least 1 and below 2^62.
    key
        Non-negative whole numbers; every key gives shuffles of its own.
    rounds
        Of the network.

    Examples
    --------
    >>> shuffle = IndexShuffle(6, key=(0, 0))
    >>> shuffle(np.arange(6)).tolist(), shuffle(np.array([4])).tolist()
    ([5, 0, 4, 3, 2, 1], [2])
    """

    def __init__(self, size: int, key: tuple[int, ...], *, rounds: int = ROUNDS) -> None:
        columns = math.isqrt(max(0, size - 1)) + 1
        self._size = np.int64(size)
        self._columns = np.uint64(columns)
        self._rows = np.uint64(-(-size // columns))
        self._keys = np.random.SeedSequence(key).generate_state(rounds, np.uint64)

    def __call__(
        self,
        places: NDArray[np.int64],
        *,
        sizes: NDArray[np.int64] | None = None,
        number: NDArray[np.int64] | None = None,
    ) -> NDArray[np.int64]:
        """Look values up.

        Parameters
        ----------
        places
            (n,), each at least 0 and below its shuffle's size.
        sizes
            (n,) of the shuffle that a place belongs to, at most `size`, which it is by default.
        number
            (n,) of the shuffle that a place belongs to; 0 by default.

        Returns
        -------
        (n,) int64
        """
        limits = np.broadcast_to(self._size if sizes is None else sizes, places.shape)
        keys = np.zeros(1, np.uint64) if number is None else _mixed(number.astype(np.uint64))
        keys = np.broadcast_to(keys, places.shape)
        values = self._through(places.astype(np.uint64), keys)
        while (astray := np.flatnonzero(values >= limits)).size:
            values[astray] = self._through(values[astray].astype(np.uint64), keys[astray])
        return values

    def _through(self, cells: NDArray[np.uint64], numbers: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Take cells through the network once."""
        row, column = np.divmod(cells, self._columns)
        moving, fixed, extent, other = column, row, self._columns, self._rows
        for key in self._keys:
            moving += _below(extent, _mixed(fixed ^ (numbers ^ key)))
            np.minimum(moving, moving - extent, out=moving)  # below 0 is far above: around the end
            moving, fixed, extent, other = fixed, moving, other, extent
        row *= self._columns
        row += column
        return row.astype(np.int64)


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hash words; the upper half of each result is the better one."""
    mixed = words * _SPREAD
    mixed ^= mixed >> _HALF
    mixed *= _MIX
    return mixed


def _below(extent: np.uint64, words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scale the upper halves of words to ``0 … extent-1``, in place."""
    words >>= _HALF
    words *= extent
    words >>= _HALF
    return words
