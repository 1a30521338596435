"""Fetch arrays as a whole: small ones, and those that other programs wrote."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from zarrfeed.errors import StoreError
from zarrfeed.feed.fetching.mirror_folder import is_plain, marker_of
from zarrfeed.store.files import replace_file
from zarrfeed.store.objects.errors import ObjectError

if TYPE_CHECKING:
    from pathlib import Path

    from zarrfeed.feed.fetching.cache_space import CacheSpace
    from zarrfeed.feed.fetching.downloads import Downloads
    from zarrfeed.feed.fetching.mirror import Mirror

_AT_ONCE = 16  # files of an array


class WholeFiles:
    """The arrays of all mirrors that are fetched as a whole, each once.

    Parameters
    ----------
    downloads
        Counts requests and bytes.
    space
        The limit of the cache.
    """

    def __init__(self, downloads: Downloads, space: CacheSpace) -> None:
        self._downloads = downloads
        self._space = space
        self._coming: dict[Path, asyncio.Task[None]] = {}  # by the marker of the array

    async def fetch(self, mirror: Mirror, array: str) -> None:
        """Wait until all files of an array are there.

        Raises
        ------
        ValueError
            There is no such array.
        StoreError, ObjectError
            It cannot be fetched.
        """
        if not is_plain(array) or array not in {*mirror.split.layouts, *mirror.split.unfit}:
            raise ValueError(f"no array {array!r}")
        marker = marker_of(mirror.folder, array)
        if marker.exists():
            return
        task = self._coming.get(marker)
        if task is None:
            fetching = self._fetch_all(mirror, array, marker)
            task = self._coming[marker] = asyncio.get_running_loop().create_task(fetching)
            task.add_done_callback(lambda _: self._coming.pop(marker, None))
        await asyncio.shield(task)

    async def _fetch_all(self, mirror: Mirror, array: str, marker: Path) -> None:
        lanes = asyncio.Semaphore(_AT_ONCE)
        await asyncio.gather(*(self._fetch(mirror, key, lanes) for key in mirror.keys_of(array)))
        marker.touch()

    async def _fetch(self, mirror: Mirror, key: str, lanes: asyncio.Semaphore) -> None:
        """Fetch a file unless it is there; one that Zarr allows to be missing may be."""
        path = mirror.folder / key
        if not is_plain(key):
            raise StoreError(f"{mirror.url}: needed names of files, found {key!r:.99}")
        if path.exists():
            return
        async with lanes:
            try:
                found = await mirror.store.read_async(key)
            except ObjectError as error:
                if error.kind == "missing" and not mirror.split.packed and mirror.listing is None:
                    return
                raise
            self._downloads.counters["bytes"] += found.of.nbytes
            self._downloads.counters["requests"] += 1
            self._space.make_way(found.of.nbytes)
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, found.data)
