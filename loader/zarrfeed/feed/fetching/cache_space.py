"""How large may the cache be, and which mirrors go that nobody uses?"""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

from zarrfeed.errors import StoreError, look_up
from zarrfeed.feed.fetching.holes import require_holes

if TYPE_CHECKING:
    from collections.abc import Hashable
    from pathlib import Path

    from zarrfeed.feed.fetching.fetch_plan import FetchPlan

_ROOM = 64 << 20  # that is kept free while there are mirrors that nobody uses
_RESTING_SECONDS = 10.0
_ALIGN_SECONDS = 2.0


class CacheSpace:
    """The limit of a cache.

    Parameters
    ----------
    cache
        Folder of the cache.
    plan
        Decides what goes, within what is left of the limit.
    """

    def __init__(self, cache: Path, plan: FetchPlan) -> None:
        self._cache = cache
        self._plan = plan
        self.limit: int | None = None
        self._agreed = False
        # Mirrors of before that nobody has opened since: when each was used, its size, its folder.
        self._unused = sorted(_unused_of(cache))
        self._moves: dict[Hashable, float] = {}
        self._aligned = 0.0

    def agree(self, limit: int | None) -> None:
        """Take a client's limit, or check that it is the one in force.

        Raises
        ------
        StoreError
            Another limit is in force, or the file system cannot free parts of files.
        """
        if limit is not None and (not isinstance(limit, int) or limit <= 0):
            raise ValueError(f"no limit: {limit!r}")
        if not self._agreed:
            if limit is not None:
                require_holes(self._cache)
            self.limit, self._agreed = limit, True
            self._set()
        elif limit is not None and limit != self.limit:
            now = "no limit" if self.limit is None else f"a limit of {self.limit:,} bytes"
            raise StoreError(
                f"{self._cache}: this cache is in use with {now}, not {limit:,} bytes, by another "
                "training or an earlier sequence: give the same cache_limit, or another cache=, or "
                f"delete the other (del train), and wait some seconds{look_up('cache-limit')}"
            )

    def opened(self, folder: Path) -> None:
        """Note that a mirror is used."""
        self._unused = [each for each in self._unused if each[2] != folder]
        self._set()

    def make_way(self, nbytes: int) -> None:
        """Remove mirrors that nobody uses, the oldest first, while there is no room."""
        plan = self._plan
        while self._unused and plan.limit is not None and plan.limit - plan.taken < nbytes + _ROOM:
            _, freed, folder = self._unused.pop(0)
            shutil.rmtree(folder, ignore_errors=True)
            if self.limit is None:
                plan.set_limit(plan.limit + freed)  # the disk was full
            self._set()

    def moved(self, name: Hashable) -> None:
        """Note that a reader goes on; align all readers now and then."""
        now = time.monotonic()
        self._moves[name] = now
        if self._plan.limit is not None and now - self._aligned > _ALIGN_SECONDS:
            self._aligned = now
            resting = [
                each for each in self._plan.readers
                if now - self._moves.get(each, now) > _RESTING_SECONDS
            ]  # fmt: skip
            self._plan.align(resting)

    def _set(self) -> None:
        if self.limit is not None:
            self._plan.set_limit(max(0, self.limit - sum(each[1] for each in self._unused)))


def _unused_of(cache: Path) -> list[tuple[float, int, Path]]:
    found = []
    for about in cache.glob("*/*.mirror/files.json"):
        folder = about.parent.parent
        nbytes = sum(p.lstat().st_blocks * 512 for p in folder.rglob("*") if p.is_file())
        found.append((about.stat().st_mtime, nbytes, folder))
    return found
