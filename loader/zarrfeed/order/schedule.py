"""Which samples are in batch i of epoch e?

Pure: the answer depends only on the fields of :class:`Schedule`, never on workers or history.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.order.shuffle import IN_MEMORY, Order, Shuffle, epoch_order, order_version

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from zarrfeed.arrays import Ids


def batch_count(samples: int, *, batch_size: int, drop_remainder: bool) -> int:
    """Count the batches of an epoch.

    Examples
    --------
    >>> batch_count(10, batch_size=4, drop_remainder=False)
    3
    >>> batch_count(10, batch_size=4, drop_remainder=True)
    2
    """
    return samples // batch_size if drop_remainder else -(-samples // batch_size)


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """The batches of every epoch.

    Attributes
    ----------
    ids
        (n,) int64, or a range: the sample ids to visit.
    batch_size
        Samples per batch, on this rank.
    shuffle
        True for a global shuffle, "block" for one that keeps storage neighbours near each other,
        False for the order of `ids`.
    block
        Samples per block of a "block" shuffle.
    seed
        Seed of the shuffle.
    drop_remainder
        Whether to leave out a last batch that is not full.
    rank, world_size
        The share of each epoch that this process reads: every `world_size`-th place of the global
        order, from `rank` on. Shares are disjoint and equally long, so that no rank waits for
        another. The last ``n % world_size`` places of the order are left out in this epoch.
    pad_remainder
        Whether to fill up the last batch of every rank, so that all batches of all ranks are full
        and no place of the order is left out. The rows after :meth:`real_rows` are padding: samples
        from the beginning of the epoch.
    in_memory
        Largest number of samples whose order is kept in memory.

    Examples
    --------
    >>> of = {"shuffle": True, "block": 1, "seed": 0, "drop_remainder": False}
    >>> second = Schedule(range(6), batch_size=2, **of, rank=1, world_size=2)
    >>> second.batch_ids(0, 0).tolist(), second.batch_ids(0, 1).tolist()
    ([3, 1], [4])
    >>> padded = Schedule(range(5), batch_size=2, **of, rank=1, world_size=2, pad_remainder=True)
    >>> padded.batch_ids(0, 1).tolist(), padded.real_rows(1)
    ([0, 1], 0)
    """

    ids: Ids
    batch_size: int
    shuffle: Shuffle
    block: int
    seed: int
    drop_remainder: bool
    rank: int
    world_size: int
    pad_remainder: bool = False
    in_memory: int = IN_MEMORY
    _order: Callable[[int], Order] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        order = partial(
            epoch_order,
            len(self.ids),
            shuffle=self.shuffle,
            block=self.block,
            seed=self.seed,
            in_memory=self.in_memory,
        )
        # Two epochs, because reading of the next one begins before this one ends.
        cached = lru_cache(maxsize=2)(lambda epoch: order(epoch=epoch))
        object.__setattr__(self, "_order", cached)

    @property
    def samples(self) -> int:
        """Number of samples of this rank, before a remainder is dropped and without padding."""
        if self.pad_remainder:
            return len(range(self.rank, len(self.ids), self.world_size))
        return len(self.ids) // self.world_size

    @property
    def batches(self) -> int:
        """Number of batches per epoch, equal on all ranks."""
        largest = -(-len(self.ids) // self.world_size) if self.pad_remainder else self.samples
        return batch_count(largest, batch_size=self.batch_size, drop_remainder=self.drop_remainder)

    @property
    def left_out(self) -> int:
        """Number of samples that no rank reads in an epoch."""
        if self.pad_remainder:
            return 0
        seen = self.batches * self.batch_size if self.drop_remainder else self.samples
        return len(self.ids) - seen * self.world_size

    @property
    def order_version(self) -> int:
        """Version of the rule that computes the order."""
        return order_version(len(self.ids), shuffle=self.shuffle, in_memory=self.in_memory)

    def batch_ids(self, epoch: int, batch: int) -> NDArray[np.int64]:
        """Return the sample ids of one batch of this rank.

        Parameters
        ----------
        epoch
            Number of the epoch, from 0 on.
        batch
            Number of the batch, from 0 to `batches` - 1.

        Returns
        -------
        (b,) int64
        """
        rows = self.rows(batch)
        places = np.arange(rows.start, rows.stop) * self.world_size + self.rank
        if self.pad_remainder:
            places %= len(self.ids)
        found = self._order(epoch)(places)
        if isinstance(self.ids, range):
            return self.ids.start + self.ids.step * found
        return self.ids[found]

    def rows(self, batch: int) -> slice:
        """Return the part of this rank's share of an epoch that a batch is, padding included."""
        start = batch * self.batch_size
        stop = start + self.batch_size
        return slice(start, stop if self.pad_remainder else min(stop, self.samples))

    def real_rows(self, batch: int) -> int:
        """Return the number of rows of a batch that are not padding. They come first."""
        return max(0, min(self.batch_size, self.samples - batch * self.batch_size))
