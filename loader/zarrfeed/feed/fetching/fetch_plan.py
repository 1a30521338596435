"""Which blocks are fetched next, and which go for them?

Pure. Without a limit: what is missing, in the order of use. With a limit, the plan goes through the
uses ahead of the readers and does what Belady's algorithm would do at each batch: for a block that
is missing, the one goes whose next use is furthest. Each such exchange is made as soon as it does
no harm, that is when no reader needs the block that goes before the one that comes. So as many
bytes are fetched as by the best of all orders, and still early. (Cao et al., "A study of integrated
prefetching and caching strategies", 1995, call this the conservative strategy.)
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from zarrfeed.feed.fetching.next_uses import NEVER
from zarrfeed.feed.fetching.readers import Readers

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from numpy.typing import NDArray

    from zarrfeed.feed.fetching.next_uses import NextUses
    from zarrfeed.feed.fetching.readers import Reader

_NONE = np.empty(0, np.int64)


class Fetch(NamedTuple):
    """What is to be done now.

    Attributes
    ----------
    blocks
        (n,) int64: blocks to fetch, in this order.
    evicted
        (m,) int64: blocks that go first.
    """

    blocks: NDArray[np.int64]
    evicted: NDArray[np.int64]


class _Exchange(NamedTuple):
    """What Belady's algorithm would do for a batch, at the time when the batch is due."""

    reader: Reader
    batch: int
    blocks: NDArray[np.int64]
    victims: list[int]

    @property
    def time(self) -> int:
        return self.batch + self.reader.offset

    @property
    def overdue(self) -> bool:
        return self.batch < self.reader.uses.position


class FetchPlan:
    """Decides about the blocks of all mirrors of a cache.

    Parameters
    ----------
    limit
        Largest number of bytes that are there or coming; None for no limit.

    Attributes
    ----------
    present, coming
        (blocks,) bool: what is there, and what has been ordered.
    taken
        Number of bytes of both.
    """

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.nbytes = np.empty(0, np.int64)
        self.present = np.empty(0, np.bool_)
        self.coming = np.empty(0, np.bool_)
        self.taken = 0
        self._readers = Readers()
        # What is there when all exchanges have been made, and its size.
        self._kept = np.empty(0, np.bool_)
        self._kept_nbytes = 0
        self._exchanges: deque[_Exchange] = deque()
        self._furthest: list[tuple[int, int]] = []  # heap of (-time of next use, block)
        self._pinned: dict[Hashable, NDArray[np.int64]] = {}

    # -- what there is ----------------------------------------------------------------------------

    def add_blocks(self, nbytes: NDArray[np.int64], present: NDArray[np.bool_]) -> int:
        """Add blocks, and return the number of the first one."""
        first = self.nbytes.size
        self.nbytes = np.concatenate((self.nbytes, nbytes))
        self.present = np.concatenate((self.present, present))
        self.coming = np.concatenate((self.coming, np.zeros(nbytes.size, np.bool_)))
        self._kept = np.concatenate((self._kept, np.zeros(nbytes.size, np.bool_)))
        self.taken += int(nbytes[present].sum())
        self._readers.grow(self.nbytes.size)
        self.plan_again()
        return first

    def arrived(self, blocks: NDArray[np.int64]) -> None:
        """Note that blocks that were coming are there."""
        self.coming[blocks] = False
        self.present[blocks] = True

    def found(self, blocks: NDArray[np.int64]) -> None:
        """Note that blocks come, or are coming already, without having been decided."""
        blocks = blocks[~(self.present | self.coming)[blocks]]
        self.coming[blocks] = True
        self.taken += self._size(blocks)

    def failed(self, blocks: NDArray[np.int64]) -> None:
        """Note that blocks will not come."""
        blocks = blocks[self.coming[blocks]]
        self.coming[blocks] = False
        self.taken -= self._size(blocks)

    def gone(self, blocks: NDArray[np.int64]) -> None:
        """Note that blocks that were there are not any more, such as damaged ones."""
        blocks = blocks[self.present[blocks]]
        self.present[blocks] = False
        self.taken -= self._size(blocks)

    # -- who reads --------------------------------------------------------------------------------

    def add_reader(self, name: Hashable, uses: NextUses) -> None:
        """Add a reader. More uses may be appended to its uses later."""
        self._readers.add(name, uses)
        self.plan_again()

    def remove_reader(self, name: Hashable) -> None:
        """Remove a reader, if there is such a one."""
        if self._readers.remove(name):
            self.plan_again()

    def advance(self, name: Hashable, batch: int) -> None:
        """Note that a reader has gone on to a batch."""
        if self._readers.advance(name, batch):
            self.plan_again()

    @property
    def readers(self) -> tuple[Hashable, ...]:
        """Names of all readers."""
        return tuple(self._readers)

    def align(self, resting: Iterable[Hashable]) -> None:
        """Align readers anew by their places, as :meth:`.Readers.align`."""
        if self._readers.align(resting):
            self.plan_again()

    def set_limit(self, limit: int) -> None:
        """Change the limit."""
        if limit != self.limit:
            self.limit = limit
            self.plan_again()

    def pin(self, name: Hashable, blocks: NDArray[np.int64]) -> None:
        """Keep blocks that somebody waits for, or is about to read, instead of those before."""
        self._pinned[name] = blocks

    def unpin(self, name: Hashable) -> None:
        """Let blocks go again."""
        self._pinned.pop(name, None)

    def pin_only(self, name: Hashable, blocks: NDArray[np.int64]) -> None:
        """Keep these blocks, and let those of all others go."""
        self._pinned = {name: blocks}

    def plan_again(self) -> None:
        """Plan from the readers' places on, with what is there now."""
        self._exchanges.clear()
        self._kept = self.present | self.coming
        self._kept_nbytes = self.taken
        self._readers.plan_again()
        if self.limit is not None:
            kept = np.flatnonzero(self._kept)
            self._furthest = list(
                zip((-self._readers.due(kept)).tolist(), kept.tolist(), strict=True)
            )
            heapq.heapify(self._furthest)

    # -- what to do -------------------------------------------------------------------------------

    def due_by(self, blocks: NDArray[np.int64]) -> int | None:
        """Return the time until which blocks are needed; None if not all are known to be."""
        due = int(self._readers.due(blocks, from_place=True).max(initial=0))
        return due if due < NEVER else None

    def next_fetch(self, until: int = NEVER) -> Fetch | None:
        """Return the next blocks to fetch that readers will need.

        Parameters
        ----------
        until
            The time until which they are needed.

        Returns
        -------
        Fetch or None
            None if nothing is known to be needed, or nothing can go for it yet.
        """
        while self._exchanges or self._plan_batch():
            exchange = self._exchanges[0]
            if exchange.overdue:  # the reader has required what it needed
                self._exchanges.popleft()
                continue
            if exchange.time > until:
                return None
            missing = exchange.blocks[~(self.present | self.coming)[exchange.blocks]]
            evicted = self._make_room(missing, exchange)
            if evicted is None:
                return None
            self._exchanges.popleft()
            if missing.size:
                return self._ordered(missing, evicted, planned=exchange.victims)
        return None

    def require(self, blocks: NDArray[np.int64]) -> Fetch | None:
        """Return what to do for blocks that are needed at once.

        Parameters
        ----------
        blocks
            All blocks that are needed at the same time. They should be pinned.

        Returns
        -------
        Fetch or None
            None if everything that could go for them is pinned.
        """
        missing = blocks[~(self.present | self.coming)[blocks]]
        evicted = self._furthest_now(self._size(missing) - self._free(), -NEVER)
        if evicted is None:
            return None
        self._kept_nbytes += self._size(missing[~self._kept[missing]])
        self._kept[missing] = True
        self._push(missing)
        return self._ordered(missing, evicted)

    def rest_of(self, first: int, stop: int, most: int) -> Fetch | None:
        """Return blocks that are missing in a range of blocks, without a limit."""
        missing = np.flatnonzero(~(self.present | self.coming)[first:stop])[:most] + first
        return self._ordered(missing, _NONE) if missing.size and self.limit is None else None

    # -- Belady's algorithm, ahead of the readers -------------------------------------------------

    def _plan_batch(self) -> bool:
        """Plan the next batch; False if none is known."""
        reader = self._readers.next_to_plan()
        if reader is None:
            return False
        batch, blocks = reader.uses.planned, reader.uses.plan_batch()
        new = blocks[~self._kept[blocks]]
        if self.limit is None:
            self._kept[new] = True
            self._exchanges.append(_Exchange(reader, batch, new, []))
            return True
        victims = self._victims(self._size(new), set(blocks.tolist()))
        self._kept[new] = True
        self._kept_nbytes += self._size(new)
        self._push(blocks)
        self._exchanges.append(_Exchange(reader, batch, new, victims))
        return True

    def _victims(self, needed: int, batch: set[int]) -> list[int]:
        """Choose the blocks whose next uses are furthest, to make room for those of a batch."""
        victims: list[int] = []
        aside: list[tuple[int, int]] = []
        assert self.limit is not None
        while self._kept_nbytes + needed > self.limit and self._furthest:
            entry = heapq.heappop(self._furthest)
            block = entry[1]
            if not self._kept[block]:
                continue
            due = int(self._readers.due(np.array([block]))[0])
            if due != -entry[0]:
                if due < -entry[0]:  # a later entry of it says when
                    heapq.heappush(self._furthest, (-due, block))
                continue
            if block in batch:
                aside.append(entry)
                continue
            self._kept[block] = False
            self._kept_nbytes -= int(self.nbytes[block])
            victims.append(block)
        for entry in aside:
            heapq.heappush(self._furthest, entry)
        return victims

    def _push(self, blocks: NDArray[np.int64]) -> None:
        if self.limit is not None:
            for due, block in zip(self._readers.due(blocks).tolist(), blocks.tolist(), strict=True):
                heapq.heappush(self._furthest, (-due, block))

    # -- room -------------------------------------------------------------------------------------

    def _make_room(
        self, missing: NDArray[np.int64], exchange: _Exchange
    ) -> NDArray[np.int64] | None:
        """Return what goes for blocks that are missing; None if that would do harm."""
        excess = self._size(missing) - self._free()
        if excess <= 0:
            return _NONE
        victims = np.array(exchange.victims, np.int64)
        victims = victims[self.present[victims]]
        harmless = self._readers.due(victims, from_place=True) >= exchange.time
        if not harmless.all() or np.isin(victims, self._pins()).any():
            return None
        # Fewer if some of what was missing has come meanwhile.
        enough = int(np.searchsorted(np.cumsum(self.nbytes[victims]), excess)) + 1
        victims = victims[:enough]
        left = excess - self._size(victims)
        if left <= 0:
            return victims
        self.present[victims] = False
        more = self._furthest_now(left, exchange.time)
        self.present[victims] = True
        return None if more is None else np.concatenate((victims, more))

    def _furthest_now(self, excess: int, time: int) -> NDArray[np.int64] | None:
        """Choose blocks that are needed last, none before a time; those given up already first."""
        if excess <= 0:
            return _NONE
        may_go = self.present.copy()
        may_go[self._pins()] = False
        candidates = np.flatnonzero(may_go)
        due = self._readers.due(candidates, from_place=True)
        candidates, due = candidates[due >= time], due[due >= time]
        order = np.lexsort((-due, self._kept[candidates]))
        total = np.cumsum(self.nbytes[candidates[order]])
        enough = int(np.searchsorted(total, excess)) + 1
        return candidates[order[:enough]] if enough <= total.size else None

    def _ordered(
        self, missing: NDArray[np.int64], evicted: NDArray[np.int64], planned: Sequence[int] = ()
    ) -> Fetch:
        """Record what is to be done. Some of what goes may have been `planned` to go."""
        self.present[evicted] = False
        self.coming[missing] = True
        self.taken += self._size(missing) - self._size(evicted)
        others = evicted[self._kept[evicted]]
        if others.size:  # except what comes again, by an exchange to be made
            again = np.concatenate([_NONE, *(each.blocks for each in self._exchanges)])
            others = others[~np.isin(others, again) & ~np.isin(others, planned)]
            self._kept[others] = False
            self._kept_nbytes -= self._size(others)
        return Fetch(missing, evicted)

    def _pins(self) -> NDArray[np.int64]:
        return np.concatenate([_NONE, *self._pinned.values()])

    def _free(self) -> int:
        return NEVER if self.limit is None else self.limit - self.taken

    def _size(self, blocks: NDArray[np.int64]) -> int:
        return int(self.nbytes[blocks].sum())
