"""Which value is at a given place of a shuffle? Computed for that place alone, without memory.

Only used for more samples than ``shuffle.IN_MEMORY``; smaller permutations are kept.

A shuffle of ``0 … size-1`` is a permutation, and so is a block cipher. This one is a Feistel
network over a grid with room for `size` values. A place is a cell (row, column) of the grid. Every
round adds a keyed hash of one coordinate to the other, modulo its extent. Rounds can be undone, so
that no two places get the same value::

    column += hash(row, key 0) · row += hash(column, key 1) · column += hash(row, key 2) …

The grid is as square as possible and hardly larger than `size`. A place that ends in a cell past
`size` goes through the network again until it does not ("cycle walking"), which keeps the result a
permutation. Only integers are used, so that the result is the same on every machine and in every
version.

There are eight rounds: six make a Feistel network of perfect hashes a perfect shuffle, and two are
in reserve. The tests of ``benchmarks/growth`` distinguish five rounds from chance in a shuffle of
millions of values, but not six. In a shuffle of 16 values even eight rounds leave a trace (4 σ in
100,000 groups), which could only show in a "block" shuffle with blocks of two samples.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROUNDS = 8
# Odd multipliers that spread every bit: from the golden ratio, and from SplitMix64.
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_HALF = np.uint64(32)


class IndexShuffle:
    """A family of shuffles of up to `size` values, identified by a number; the default is number 0.

    Parameters
    ----------
    size
        Number of values, at least 1 and below 2^62.
    key
        Non-negative integers. Every key gives different shuffles.
    rounds
        Number of rounds of the network.

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
        """Return the values at some places.

        Parameters
        ----------
        places
            (n,) int64, each at least 0 and below the size of its shuffle.
        sizes
            (n,) int64: size of each place's shuffle, at most `size`. By default, `size`.
        number
            (n,) int64: number of each place's shuffle. By default, 0.

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
        """Apply all rounds of the network once."""
        row, column = np.divmod(cells, self._columns)
        moving, fixed, extent, other = column, row, self._columns, self._rows
        for key in self._keys:
            moving += _below(extent, _mixed(fixed ^ (numbers ^ key)))
            # Modulo extent: unsigned numbers below 0 wrap around to very large ones.
            np.minimum(moving, moving - extent, out=moving)
            moving, fixed, extent, other = fixed, moving, other, extent
        row *= self._columns
        row += column
        return row.astype(np.int64)


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hash words. The upper half of each result is the better hash."""
    mixed = words * _SPREAD
    mixed ^= mixed >> _HALF
    mixed *= _MIX
    return mixed


def _below(extent: np.uint64, words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scale the upper half of each word to ``0 … extent-1``, in place."""
    words >>= _HALF
    words *= extent
    words >>= _HALF
    return words
