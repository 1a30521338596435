"""Blocks that are to be downloaded, in order, and those who wait for them."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from zarrfeed.errors import ZarrfeedError


class Waiter:
    """Somebody who waits for blocks."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def arrived(self) -> None:
        """Note that one of the blocks is there."""
        self.count -= 1
        if not self.count:
            self.wake()

    def wake(self) -> None:
        """Have somebody look what is there, and order what is not."""
        if not self.done.done():
            self.done.set_result(None)

    def failed(self, error: ZarrfeedError) -> None:
        """Note that one of the blocks will not come."""
        if not self.done.done():
            self.done.set_exception(error)


class BlockQueue:
    """Blocks in order, from which runs of neighbours are taken.

    Examples
    --------
    >>> queue = BlockQueue()
    >>> queue.add([4])
    >>> queue.add([5, 9])
    >>> queue.take(lambda _: range(10), 16, alone=1), len(queue)
    (range(4, 5), 2)
    """

    def __init__(self) -> None:
        self._order: deque[int] = deque()
        self._queued: dict[int, int] = {}  # of each block, which call of `add` it came with
        self._added = 0

    def __len__(self) -> int:
        return len(self._queued)

    def add(self, blocks: Iterable[int]) -> None:
        """Append blocks that are needed at the same time."""
        self._added += 1
        for block in blocks:
            self._order.append(block)
            self._queued[block] = self._added

    def remove(self, blocks: Iterable[int]) -> list[int]:
        """Remove blocks, and return those that were queued."""
        return [block for block in blocks if self._queued.pop(block, None) is not None]

    def take(self, within: Callable[[int], range], most: int, *, alone: int | None = None) -> range:
        """Take the first block, and those next to it that are queued, too, of the same file.

        Parameters
        ----------
        within
            Returns the blocks of the file of a block.
        most
            Number of blocks.
        alone
            Number of blocks from which on only what was added together with the first one, or
            before, is taken, too; None takes all.
        """
        queued = self._queued
        while (block := self._order.popleft()) not in queued:
            pass
        with_it = queued[block]

        def fits(neighbour: int) -> bool:
            added = queued.get(neighbour) if neighbour in file else None
            if added is None or stop - start >= most:
                return False
            return added <= with_it or alone is None or stop - start < alone

        file = within(block)
        start, stop = block, block + 1
        while fits(stop):
            stop += 1
        while fits(start - 1):
            start -= 1
        for taken in range(start, stop):
            del queued[taken]
        return range(start, stop)
