"""Which places of an epoch are a batch of a rank?

The places of an epoch are dealt from the first to the last. Batch k takes the next ``batch_size ×
world_size`` of them, an equal part for each rank. A run that was continued with another number of
ranks or another batch size has dealt some places in other batches; the rest of the epoch is dealt
as if it were an epoch::

    places   0 … start - 1        start … length - 1
             dealt before      |  batch `first`  |  batch `first` + 1  | … |  last batch  |

Batches are numbered so that the last one has the same number as in every other epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class BatchGrid:
    """The batches of one epoch, or of the rest of one.

    Attributes
    ----------
    length
        Number of places of the epoch, over all ranks.
    batch_size, drop_remainder, pad_remainder, rank, world_size
        See :class:`zarrfeed.order.schedule.Schedule`.
    runs
        Whether a rank's part of a batch is a run of successive places, instead of every
        `world_size`-th one.
    start
        The first place that is not dealt yet.
    first
        Number of the batch that begins there.

    Examples
    --------
    Two ranks of batches of 2 have dealt one batch; three ranks deal the other 18 places:

    >>> epoch = BatchGrid(22, 2, drop_remainder=False, pad_remainder=False, runs=False)
    >>> two = replace(epoch, rank=1, world_size=2)
    >>> two.places(0).tolist(), two.count
    ([1, 3], 6)
    >>> three = replace(epoch, rank=1, world_size=3).rest(4)
    >>> three.places(three.first).tolist(), three.first, three.count
    ([5, 8], 1, 3)
    """

    length: int
    batch_size: int
    drop_remainder: bool
    pad_remainder: bool
    runs: bool
    rank: int = 0
    world_size: int = 1
    start: int = 0
    first: int = 0

    def rest(self, place: int) -> BatchGrid:
        """Return the batches of the places from `place` on."""
        rest = replace(self, start=place, first=0)
        return replace(rest, first=self.first + self.count - rest.count)

    @property
    def count(self) -> int:
        """Number of batches from `first` on, equal on all ranks."""
        if self.pad_remainder:
            return -(-self._left // self.dealt)
        share = self._left // self.world_size
        return share // self.batch_size if self.drop_remainder else -(-share // self.batch_size)

    @property
    def samples(self) -> int:
        """Number of places of this rank, before a remainder is dropped and without padding."""
        if not self.pad_remainder:
            return self._left // self.world_size
        if not self.runs:
            return len(range(self.rank, self._left, self.world_size))
        rounds, rest = divmod(self._left, self.dealt)
        before = self._run(self.first + rounds) * self.batch_size
        return rounds * self.batch_size + min(self.batch_size, max(0, rest - before))

    @property
    def left_out(self) -> int:
        """Number of places from `start` on that no rank gets."""
        if self.pad_remainder:
            return 0
        share = self.count * self.batch_size if self.drop_remainder else self.samples
        return self._left - share * self.world_size

    @property
    def dealt(self) -> int:
        """Number of places that a full batch of all ranks takes."""
        return self.batch_size * self.world_size

    @property
    def shifted(self) -> bool:
        """Whether the batches lie elsewhere than those of a whole epoch."""
        return self.start != self.first * self.dealt

    @property
    def numbers(self) -> range:
        """Numbers of the batches; those before `first` exist only if they were the same ones."""
        return range(self.first if self.shifted else 0, self.first + self.count)

    def place(self, batch: int) -> int:
        """Return the first place of a batch of all ranks."""
        return self.start + (batch - self.first) * self.dealt

    def rows(self, batch: int) -> slice:
        """Return which part of this rank's places a batch is, padding included."""
        start = (batch - self.first) * self.batch_size
        stop = start + self.batch_size
        return slice(start, stop if self.pad_remainder else min(stop, self.samples))

    def real_rows(self, batch: int) -> int:
        """Return the number of rows of a batch that are not padding. They come first."""
        before = (batch - self.first) * self.batch_size
        return max(0, min(self.batch_size, self.samples - before))

    def places(self, batch: int) -> NDArray[np.int64]:
        """Return the places of one batch of this rank.

        Returns
        -------
        (b,) int64
        """
        rows = self.rows(batch)
        if self.runs:
            size = rows.stop - rows.start
            first = rows.start * self.world_size + self._run(batch) * size
            places = self.start + np.arange(first, first + size)
        else:
            places = self.start + np.arange(rows.start, rows.stop) * self.world_size + self.rank
        if self.pad_remainder:
            places %= self.length
        return places

    @property
    def _left(self) -> int:
        return self.length - self.start

    def _run(self, batch: int) -> int:
        """Return which run of successive places this rank gets among those of all ranks.

        Another one each time, or a share of classes could fall to the same rank again and again.
        """
        return (self.rank + batch) % self.world_size
