"""Whose are blocks, of all mirrors that are open, and how do they go?"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.store.mirror.file_table import distinct

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed.feed.fetching.mirror import Mirror


class OpenMirrors:
    """The mirrors that are open, in the order of their first blocks."""

    def __init__(self) -> None:
        self._mirrors: list[Mirror] = []
        self._freeing: set[asyncio.Task[None]] = set()

    def add(self, mirror: Mirror) -> None:
        """Add a mirror, whose first block comes after all blocks of the others."""
        self._mirrors.append(mirror)

    def of(self, block: int) -> Mirror:
        """Return the mirror that has a block."""
        return next(m for m in reversed(self._mirrors) if m.first <= block)

    def file_around(self, block: int) -> range:
        """Return the blocks of the file that a block is in."""
        mirror = self.of(block)
        assert mirror.files is not None
        local = mirror.files.blocks_of(mirror.files.place_of(block - mirror.first).file)
        return range(local.start + mirror.first, local.stop + mirror.first)

    def by_mirror(self, blocks: NDArray[np.int64]) -> list[tuple[Mirror, NDArray[np.int64]]]:
        """Return for each mirror that has some of the blocks their numbers within it."""
        if not blocks.size:
            return []
        number = np.searchsorted([m.first for m in self._mirrors], blocks, side="right") - 1
        return [
            (self._mirrors[each], blocks[number == each] - self._mirrors[each].first)
            for each in distinct(number).tolist()
        ]

    def evict(self, mirror: Mirror, local: NDArray[np.int64]) -> None:
        """Let blocks of a mirror go; their space is free once nobody can decode them in place."""
        mirror.evict(local)
        wait = mirror.decoded_until - time.monotonic()
        if wait <= 0:
            mirror.free(local)
            return
        task = asyncio.get_running_loop().create_task(_free(wait, mirror, local))
        self._freeing.add(task)
        task.add_done_callback(self._freeing.discard)

    async def freed(self) -> None:
        """Wait until the space of all that has gone is free."""
        while self._freeing:
            await asyncio.wait(self._freeing)


async def _free(wait: float, mirror: Mirror, local: NDArray[np.int64]) -> None:
    await asyncio.sleep(wait)
    mirror.free(local)
