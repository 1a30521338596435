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
        if not self.count and not self.done.done():
            self.done.set_result(None)

    def failed(self, error: ZarrfeedError) -> None:
        """Note that one of the blocks will not come."""
        if not self.done.done():
            self.done.set_exception(error)


class BlockQueue:
    """Blocks in order, from which runs of neighbours are taken."""

    def __init__(self) -> None:
        self._order: deque[int] = deque()
        self._queued: set[int] = set()

    def __len__(self) -> int:
        return len(self._queued)

    def add(self, blocks: Iterable[int]) -> None:
        """Append blocks."""
        for block in blocks:
            self._order.append(block)
            self._queued.add(block)

    def remove(self, blocks: Iterable[int]) -> list[int]:
        """Remove blocks, and return those that were queued."""
        found = [block for block in blocks if block in self._queued]
        self._queued.difference_update(found)
        return found

    def take(self, within: Callable[[int], range], most: int) -> range:
        """Take the first block, and those next to it that are queued, too, of the same file."""
        queued = self._queued
        while (block := self._order.popleft()) not in queued:
            pass
        file = within(block)
        start, stop = block, block + 1
        while stop - start < most and stop < file.stop and stop in queued:
            stop += 1
        while stop - start < most and start > file.start and start - 1 in queued:
            start -= 1
        queued.difference_update(range(start, stop))
        return range(start, stop)
