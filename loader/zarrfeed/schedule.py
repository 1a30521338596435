"""Which samples make batch i of epoch e?

Pure: the answer depends on the fields of :class:`Schedule` alone, never on workers or history.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from zarrfeed.order import block_permutation, permutation, rank_share
from zarrfeed.plan import batch_count

if TYPE_CHECKING:
    from numpy.typing import NDArray

Shuffle: TypeAlias = bool | Literal["block"]


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """The batches of every epoch.

    Attributes
    ----------
    ids
        (n,) int64: the sample ids to visit.
    batch_size
        Samples per batch, on this rank.
    shuffle
        True for a global shuffle, "block" for one that keeps storage neighbours near each other,
        False for the order of `ids`.
    block
        Samples per block of a "block" shuffle.
    seed
        Of the shuffle.
    drop_remainder
        Leave out a last batch that is not full.
    rank, world_size
        Which share of each epoch is ours.
    """

    ids: NDArray[np.int64]
    batch_size: int
    shuffle: Shuffle
    block: int
    seed: int
    drop_remainder: bool
    rank: int
    world_size: int

    @property
    def samples(self) -> int:
        """Samples of this rank's share, before a remainder is dropped."""
        return self.ids.size // self.world_size

    @property
    def batches(self) -> int:
        """Batches per epoch on this rank."""
        return batch_count(
            self.samples, batch_size=self.batch_size, drop_remainder=self.drop_remainder
        )

    def epoch_ids(self, epoch: int) -> NDArray[np.int64]:
        """List this rank's sample ids of an epoch, in the order of visiting.

        Returns
        -------
        (samples,) int64
        """
        if self.shuffle is False:
            order = np.arange(self.ids.size)
        elif self.shuffle is True:
            order = permutation(self.ids.size, seed=self.seed, epoch=epoch)
        else:
            order = block_permutation(self.ids.size, block=self.block, seed=self.seed, epoch=epoch)
        return self.ids[rank_share(order, rank=self.rank, world_size=self.world_size)]

    def rows(self, batch: int) -> slice:
        """Where batch number `batch` stands in :meth:`epoch_ids`."""
        start = batch * self.batch_size
        return slice(start, min(start + self.batch_size, self.samples))
