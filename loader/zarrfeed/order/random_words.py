"""Random numbers at any place of a sequence, computed for that place alone.

SplitMix64 (Steele, Lea and Flood: Fast splittable pseudorandom number generators, OOPSLA 2014)
hashes a counter, so that draw j needs none of the draws before it. Only integers are used: the
numbers are the same on every machine and in every version of NumPy.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class Purpose(IntEnum):
    """What random words are for, as a part of their key, so that no two draws use the same ones.

    Batches depend on these numbers: a purpose never gets another one.
    """

    PLACE = 0  # of a random patch
    CASE = 1  # of successive random patches
    ORIENTATION = 3  # of a patch
    GRID_ORIGIN = 4  # of a grid of patches, per case
    SAMPLES = 5  # the order of samples, on the line along which they are drawn
    STORE = 6  # the seed of a store of a mix


_GAMMA = 0x9E3779B97F4A7C15
_SHIFTS = np.uint64(30), np.uint64(27), np.uint64(31)
_MULTIPLIERS = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def random_words(key: tuple[int, ...], counters: ArrayLike, count: int) -> NDArray[np.uint64]:
    """Return random words for each of some counters.

    Parameters
    ----------
    key
        Non-negative integers, such as (seed, epoch, :class:`Purpose`). Every key gives other words.
    counters
        (n,) integers, at least 0.
    count
        Number of words per counter.

    Returns
    -------
    (n, count) uint64
        Words ``count × counter`` and following of the generator that `key` seeds.

    Examples
    --------
    >>> random_words((0, 0), [5], 2).tolist() == random_words((0, 0), [4, 5], 2)[1:].tolist()
    True
    """
    [state] = np.random.SeedSequence(key).generate_state(1, np.uint64)
    steps = np.arange(1, count + 1, dtype=np.uint64)
    places = np.asarray(counters).astype(np.uint64)[:, None] * np.uint64(count) + steps
    words: NDArray[np.uint64] = state + places * np.uint64(_GAMMA)
    words ^= words >> _SHIFTS[0]
    words *= _MULTIPLIERS[0]
    words ^= words >> _SHIFTS[1]
    words *= _MULTIPLIERS[1]
    words ^= words >> _SHIFTS[2]
    return words


def below(words: NDArray[np.uint64], limits: ArrayLike) -> NDArray[np.int64]:
    """Turn words into integers from 0 to ``limits - 1``, nearly uniform: off by limit / 2^64.

    Examples
    --------
    >>> below(np.array([7, 8], np.uint64), [5, 2]).tolist()
    [2, 0]
    """
    return (words % np.asarray(limits).astype(np.uint64)).astype(np.int64)
