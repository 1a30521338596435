"""What do the fetcher and its clients say to each other? JSON, and bytes where there are many.

::

    message   length of the text u32 | length of the bytes u32 | text (JSON) | bytes

A request says what to ``do``; the answer is an object, too, with the ``error`` if there is one.

=========  ======================================  ====================  =======================
do         further names                           bytes                 answer
=========  ======================================  ====================  =======================
open       url, limit, folder (or null)            pickled options       folder
require    folder                                  int64 block numbers
indexes    folder                                  int64 file numbers
whole      folder, array
plan       epoch, batch                            pickled plan
at         epoch, batch                                                  none
counters                                                                 counters
=========  ======================================  ====================  =======================
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from zarrfeed.errors import ReadError, StoreError, ZarrfeedError
from zarrfeed.store.mirror.file_table import distinct

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Mapping

    from numpy.typing import NDArray

Message: TypeAlias = dict[str, Any]

_LENGTHS = struct.Struct("<II")
_MOST_TEXT = 1 << 20
_MOST_BYTES = (1 << 31) - 1  # of a plan: the ids of 268 million samples
_KINDS: dict[str, type[ZarrfeedError]] = {"StoreError": StoreError, "ReadError": ReadError}


class Hangup(Exception):  # noqa: N818 - an event, not an error
    """The other side has closed the connection, or says what is no message."""


def encoded(message: Mapping[str, Any], content: bytes = b"") -> bytes:
    """Return the bytes of a message.

    Raises
    ------
    StoreError
        It is too long.
    """
    text = json.dumps(message).encode()
    if len(text) > _MOST_TEXT or len(content) > _MOST_BYTES:
        raise StoreError(
            f"needed a message of at most {_MOST_BYTES:,} bytes to the process that fetches, "
            f"got {len(content):,}: choose a smaller subset"
        )
    return b"".join((_LENGTHS.pack(len(text), len(content)), text, content))


def receive(connection: socket.socket) -> tuple[Message, bytes]:
    """Receive a message.

    Raises
    ------
    Hangup
        The other side has closed the connection.
    TimeoutError
        It did not answer in the socket's time.
    """
    lengths = _LENGTHS.unpack(_received(connection, _LENGTHS.size))
    _check(lengths)
    text, content = (_received(connection, length) for length in lengths)
    return _parsed(text), content


async def read(reader: asyncio.StreamReader) -> tuple[Message, bytes]:
    """Receive a message in an event loop; raises as :func:`receive`."""
    try:
        lengths = _LENGTHS.unpack(await reader.readexactly(_LENGTHS.size))
        _check(lengths)
        text, content = [await reader.readexactly(length) for length in lengths]
    except (EOFError, ConnectionError) as error:
        raise Hangup from error
    return _parsed(text), content


def _check(lengths: tuple[int, ...]) -> None:
    if lengths[0] > _MOST_TEXT or lengths[1] > _MOST_BYTES:
        raise Hangup(f"needed a message, got lengths {lengths}")


def _parsed(text: bytes) -> Message:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Hangup(f"needed JSON, got {text[:99]!r}") from error
    if not isinstance(message, dict):
        raise Hangup(f"needed an object, got {text[:99]!r}")
    return message


def _received(connection: socket.socket, length: int) -> bytes:
    parts = bytearray(length)
    view, got = memoryview(parts), 0
    while got < length:
        try:
            count = connection.recv_into(view[got:])
        except ConnectionError as error:
            raise Hangup from error
        if not count:
            raise Hangup
        got += count
    return bytes(parts)


def error_message(error: ZarrfeedError) -> Message:
    """Return an error as data."""
    kind = "StoreError" if isinstance(error, StoreError) else "ReadError"
    return {"error": kind, "text": str(error)}


def raise_if_error(message: Message) -> None:
    """Raise the error that a message is, if it is one."""
    if "error" in message:
        raise _KINDS.get(message["error"], ReadError)(str(message.get("text")))


def numbers_of(content: bytes, *, below: int) -> NDArray[np.int64]:
    """Return the block numbers of a message, each once and in order.

    Raises
    ------
    ValueError
        They are no numbers from 0 to `below` - 1.
    """
    if len(content) % 8:
        raise ValueError(f"needed int64 numbers, got {len(content)} bytes")
    numbers = distinct(np.frombuffer(content, "<i8").astype(np.int64))
    if numbers.size and not 0 <= numbers[0] <= numbers[-1] < below:
        raise ValueError(f"needed blocks 0 to {below - 1}, got {numbers[0]} to {numbers[-1]}")
    return numbers
