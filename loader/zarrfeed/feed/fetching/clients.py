"""What do clients of the fetcher want, and what becomes of them?

Each is a connection of a process of this user: a sequence, one of its workers, or another reader.
What they say is checked: whoever says nonsense is hung up on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from zarrfeed.errors import ReadError, StoreError, ZarrfeedError
from zarrfeed.feed.fetching.chunk_blocks import ChunkBlocks
from zarrfeed.feed.fetching.client_plan import ClientPlan
from zarrfeed.feed.fetching.found_split import find_split
from zarrfeed.feed.fetching.mirror import Mirror
from zarrfeed.feed.fetching.mirror_folder import make_folder
from zarrfeed.feed.fetching.upcoming import OpenPart
from zarrfeed.feed.fetching.whole_files import WholeFiles
from zarrfeed.store.mirror.file_table import distinct
from zarrfeed.store.mirror.messages import Hangup, encoded, error_message, numbers_of, read
from zarrfeed.store.objects.absent import stores_near
from zarrfeed.store.objects.errors import ObjectError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from zarrfeed.feed.fetching.cache_space import CacheSpace
    from zarrfeed.feed.fetching.downloads import Downloads
    from zarrfeed.feed.fetching.upcoming import Plan
    from zarrfeed.store.mirror.file_table import FileTable
    from zarrfeed.store.mirror.messages import Message

_LOG = logging.getLogger(__name__)

_MOST_MESSAGES = 4096  # of one client that have not been answered


class Client:
    """One connection."""

    def __init__(
        self, writer: asyncio.StreamWriter, downloads: Downloads, space: CacheSpace
    ) -> None:
        self.writer = writer
        self.mirrors: dict[str, Mirror] = {}
        self.plan = ClientPlan(self, downloads, space)
        self.doubted: set[tuple[str, int]] = set()  # blocks that it has had fetched again
        self.warned: dict[str, int] = {}  # number of warnings of each mirror that it knows


class _Request(NamedTuple):
    client: Client
    message: Message
    content: bytes


class Clients:
    """All clients of a cache.

    Parameters
    ----------
    cache
        Folder of the cache.
    downloads
        What is on its way.
    space
        The limit of the cache.
    """

    def __init__(self, cache: Path, downloads: Downloads, space: CacheSpace) -> None:
        self._cache = cache
        self._downloads = downloads
        self._space = space
        self._mirrors: dict[str, Mirror] = {}
        self._opened_by: dict[str, bytes] = {}  # address and options of each mirror's last opening
        self._chunks: dict[tuple[str, str], ChunkBlocks] = {}
        self._making = asyncio.Lock()
        self._whole = WholeFiles(downloads, space)
        self.connected: set[Client] = set()
        self._answers: dict[str, Callable[[_Request], Awaitable[Message | None]]] = {
            "open": self._open,
            "require": self._require,
            "doubt": self._doubt,
            "indexes": self._indexes,
            "whole": self._require_whole,
            "plan": self._plan,
            "at": self._at,
            "counters": self._counters,
        }

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer a client until it hangs up."""
        client = Client(writer, self._downloads, self._space)
        self.connected.add(client)
        messages: asyncio.Queue[tuple[Message, bytes]] = asyncio.Queue(_MOST_MESSAGES)
        answering = asyncio.get_running_loop().create_task(self._answer_all(client, messages))
        answering.add_done_callback(lambda _: writer.close())
        try:
            while not answering.done():
                await messages.put(await read(reader))
        except Hangup as hangup:
            if str(hangup):
                _LOG.warning("a client was hung up on: %s", hangup)
        finally:
            answering.cancel()
            self._forget(client)
            writer.close()

    async def _answer_all(
        self, client: Client, messages: asyncio.Queue[tuple[Message, bytes]]
    ) -> None:
        while True:
            message, content = await messages.get()
            try:
                answer = await self._answers[str(message.get("do"))](
                    _Request(client, message, content)
                )
            except ZarrfeedError as error:
                answer = error_message(error)
            except (KeyError, TypeError, ValueError, pickle.UnpicklingError, EOFError) as error:
                _LOG.warning("a client is hung up on: %r in %.99r", error, message, exc_info=True)
                return
            except Exception as error:
                _LOG.exception("an answer failed")
                answer = error_message(ReadError(f"{self._cache}: {error}"))
            if answer is not None:
                warnings = self._new_warnings(client)
                with suppress(ConnectionError):
                    client.writer.write(
                        encoded({**answer, **({"warnings": warnings} if warnings else {})})
                    )
                    await client.writer.drain()

    def _forget(self, client: Client) -> None:
        self.connected.discard(client)
        client.plan.forget()
        self._downloads.unpin(client)
        for mirror in client.mirrors.values():
            mirror.clients.discard(client)
        self._downloads.pump()

    def _new_warnings(self, client: Client) -> list[str]:
        found: list[str] = []
        for folder, mirror in client.mirrors.items():
            found += mirror.warnings[client.warned.get(folder, 0) :]
            client.warned[folder] = len(mirror.warnings)
        return found

    # -- answers ----------------------------------------------------------------------------------

    async def _open(self, request: _Request) -> Message:
        client, message, content = request
        url, known = str(message["url"]), str(message["folder"])
        self._space.agree(message["limit"])
        mirror = self._mirrors.get(known)
        if mirror is None or self._opened_by[known] != url.encode() + content:
            mirror = await self._find(url, content)
        mirror.clients.add(client)
        client.mirrors[str(mirror.folder)] = mirror
        client.warned[str(mirror.folder)] = len(mirror.warnings)
        return {"folder": str(mirror.folder)}

    async def _find(self, url: str, content: bytes) -> Mirror:
        """Read the metadata of a split, and return its mirror, which may be a new one."""
        options, environment = pickle.loads(content)
        with _environment(environment):
            near = stores_near(url, options)
        store = near[0]
        try:
            found = await find_split(url, near)
        except ObjectError as error:
            raise StoreError(str(error)) from error
        async with self._making:  # two at once would make the same folder
            folder = await make_folder(found, store, self._cache)
            mirror = self._mirrors.get(str(folder))
            if mirror is None:
                mirror = await asyncio.to_thread(Mirror, folder, found, store)
                self._space.opened(folder.parent)
                if mirror.table is not None:
                    mirror.table.announce(evicts=self._space.limit is not None)
                self._downloads.add(mirror)
                self._mirrors[str(folder)] = mirror
        mirror.store = store  # the latest credentials
        self._opened_by[str(folder)] = url.encode() + content
        return mirror

    async def _require(self, request: _Request) -> Message:
        mirror, files = _blocks_of(request)
        blocks = numbers_of(request.content, below=files.blocks)
        self._space.make_way(int(files.nbytes_of(blocks).sum()))
        await self._downloads.require(request.client, mirror, blocks)
        return {}

    async def _doubt(self, request: _Request) -> Message:
        client, message, content = request
        mirror, files = _blocks_of(request)
        blocks = numbers_of(content, below=files.blocks)
        doubts = {(message["folder"], block) for block in blocks.tolist()} - client.doubted
        client.doubted |= doubts
        new = np.array(sorted(block for _, block in doubts), np.int64)
        return {"again": self._downloads.doubt(mirror, new)}

    async def _indexes(self, request: _Request) -> Message:
        mirror, files = _blocks_of(request)
        fields, shards = np.divmod(numbers_of(request.content, below=files.files), files.shards)
        await asyncio.gather(
            *(
                self._chunks_of(mirror, files.fields[field]).load(shards[fields == field])
                for field in distinct(fields).tolist()
            )
        )
        return {}

    async def _require_whole(self, request: _Request) -> Message:
        client, message, _ = request
        await self._whole.fetch(client.mirrors[message["folder"]], str(message["array"]))
        return {}

    async def _plan(self, request: _Request) -> Message:
        client, message, content = request

        def parts_of(plan: Plan) -> list[OpenPart]:
            return [
                OpenPart(
                    mirror := client.mirrors[part.folder],
                    range(part.first, part.stop),
                    [self._chunks_of(mirror, field) for field in plan.fields if mirror.has(field)],
                )
                for part in plan.parts
            ]

        epoch, batch = int(message["epoch"]), int(message["batch"])
        await client.plan.follow(content, epoch, batch, parts_of)
        return {}

    async def _at(self, request: _Request) -> None:
        client, message, _ = request
        client.plan.advance(int(message["epoch"]), int(message["batch"]))

    def _chunks_of(self, mirror: Mirror, field: str) -> ChunkBlocks:
        name = str(mirror.folder), field
        if name not in self._chunks:
            self._chunks[name] = ChunkBlocks(mirror, field, self._downloads)
        return self._chunks[name]

    async def _counters(self, _: _Request) -> Message:
        plan = self._downloads.plan
        present = int(plan.nbytes[plan.present].sum())
        return {"counters": {**self._downloads.counters, "present": present, "pid": os.getpid()}}


def _blocks_of(request: _Request) -> tuple[Mirror, FileTable]:
    """Return the mirror that a request is about, and its files, which come block by block."""
    mirror = request.client.mirrors[request.message["folder"]]
    if mirror.files is None:
        raise ValueError("no blocks")
    return mirror, mirror.files


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Have the environment of a client, in which obstore looks for credentials."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
