"""In which order does an epoch visit the samples?

Pure functions from (size, seed, epoch, rank) to positions ``0 … size-1``. They know no store, no
worker and no Keras, so an order can be computed anywhere, by anyone, and be the same.

Only NumPy streams with a compatibility guarantee are used (NEP 19): ``SeedSequence`` and the raw
words of a bit generator are frozen, while ``Generator.permutation`` may change between releases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Blocks that are mixed with each other in a "block" order: enough that no two epochs bring the
# same neighbours together, few enough that they fit the page cache.
BLOCKS_MIXED = 8


def permutation(size: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """Shuffle ``0 … size-1`` globally.

    Parameters
    ----------
    size
        How many positions there are.
    seed, epoch
        Non-negative; every pair gives an order of its own.

    Returns
    -------
    (size,) int64
        Each position exactly once: the stable argsort of `size` raw 64-bit Philox words.

    Examples
    --------
    >>> permutation(6, seed=0, epoch=0).tolist()
    [0, 3, 5, 1, 2, 4]
    """
    return _shuffled(size, seed, epoch)


def block_permutation(size: int, *, block: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Shuffle ``0 … size-1`` so that neighbours in storage stay near each other in time.

    Blocks of `block` neighbouring positions are visited in random order, `BLOCKS_MIXED` at a time,
    and the positions of each such group are shuffled together. A cold or remote store is then
    read a few blocks at a time instead of all over.

    Parameters
    ----------
    size
        How many positions there are.
    block
        Neighbouring positions that stay together, at least 1; the last block may be shorter.
    seed, epoch
        As in :func:`permutation`.

    Returns
    -------
    (size,) int64
        Each position exactly once.
    """
    blocks = -(-size // block)
    visit_of_block = np.empty(blocks, np.int64)
    visit_of_block[_shuffled(blocks, seed, epoch, 1)] = np.arange(blocks)
    group = visit_of_block[np.arange(size) // block] // BLOCKS_MIXED
    shuffled = _shuffled(size, seed, epoch)
    return shuffled[np.argsort(group[shuffled], kind="stable")]


def rank_share(order: NDArray[np.int64], *, rank: int, world_size: int) -> NDArray[np.int64]:
    """Take one rank's share of a global order.

    Parameters
    ----------
    order
        (n,) the whole epoch, the same on every rank.
    rank, world_size
        ``0 <= rank < world_size``.

    Returns
    -------
    (n // world_size,)
        Every `world_size`-th position, from `rank` on. Shares are disjoint and equally long, so
        that no rank waits for another; the last ``n % world_size`` positions of the order belong
        to nobody in this epoch.

    Examples
    --------
    >>> rank_share(np.array([3, 0, 4, 1, 2]), rank=1, world_size=2).tolist()
    [0, 1]
    """
    return order[: order.size - order.size % world_size][rank::world_size]


def _shuffled(size: int, *key: int) -> NDArray[np.int64]:
    words = np.random.Philox(np.random.SeedSequence(key)).random_raw(size)
    return np.argsort(words, kind="stable").astype(np.int64, copy=False)
