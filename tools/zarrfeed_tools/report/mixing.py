"""How are the numbers of several tiles, or of several channels, made one number of 64 bits?

Pure. Equal numbers in equal order give equal results; others give the same by chance only, one pair
in 2**64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]

# The finalizer of splitmix64 (Steele, Lea and Flood, 2014).
_STEP, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def mixed(words: Words) -> Words:
    """Spread every bit of numbers over all 64, one to one.

    Examples
    --------
    >>> [f"{word:016x}" for word in mixed(np.arange(2, dtype=np.uint64)).tolist()]
    ['e220a8397b1dcdaf', '910a2dec89025cc1']
    """
    words = words + np.uint64(_STEP)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(_FIRST)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(_SECOND)
    return words ^ (words >> np.uint64(31))


def mixed_columns(columns: NDArray[Any]) -> Words:
    """Make one number of each row.

    Parameters
    ----------
    columns
        (n, k) numbers of 64 bits.

    Returns
    -------
    (n,) uint64
    """
    words = np.ascontiguousarray(columns).view(np.uint64)
    found = np.zeros(len(words), np.uint64)
    for column in words.T:
        found = mixed(found ^ mixed(column))
    return found


def at_places(words: Words, places: NDArray[np.int64]) -> Words:
    """Mix numbers with their places, so that their sum depends on their order.

    Parameters
    ----------
    words, places
        (n,) numbers, and where each is among those with which it is summed.
    """
    return mixed(words ^ mixed(places.astype(np.uint64)))
