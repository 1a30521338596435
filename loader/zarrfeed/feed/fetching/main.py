"""The main function of the fetcher: one process per user and cache.

It is started, not forked, by whoever needs it first, and ends when nobody has needed it for two
seconds. Its clients' processes may end in any way: the system closes their connections.
"""

from __future__ import annotations

import asyncio
import faulthandler
import fcntl
import json
import logging
import os
import shutil
import signal
import socket
import stat
import sys
import tempfile
from contextlib import suppress
from hashlib import blake2b
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed.feed.fetching.cache_space import CacheSpace
from zarrfeed.feed.fetching.clients import Clients
from zarrfeed.feed.fetching.downloads import Downloads
from zarrfeed.feed.fetching.fetch_plan import FetchPlan
from zarrfeed.store.files import replace_file
from zarrfeed.store.mirror.fetcher_process import ADDRESS, peer_uid

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOG = logging.getLogger(__name__)

_LOCK = "fetcher.lock"
_IDLE_SECONDS = 2.0
_FIRST_SECONDS = 20.0  # until the first client, who has started this process
_MOST_PATH = 100  # of the 107 bytes that a socket's name may have
# The event loop waits so long for threads that compute plans; Python's 5 ms are as long as a
# megabyte takes.
_SWITCH_SECONDS = 0.0005
# What is needed once metadata has come; it is imported while that is on its way.
_LATER = ("numcodecs.zstd", "zarrfeed.order.schedule", "zarrfeed.feed.workers.batch_spec")


def main(cache: str) -> None:
    """Fetch for the clients of a cache until the last one has gone.

    Parameters
    ----------
    cache
        Folder of the cache.
    """
    with suppress(Exception):
        faulthandler.enable()
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.setswitchinterval(_SWITCH_SECONDS)
    folder = Path(cache)
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return  # another one runs
    for left in (*folder.glob("new-*.tmp"), *folder.glob("holes-*.tmp")):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    asyncio.run(_serve(folder))


async def _serve(cache: Path) -> None:
    plan = FetchPlan(None)
    downloads = Downloads(plan)
    clients = Clients(cache, downloads, CacheSpace(cache, plan))
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, over.set)

    def end_if_idle() -> None:
        if not clients.connected:
            over.set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs = writer.get_extra_info("socket")
        try:
            if peer_uid(theirs) in (None, os.getuid()):
                await clients.serve(reader, writer)
        except Exception:
            _LOG.exception("a client was lost")
        finally:
            writer.close()
            if not clients.connected:
                loop.call_later(_IDLE_SECONDS, end_if_idle)

    path = _socket_path(cache)
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    path.chmod(0o600)
    server = await asyncio.start_unix_server(serve, sock=listening)
    address = cache / ADDRESS
    replace_file(address, json.dumps({"socket": str(path), "pid": os.getpid()}).encode())
    loop.call_later(_FIRST_SECONDS, end_if_idle)
    for module in _LATER:
        loop.run_in_executor(None, import_module, module)
    try:
        await over.wait()
    finally:
        address.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        server.close()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)  # whoever connects now starts another; threads may still compute


def _socket_path(cache: Path) -> Path:
    """Return the name of this cache's socket, in a folder that is this user's alone."""
    name = f"{blake2b(os.fsencode(cache), digest_size=8).hexdigest()}.sock"
    for folder in _folders():
        path = folder / name
        if len(os.fsencode(path)) <= _MOST_PATH:
            with suppress(FileExistsError):
                folder.mkdir(mode=0o700)
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
                raise PermissionError(f"{folder} is not a folder of this user")
            folder.chmod(0o700)
            return path
    raise OSError("the folder of temporary files has too long a name for sockets")


def _folders() -> Iterator[Path]:
    for parent in (tempfile.gettempdir(), "/tmp"):
        yield Path(parent, f"zarrfeed-{os.getuid()}")
