"""In which order does a "block" shuffle visit more samples than fit in memory?

Places in the order are divided into groups of blocks, and the samples of a group are shuffled
together. Only the order of the blocks is kept in memory, by the caller::

    places  | group 0: 8 blocks | group 1: 7 blocks and the short one | group 2 … |
    values  | of blocks 5 0 7 … | of blocks 9 4 … and the last        | …         |

A last block that is shorter than the others is put at the end of its group, so that arithmetic
alone gives the group of a place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.order.large_shuffle import IndexShuffle

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


class BlockOrder:
    """The order of one epoch.

    Parameters
    ----------
    size
        Number of samples, at least 1.
    block
        Number of neighbouring samples in a block.
    mixed
        Number of blocks in a group.
    key
        Non-negative integers. Every key gives a different order.
    visit
        The order of all blocks but the last: maps (n,) int64 turns to (n,) int64 block numbers.
    """

    def __init__(
        self,
        size: int,
        *,
        block: int,
        mixed: int,
        key: tuple[int, ...],
        visit: Callable[[NDArray[np.int64]], NDArray[np.int64]],
    ) -> None:
        self._block = block
        self._mixed = mixed
        self._visit = visit
        self._last = -(-size // block) - 1
        self._missing = (self._last + 1) * block - size  # samples that the last block lacks
        word = int(np.random.SeedSequence((*key, 1)).generate_state(1, np.uint64)[0])
        self._short = word % (self._last + 1) // mixed  # group of the last block
        self._turn = min(self._short * mixed + mixed - 1, self._last)  # turn of the last block
        self._within = IndexShuffle(block * mixed, (*key, 2))

    def __call__(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the samples at some places of the order.

        Parameters
        ----------
        places
            (n,) int64, from 0 to ``size - 1``.

        Returns
        -------
        (n,) int64
        """
        span = self._block * self._mixed
        behind = places >= (self._short + 1) * span - self._missing
        group, within = np.divmod(places + behind * self._missing, span)
        sizes = np.minimum(span, (self._last + 1) * self._block - group * span)
        sizes -= (group == self._short) * self._missing
        nth, row = np.divmod(self._within(within, sizes=sizes, number=group), self._block)
        turn = group * self._mixed + nth
        block = np.full_like(turn, self._last)
        others = turn != self._turn
        block[others] = self._visit(turn[others] - (turn[others] > self._turn))
        return block * self._block + row
