"""Are the files of mirrors what was packed? The hashes of complete ones say so."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import ReadError, look_up
from zarrfeed.store.mirror.block_table import WRONG
from zarrfeed.store.mirror.file_table import distinct

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed.feed.fetching.fetch_plan import FetchPlan
    from zarrfeed.feed.fetching.mirror import Mirror
    from zarrfeed.feed.fetching.open_mirrors import OpenMirrors

_LOG = logging.getLogger(__name__)


class FileChecks:
    """The files of all mirrors that have been compared with their hashes.

    Parameters
    ----------
    plan, mirrors
        Learn which blocks go because they are damaged.
    counters
        Counts complete files that are right.
    """

    def __init__(self, plan: FetchPlan, mirrors: OpenMirrors, counters: Counter[str]) -> None:
        self._plan = plan
        self._mirrors = mirrors
        self._counters = counters
        self._wrong: Counter[tuple[Mirror, int]] = Counter()
        self._kept: dict[tuple[Mirror, int], asyncio.Task[bool]] = {}

    def came_wrong(self, mirror: Mirror, file: int) -> bool:
        """Return whether a file has come with wrong bytes."""
        return self._wrong[mirror, file] > 0

    def refuse_wrong(self, mirror: Mirror, local: NDArray[np.int64]) -> None:
        """Raise an error if blocks are of a file that has come with wrong bytes twice."""
        assert mirror.files is not None
        assert mirror.table is not None
        for file in distinct(mirror.files.files_of(local)).tolist():
            if mirror.table.verified[file] == WRONG:
                raise ReadError(
                    f"{mirror.url}/{mirror.key_of(file)}: came twice with other bytes than those "
                    f"that were packed (their xxh3_64 differs); upload the file again, or convert "
                    f"again{look_up('damaged-store')}"
                )

    def forget(self, mirror: Mirror, local: NDArray[np.int64]) -> None:
        """Let damaged blocks go, before anybody else can read them."""
        self._mirrors.evict(mirror, local)
        self._plan.gone(local + mirror.first)

    async def was_kept(self, mirror: Mirror, file: int) -> bool:
        """Return whether a file is as before this machine was started again."""
        name = mirror, file
        check = self._kept.get(name)
        if check is None:
            hashing = asyncio.to_thread(mirror.digest_is_right, file)
            check = self._kept[name] = asyncio.get_running_loop().create_task(hashing)
        return await asyncio.shield(check)

    async def verify(self, mirror: Mirror, file: int) -> NDArray[np.int64] | None:
        """Compare the hash of a complete file.

        Returns
        -------
        (blocks,) int64 or None
            The numbers among all blocks of those that must be fetched again, once.
        """
        assert mirror.files is not None
        assert mirror.table is not None
        before = mirror.table.evictions
        right = await asyncio.to_thread(mirror.digest_is_right, file)
        if mirror.table.missing[file] or mirror.table.evictions != before:
            return None  # it was not whole all the time
        if right:
            mirror.mark_whole(file)
            self._counters["verified"] += 1
            return None
        self._wrong[mirror, file] += 1
        local = np.array(mirror.files.blocks_of(file))
        self.forget(mirror, local)
        _LOG.warning("%s/%s: wrong bytes (xxh3_64)", mirror.url, mirror.key_of(file))
        mirror.warn_of(file)
        if self._wrong[mirror, file] > 1:
            mirror.table.verified[file] = WRONG
            return None
        return local + mirror.first
