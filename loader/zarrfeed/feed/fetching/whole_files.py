"""Fetch arrays as a whole: small ones, and those that other programs wrote.

Each has a journal in its mirror, one line of JSON per file::

    [start of this machine, key, size in bytes, xxh3_64]        size -1: there is no such object

What it says is compared when the array is first needed: sizes always, hashes if this machine was
started again, because the bytes may never have reached the disk.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TextIO

import xxhash

from zarrfeed.errors import StoreError
from zarrfeed.feed.fetching.found_split import is_plain
from zarrfeed.feed.fetching.mirror import digest_of
from zarrfeed.feed.fetching.mirror_folder import boot_id, journal_of
from zarrfeed.store.files import replace_file
from zarrfeed.store.objects.errors import ObjectError

if TYPE_CHECKING:
    from pathlib import Path

    from zarrfeed.feed.fetching.cache_space import CacheSpace
    from zarrfeed.feed.fetching.downloads import Downloads
    from zarrfeed.feed.fetching.mirror import Mirror

_AT_ONCE = 16  # files of an array


class _Kept(NamedTuple):
    """A line of a journal."""

    boot: str
    key: str
    nbytes: int
    digest: int


class WholeFiles:
    """The arrays of all mirrors that are fetched as a whole, each once.

    Parameters
    ----------
    downloads
        Counts requests and bytes, and makes room on a full disk.
    space
        The limit of the cache.
    """

    def __init__(self, downloads: Downloads, space: CacheSpace) -> None:
        self._downloads = downloads
        self._space = space
        self._coming: dict[Path, asyncio.Task[None]] = {}  # by the journal of the array
        self._complete: set[Path] = set()
        self._boot = boot_id()

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
        journal = journal_of(mirror.folder, array)
        if journal in self._complete:
            return
        task = self._coming.get(journal)
        if task is None:
            fetching = self._fetch_all(mirror, array, journal)
            task = self._coming[journal] = asyncio.get_running_loop().create_task(fetching)
            task.add_done_callback(lambda _: self._coming.pop(journal, None))
        await asyncio.shield(task)

    async def _fetch_all(self, mirror: Mirror, array: str, journal: Path) -> None:
        lanes, kept = asyncio.Semaphore(_AT_ONCE), _read_journal(journal)
        with journal.open("a", buffering=1, encoding="utf-8") as lines:
            await asyncio.gather(
                *(
                    self._keep(mirror, key, kept.get(key), lines, lanes)
                    for key in mirror.keys_of(array)
                )
            )
        self._complete.add(journal)

    async def _keep(
        self, mirror: Mirror, key: str, kept: _Kept | None, lines: TextIO, lanes: asyncio.Semaphore
    ) -> None:
        """Fetch a file unless it is there, as the journal says, and write that into it."""
        path = mirror.folder / key
        if not is_plain(key):
            raise StoreError(f"{mirror.url}: needed names of files, found {key!r:.99}")
        known = bool(self._boot) and kept is not None and kept.boot == self._boot
        async with lanes:
            if kept is None or not (
                _has_size(path, kept.nbytes)
                and (known or await asyncio.to_thread(_has_digest, path, kept))
            ):
                kept = await self._fetch(mirror, key, path)
            elif known:
                return
        if not lines.closed:  # as it is when another file could not be fetched
            # Who was killed, and a full disk, may have left half a line.
            line = f"\n{json.dumps(kept._replace(boot=self._boot))}\n"
            await self._downloads.write(path, partial(lines.write, line), len(line))

    async def _fetch(self, mirror: Mirror, key: str, path: Path) -> _Kept:
        """Fetch a file; one that Zarr allows to be missing may be."""
        try:
            found = await mirror.store.read_async(key)
        except ObjectError as error:
            if error.kind == "missing" and not mirror.split.packed and mirror.listing is None:
                path.unlink(missing_ok=True)
                return _Kept(self._boot, key, -1, 0)
            raise
        self._downloads.counters["bytes"] += found.of.nbytes
        self._downloads.counters["requests"] += 1
        self._space.make_way(found.of.nbytes)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace = partial(replace_file, path, found.data)
        await self._downloads.write(path, replace, found.of.nbytes)
        return _Kept(self._boot, key, found.of.nbytes, xxhash.xxh3_64_intdigest(found.data))


def _read_journal(path: Path) -> dict[str, _Kept]:
    """Return the last line about each file; lines that make no sense are left out."""
    kept: dict[str, _Kept] = {}
    with suppress(OSError):
        for line in path.read_text("utf-8", "replace").splitlines():
            with suppress(ValueError, TypeError, RecursionError):
                boot, key, nbytes, digest = json.loads(line)
                kept[str(key)] = _Kept(str(boot), str(key), int(nbytes), int(digest))
    return kept


def _has_size(path: Path, nbytes: int) -> bool:
    """Return whether a file has a size; -1 if there should be none."""
    try:
        return path.stat().st_size == nbytes
    except OSError:
        return nbytes == -1


def _has_digest(path: Path, kept: _Kept) -> bool:
    return kept.nbytes == -1 or digest_of(path) == kept.digest
