"""A server between a client and a real one, which does to requests what networks do.

with FaultProxy("http://127.0.0.1:9000") as proxy:
    proxy.add(Rule(r"/c/0", times=1, cut_after=100))
    ...  # the client asks proxy.url
    assert not [one for one in proxy.requests if one.method == "HEAD"]
"""

from __future__ import annotations

import asyncio
import re
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

_BLOCK = 1 << 16
_FOREVER = 3600.0


@dataclass(frozen=True, slots=True)
class Rule:
    """What happens to some requests.

    Attributes
    ----------
    path
        Pattern to be found in the path of the request.
    skip, times
        Requests that match and pass unhurt at first, then those that are hurt (None: all others).
    status, headers
        Answer so instead of asking the server; without `status`, headers that are added.
    cut_after
        Break the connection off after so many bytes of the answer's body.
    stall_after
        Send no more after so many bytes of the body, and keep the connection.
    flip_at
        Flip all bits of the byte at this place of the *object*, whichever range is asked for.
    flip_sent_at
        Flip all bits of the byte at this place of the request's body.
    wait
        Seconds until the answer begins.
    bytes_per_second
        Speed of the body.
    total
        Say that the object has so many bytes.
    """

    path: str = ""
    skip: int = 0
    times: int | None = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    stall_after: int | None = None
    flip_at: int | None = None
    flip_sent_at: int | None = None
    wait: float = 0.0
    bytes_per_second: float | None = None
    total: int | None = None


@dataclass(slots=True)
class Request:
    """A request that came.

    Attributes
    ----------
    method, path
        Of its first line.
    range
        First and last byte that it asked for, or None.
    status
        What was answered; 0 as long as nothing was.
    nbytes
        How much of the body was sent.
    rule
        What was done to it, or None.
    """

    method: str
    path: str
    range: tuple[int, int] | None
    status: int = 0
    nbytes: int = 0
    rule: Rule | None = None


class FaultProxy:
    """A proxy in a thread of its own, on a port of its own.

    Attributes
    ----------
    url
        Its address.
    requests
        All requests so far.
    """

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "", parts.port or 80)
        self._rules: list[tuple[Rule, list[Request]]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="fault proxy", daemon=True)
        self.requests: list[Request] = []
        self.url = ""

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(20), "the proxy did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        assert not self._thread.is_alive(), "the proxy did not end"

    def add(self, *rules: Rule) -> None:
        """Hurt requests from now on. Of rules that match, the first one whose turn it is counts."""
        self._rules += [(rule, []) for rule in rules]

    def clear(self) -> None:
        """Hurt no more requests."""
        self._rules = []

    def hurt(self) -> list[Request]:
        """Return the requests to which something was done."""
        return [request for request in self.requests if request.rule is not None]

    def _serve(self) -> None:
        self._loop.run_until_complete(self._until_stopped())
        self._loop.close()

    async def _until_stopped(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=1 << 20)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._started.set()
        await self._stop.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._converse(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(0)  # `drain` waits until all is sent
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                while await self._answer(reader, writer):
                    pass
        finally:
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; return whether the connection can go on."""
        head = await reader.readuntil(b"\r\n\r\n")
        first, headers = _parsed(head)
        method, path, _ = first.split(" ")
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        request = Request(method, path, _range(headers.get("range")))
        rule = request.rule = self._rule(request)
        self.requests.append(request)
        if rule is not None and rule.flip_sent_at is not None and rule.flip_sent_at < len(body):
            hurt = bytearray(body)
            hurt[rule.flip_sent_at] ^= 0xFF
            body = bytes(hurt)
        if rule is not None and rule.wait:
            await asyncio.sleep(rule.wait)
        if rule is not None and rule.status is not None:
            request.status = rule.status
            writer.write(_head(rule.status, {**rule.headers, "Content-Length": "0"}))
            await writer.drain()
            return True
        source, sink = await asyncio.open_connection(*self._upstream, limit=1 << 20)
        try:
            sink.write(_forwarded(head) + body)
            return await self._pass_on(source, writer, request)
        finally:
            sink.transport.abort()

    async def _pass_on(
        self, source: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request
    ) -> bool:
        rule = request.rule or Rule()
        first, headers = _parsed(await source.readuntil(b"\r\n\r\n"))
        request.status = int(first.split(" ")[1])
        headers.pop("connection", None)
        if rule.total is not None and "content-range" in headers:
            known = headers["content-range"].rpartition("/")[0]
            headers["content-range"] = f"{known}/{rule.total}"
        nbytes = int(headers["content-length"]) if "content-length" in headers else None
        if request.method == "HEAD" or request.status in {204, 304}:
            nbytes = 0
        if nbytes is None:  # the body goes on until the server closes
            headers["connection"] = "close"
        writer.write(_head(request.status, {**headers, **rule.headers}))
        await writer.drain()
        ends = [end for end in (rule.cut_after, rule.stall_after) if end is not None]
        while nbytes is None or request.nbytes < nbytes:
            block = await source.read(_BLOCK)
            if not block:
                return False
            if rule.bytes_per_second:
                await asyncio.sleep(len(block) / rule.bytes_per_second)
            stop = min([len(block), *(end - request.nbytes for end in ends)])
            piece = _flipped(block[:stop], request, rule)
            request.nbytes += stop  # who has received it may ask at once
            writer.write(piece)
            await writer.drain()
            if request.nbytes == rule.cut_after:
                return False
            if request.nbytes == rule.stall_after:
                await asyncio.sleep(_FOREVER)
        return nbytes is not None

    def _rule(self, request: Request) -> Rule | None:
        found = None
        for rule, matched in self._rules:
            if re.search(rule.path, request.path):
                matched.append(request)
                number = len(matched) - 1 - rule.skip
                if found is None and number >= 0 and (rule.times is None or number < rule.times):
                    found = rule
        return found


def _parsed(head: bytes) -> tuple[str, dict[str, str]]:
    """Return the first line, and the headers by their names in small letters."""
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    pairs = (line.split(":", 1) for line in lines)
    return first, {name.strip().lower(): value.strip() for name, value in pairs}


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Answer", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _forwarded(head: bytes) -> bytes:
    """Ask the server to close afterwards, and leave all that is signed as it is."""
    lines = [
        line for line in head.split(b"\r\n")[:-2] if not line.lower().startswith(b"connection:")
    ]
    return b"\r\n".join([*lines, b"Connection: close", b"", b""])


def _range(asked: str | None) -> tuple[int, int] | None:
    found = re.fullmatch(r"bytes=(\d+)-(\d+)", asked or "")
    return (int(found[1]), int(found[2])) if found else None


def _flipped(block: bytes, request: Request, rule: Rule) -> bytes:
    if rule.flip_at is None:
        return block
    begin = (request.range[0] if request.range else 0) + request.nbytes
    if not 0 <= rule.flip_at - begin < len(block):
        return block
    hurt = bytearray(block)
    hurt[rule.flip_at - begin] ^= 0xFF
    return bytes(hurt)
