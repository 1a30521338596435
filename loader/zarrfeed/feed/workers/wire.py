"""Messages between the sequence and a worker process.

A task is five numbers. A reply is two numbers, followed by the failure if there is one. Batches are
in shared memory and never sent::

    task    number u64 | slot u32 | rows u32 | epoch u64 | batch u64
    reply   number u64 | length i64 (-1: done) | pickled failure
"""

from __future__ import annotations

import pickle
import struct
from typing import TYPE_CHECKING

from zarrfeed.feed.workers import Failure, Task

if TYPE_CHECKING:
    import socket

_TASK = struct.Struct("<QIIQQ")
_REPLY = struct.Struct("<Qq")
_LENGTH = struct.Struct("<Q")


class Hangup(Exception):  # noqa: N818 - an event, not an error
    """The other side has closed the connection."""


def send_task(connection: socket.socket, task: Task) -> None:
    """Send a task."""
    connection.sendall(_TASK.pack(task.number, task.slot, task.rows, task.epoch, task.batch))


def receive_task(connection: socket.socket) -> Task:
    """Receive a task; raise `Hangup` when the parent has closed the connection."""
    return Task(*_TASK.unpack(_receive(connection, _TASK.size)))


def send_reply(connection: socket.socket, number: int, failure: Failure | None) -> None:
    """Report a task as done (`failure` None) or failed."""
    if failure is None:
        connection.sendall(_REPLY.pack(number, -1))
    else:
        message = pickle.dumps(failure)
        connection.sendall(_REPLY.pack(number, len(message)) + message)


def receive_reply(connection: socket.socket) -> tuple[int, Failure | None]:
    """Receive (number, failure); raise `Hangup` when the worker has ended."""
    number, length = _REPLY.unpack(_receive(connection, _REPLY.size))
    if length < 0:
        return number, None
    failure: Failure = pickle.loads(_receive(connection, length))
    return number, failure


def send_bytes(connection: socket.socket, data: bytes) -> None:
    """Send a message of any length."""
    connection.sendall(_LENGTH.pack(len(data)) + data)


def receive_bytes(connection: socket.socket) -> bytes:
    """Receive a message of any length."""
    [length] = _LENGTH.unpack(_receive(connection, _LENGTH.size))
    return _receive(connection, length)


def _receive(connection: socket.socket, size: int) -> bytes:
    part = _some(connection, size)
    if len(part) == size:  # the usual case
        return part
    parts = bytearray(part)
    while len(parts) < size:
        parts += _some(connection, size - len(parts))
    return bytes(parts)


def _some(connection: socket.socket, size: int) -> bytes:
    try:
        part = connection.recv(size)
    except ConnectionResetError as error:
        raise Hangup from error
    if not part:
        raise Hangup
    return part
