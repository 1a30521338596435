"""How is the fetcher reached, the process that downloads what mirrors lack?

There is one per cache. Whoever needs it first starts it; it ends when its last client has gone.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from zarrfeed.errors import StoreError, look_up
from zarrfeed.python_process import command_of

if TYPE_CHECKING:
    from pathlib import Path

ADDRESS = "fetcher.json"  # in the cache: the fetcher's socket and process id
LOG = "fetcher.log"
_FETCHER = "zarrfeed.feed.fetching.main"
_START_SECONDS = 60.0
_RETRY_SECONDS = 0.01
_MOST_LOG = 1 << 20


def connect(cache: Path, *, dead: int | None = None) -> socket.socket:
    """Connect to the fetcher of a cache, and start it if there is none.

    Parameters
    ----------
    cache
        Folder of the cache.
    dead
        Process id of a fetcher that has hung up. While it dies, it still takes connections.

    Raises
    ------
    StoreError
        The cache cannot be written, or the fetcher does not start.
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"{cache}: cannot be used as a cache ({error.strerror}): give cache= a folder on a "
            f"local disk{look_up('remote-store')}"
        ) from error
    deadline = time.monotonic() + _START_SECONDS
    started: subprocess.Popen[bytes] | None = None
    killed = 0
    while True:
        connection = _reached(cache)
        if connection is not None:
            if dead is None or peer_pid(connection) != dead:
                return connection
            connection.close()
        status = None if started is None else started.poll()
        killed += status is not None and status < 0
        if (status or 0) > 0 or killed > 1 or time.monotonic() > deadline:
            what = "failed" if status else f"did not start within {_START_SECONDS:g} s"
            raise StoreError(
                f"{cache}: the process that fetches {what}: {last_words(cache)}"
                f"{look_up('remote-store')}"
            )
        # 0: another one had the lock of the cache, and may end.
        if started is None or status is not None:
            started = _start(cache)
        time.sleep(_RETRY_SECONDS)


def _start(cache: Path) -> subprocess.Popen[bytes]:
    """Start a fetcher, which shares neither the terminal nor the signals of this process."""
    log = cache / LOG
    with suppress(OSError):
        if log.stat().st_size > _MOST_LOG:
            log.unlink()
    with log.open("ab") as file:
        process = subprocess.Popen(
            command_of(_FETCHER, os.path.realpath(cache)),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            cwd="/",
            # NumPy's linear algebra, which a fetcher does not use, would start threads that spin.
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,
        )
    # Takes note of its end, so that no dead process is left.
    threading.Thread(target=process.wait, daemon=True, name="zarrfeed's fetcher").start()
    return process


def last_words(cache: Path) -> str:
    """Return the last line that the fetcher of a cache has logged."""
    try:
        lines = (cache / LOG).read_text("utf-8", "replace").strip().splitlines()
    except OSError as error:
        return str(error)
    return lines[-1] if lines else f"{cache / LOG} says nothing"


def _reached(cache: Path) -> socket.socket | None:
    """Return a connection to a running fetcher; None if there is none."""
    try:
        path = str(json.loads((cache / ADDRESS).read_bytes())["socket"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(_START_SECONDS)
        connection.connect(path)
        if peer_uid(connection) not in (None, os.getuid()):
            raise StoreError(
                f"{cache}: another user's process listens for this cache: give cache= a folder of "
                f"your own{look_up('remote-store')}"
            )
    except BaseException as error:
        connection.close()
        if isinstance(error, OSError) and not isinstance(error, StoreError):
            return None
        raise
    return connection


def peer_uid(connection: socket.socket) -> int | None:
    """Return which user the other side is; None if the system does not say."""
    return _peer(connection)[1]


def peer_pid(connection: socket.socket) -> int | None:
    """Return which process the other side is; None if the system does not say."""
    return _peer(connection)[0]


def _peer(connection: socket.socket) -> tuple[int | None, int | None]:
    if not hasattr(socket, "SO_PEERCRED"):
        return None, None
    size = struct.calcsize("3i")
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    process, user, _ = struct.unpack("3i", found)
    return process, user
