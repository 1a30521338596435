"""Which chunks does a batch need, and into which row does each sample go?

A plan consists of arrays that say what to read. It knows neither stores nor files. Reads are sorted
by their position in storage (shard, chunk, row), because neighbours on disk are cheap to read
together; `land` gives the batch row of each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Reads:
    """The reads of one batch on one chunk grid: parallel arrays in storage order.

    Attributes
    ----------
    shard
        (b,) int64: number of the shard along axis 0.
    chunk
        (b,) int64: number of the chunk within its shard.
    row
        (b,) int64: number of the sample within its chunk.
    land
        (b,) int64: the batch row to fill; a permutation of ``0 … b-1`` unless the plan says where
        its samples land.
    """

    shard: NDArray[np.int64]
    chunk: NDArray[np.int64]
    row: NDArray[np.int64]
    land: NDArray[np.int64]

    def where(self, keep: NDArray[np.bool_]) -> Reads:
        """Select some of the reads.

        Parameters
        ----------
        keep
            (b,) bool: the reads to keep.
        """
        return Reads(self.shard[keep], self.chunk[keep], self.row[keep], self.land[keep])


class ReadPlan:
    """The reads of one batch, planned once per chunk grid even if several fields share the grid.

    Parameters
    ----------
    ids
        (b,) sample ids in batch order.
    land
        (b,) int64: the batch row of each; None if they are all rows of a batch, in order. Several
        plans then fill one batch, such as those of the stores of a mix.

    Examples
    --------
    >>> plan = ReadPlan(np.array([5, 0, 4]))
    >>> reads = plan.on(chunk_rows=2, shard_rows=4)
    >>> reads.shard.tolist(), reads.chunk.tolist(), reads.row.tolist()
    ([0, 1, 1], [0, 0, 0], [0, 0, 1])
    >>> reads.land.tolist()
    [1, 2, 0]
    >>> ReadPlan(plan.ids, np.array([3, 5, 6])).on(chunk_rows=2, shard_rows=4).land.tolist()
    [5, 6, 3]
    """

    def __init__(self, ids: NDArray[np.int64], land: NDArray[np.int64] | None = None) -> None:
        self.ids = ids
        self.land = land
        self._reads: dict[tuple[int, int], Reads] = {}
        self._derived: dict[Hashable, ReadPlan] = {}

    def derived(self, key: Hashable, make: Callable[[], ReadPlan]) -> ReadPlan:
        """Return the plan of the same samples on other rows, which fields of equal `key` share."""
        if key not in self._derived:
            self._derived[key] = make()
        return self._derived[key]

    def on(self, *, chunk_rows: int, shard_rows: int) -> Reads:
        """Return the reads on a chunk grid.

        Parameters
        ----------
        chunk_rows, shard_rows
            Samples per chunk and per shard; `shard_rows` is a multiple of `chunk_rows`.
        """
        grid = chunk_rows, shard_rows
        if grid not in self._reads:
            order = np.argsort(self.ids, kind="stable")
            shard, within = np.divmod(self.ids[order], shard_rows)
            chunk, row = np.divmod(within, chunk_rows)
            land = order if self.land is None else self.land[order]
            self._reads[grid] = Reads(shard, chunk, row, land)
        return self._reads[grid]
