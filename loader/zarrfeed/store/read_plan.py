"""Which chunks does a batch need, and where does each sample land?

A plan is data: arrays that say what to read. It knows no store and no file; the reader turns it
into reads. Reads stand in storage order (shard, chunk, row), because neighbours on disk are
cheap to read together, while each lands in the batch row that the epoch's order gave it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Reads:
    """The reads of one batch on one chunk grid: parallel arrays in storage order.

    Attributes
    ----------
    sample
        (b,) int64: the sample id.
    shard
        (b,) int64: which shard, counted along axis 0.
    chunk
        (b,) int64: which chunk within its shard.
    row
        (b,) int64: which sample within its chunk.
    land
        (b,) int64: the batch row that it is for; a permutation of ``0 … b-1``.
    """

    sample: NDArray[np.int64]
    shard: NDArray[np.int64]
    chunk: NDArray[np.int64]
    row: NDArray[np.int64]
    land: NDArray[np.int64]

    def where(self, keep: NDArray[np.bool_]) -> Reads:
        """Select some of the reads.

        Parameters
        ----------
        keep
            (b,) which.
        """
        return Reads(
            sample=self.sample[keep],
            shard=self.shard[keep],
            chunk=self.chunk[keep],
            row=self.row[keep],
            land=self.land[keep],
        )


def plan_reads(ids: NDArray[np.int64], *, chunk_rows: int, shard_rows: int) -> Reads:
    """Plan the reads of a batch.

    Parameters
    ----------
    ids
        (b,) sample ids in batch order.
    chunk_rows, shard_rows
        Samples per chunk and per shard; `shard_rows` is a multiple of `chunk_rows`.

    Examples
    --------
    >>> reads = plan_reads(np.array([5, 0, 4]), chunk_rows=2, shard_rows=4)
    >>> reads.sample.tolist(), reads.land.tolist()
    ([0, 4, 5], [1, 2, 0])
    >>> reads.shard.tolist(), reads.chunk.tolist(), reads.row.tolist()
    ([0, 1, 1], [0, 0, 0], [0, 0, 1])
    """
    land = np.argsort(ids, kind="stable")
    sample = ids[land]
    shard, within = np.divmod(sample, shard_rows)
    chunk, row = np.divmod(within, chunk_rows)
    return Reads(sample=sample, shard=shard, chunk=chunk, row=row, land=land)
