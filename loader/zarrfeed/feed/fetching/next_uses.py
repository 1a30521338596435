"""When is each block used next by a reader that goes through its batches in order?

Pure. The uses of a reader come in chunks, batch by batch, as far ahead as they are known::

    batch       0  0  1  1  2  2  …
    block       5  7  7  2  5  9  …
    following   2  1  …             the batch that uses the same block next

Two places move through them: where the reader is, and how far fetches have been planned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEVER = np.iinfo(np.int64).max // 4  # so that sums of it with places fit int64


def following_uses(batch: NDArray[np.int64], block: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return which batch uses the same block next.

    Parameters
    ----------
    batch
        (n,) int64, ascending.
    block
        (n,) int64: the blocks that the batches use.

    Returns
    -------
    (n,) int64
        ``NEVER`` for the last use of a block.

    Examples
    --------
    >>> import numpy as np
    >>> following_uses(np.array([0, 0, 1]), np.array([5, 7, 7]))[1]
    np.int64(1)
    """
    following = np.full(batch.size, NEVER)
    order = np.argsort(block, kind="stable")
    same = block[order[1:]] == block[order[:-1]]
    following[order[:-1][same]] = batch[order[1:][same]]
    return following


class _Place:
    """A place in the order of uses, and the next use of every block from there on."""

    def __init__(self, batch: int, blocks: int) -> None:
        self.batch = batch
        self.use = 0  # number of uses before it, of those that are kept
        self.next = np.full(blocks, NEVER)


class NextUses:
    """The uses of one reader.

    Parameters
    ----------
    blocks
        Number of blocks that there are.
    batch
        The batch at which the reader is.

    Attributes
    ----------
    known
        The first batch whose uses are not known yet.
    """

    def __init__(self, blocks: int, batch: int = 0) -> None:
        self.known = batch
        self._reader, self._planner = _Place(batch, blocks), _Place(batch, blocks)
        self._batch = np.empty(0, np.int64)
        self._block = np.empty(0, np.int64)
        self._following = np.empty(0, np.int64)

    @property
    def position(self) -> int:
        """The batch at which the reader is."""
        return self._reader.batch

    @property
    def planned(self) -> int:
        """The first batch that has not been planned."""
        return self._planner.batch

    @property
    def nbytes(self) -> int:
        """Memory of the uses that are kept."""
        return self._batch.nbytes * 3 + self._reader.next.nbytes * 2

    def grow(self, blocks: int) -> None:
        """Make room for more blocks, none of which has been used so far."""
        for place in (self._reader, self._planner):
            new = np.full(blocks - place.next.size, NEVER)
            place.next = np.concatenate((place.next, new))

    def append(self, batch: NDArray[np.int64], block: NDArray[np.int64], known: int) -> None:
        """Add what the next batches use.

        Parameters
        ----------
        batch, block
            (n,) int64 each: uses in the order of batches, each block once per batch; all of
            batches from `known` on.
        known
            The first batch after them.
        """
        following = following_uses(batch, block)
        first: NDArray[np.int64] = np.full(self._reader.next.size, NEVER)
        first[block[::-1]] = batch[::-1]
        last = self._following == NEVER
        self._following[last] = first[self._block[last]]
        for place in (self._reader, self._planner):
            np.copyto(place.next, first, where=place.next == NEVER)
        self._batch = np.concatenate((self._batch, batch))
        self._block = np.concatenate((self._block, block))
        self._following = np.concatenate((self._following, following))
        self.known = known

    def advance(self, batch: int) -> None:
        """Move the reader forward; what has not been planned until there never will be."""
        self._pass(self._reader, batch)
        if self._planner.batch < batch:
            self._pass(self._planner, batch)
        passed = self._reader.use
        if passed > self._batch.size // 2:  # copies each use once, on average
            self._batch, self._block = self._batch[passed:].copy(), self._block[passed:].copy()
            self._following = self._following[passed:].copy()
            self._reader.use, self._planner.use = 0, self._planner.use - passed

    def plan_batch(self) -> NDArray[np.int64]:
        """Return the blocks of the next batch to be planned, and move on."""
        before = self._planner.use
        self._pass(self._planner, self._planner.batch + 1)
        return self._block[before : self._planner.use]

    def plan_again(self) -> None:
        """Plan again from the reader's place on."""
        reader, planner = self._reader, self._planner
        planner.batch, planner.use, planner.next = reader.batch, reader.use, reader.next.copy()

    def after_plan(self, blocks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the first use of each of (n,) blocks that has not been planned."""
        return self._planner.next[blocks]

    def after_reader(self, blocks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the next use of each of (n,) blocks from the reader's place on."""
        return self._reader.next[blocks]

    def widest(self, window: int, nbytes: NDArray[np.int64], *, since: int = 0) -> int:
        """Return the largest number of bytes that some successive known batches use together.

        Parameters
        ----------
        window
            Number of successive batches.
        nbytes
            (blocks,) int64: size of each block.
        since
            The batch from which on batches are looked at.
        """
        start = int(np.searchsorted(self._batch, since))
        batch, block = self._batch[start:], self._block[start:]
        if not batch.size:
            return 0
        first = int(batch[0])
        before = np.full(batch.size, -NEVER)  # the batch that used the same block last
        order = np.argsort(block, kind="stable")
        same = block[order[1:]] == block[order[:-1]]
        before[order[1:][same]] = batch[order[:-1][same]]
        # A use counts for the windows that begin after the previous one, up to itself.
        begin = np.maximum(before + 1, batch - window + 1).clip(first)
        change = np.zeros(self.known - first + 1, np.int64)
        np.add.at(change, begin - first, nbytes[block])
        np.subtract.at(change, batch - first + 1, nbytes[block])
        return int(np.cumsum(change).max())

    def _pass(self, place: _Place, batch: int) -> None:
        stop = int(np.searchsorted(self._batch, batch))
        passed = slice(place.use, max(stop, place.use))
        # Of a block that occurs several times, the last one counts.
        place.next[self._block[passed]] = self._following[passed]
        place.batch, place.use = batch, passed.stop
