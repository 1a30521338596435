"""One worker process, as the sequence sees it: how it is started, spoken to and ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import sysconfig
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed.feed.workers import wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zarrfeed.feed.workers import Task

# The very zarrfeed that runs here, wherever it lies, without a folder more on the path.
_START = """
import sys
from importlib.util import module_from_spec, spec_from_file_location
spec = spec_from_file_location("zarrfeed", sys.argv[2])
sys.modules["zarrfeed"] = package = module_from_spec(spec)
spec.loader.exec_module(package)
from zarrfeed.feed.workers.process_main import main
main(*map(int, sys.argv[3:]))
"""
_PACKAGE = Path(__file__).parents[2] / "__init__.py"
EXIT_SECONDS = 2.0
# A worker that has begun to take or give a message does nothing else meanwhile.
_ANSWER_SECONDS = 60.0


class WorkerProcess:
    """One process, its socket, and the tasks it has not answered yet."""

    def __init__(self, setup: bytes, arena_descriptor: int, *, replaces: bool) -> None:
        self.replaces = replaces
        self.connection, theirs = socket.socketpair()
        try:
            with theirs, _held_back(signal.SIGINT):
                descriptors = theirs.fileno(), arena_descriptor
                self.process = subprocess.Popen(
                    [
                        sys.executable, *_flags(), "-c", _START,
                        "zarrfeed.feed.workers.process_main",
                        str(_PACKAGE), *map(str, descriptors),
                    ],
                    pass_fds=descriptors,
                    stdin=subprocess.DEVNULL,
                )  # fmt: skip
        except BaseException:
            self.connection.close()
            raise
        self.waiting: dict[int, Task] = {}
        self.unread: set[int] = set()  # finished, as its slot says, and the reply is still to come
        self.ready = False
        self.connection.settimeout(_ANSWER_SECONDS)
        with suppress(OSError):  # it died at once; its socket will say so
            wire.send_bytes(self.connection, setup)

    def load(self) -> tuple[int, int]:
        """How much it has to do: that with as many tasks, but older ones, is done sooner."""
        return len(self.waiting), max(self.waiting, default=0)

    def hang_up(self) -> None:
        """End the conversation, also where a process that the user forked holds the socket, too."""
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()

    def stop(self, seconds: float) -> int | None:
        """Hang up, and kill what does not end in time; returns the exit status."""
        self.hang_up()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            with suppress(subprocess.TimeoutExpired):
                return self.process.wait(EXIT_SECONDS)
        return None  # not even a signal ends it: it waits for a disk


@contextmanager
def _held_back(number: signal.Signals) -> Iterator[None]:
    """Hold a signal back, here and in the processes started meanwhile."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _flags() -> list[str]:
    """Have nothing loaded from the current folder, and nothing that this process would not load."""
    if sys.flags.isolated:
        return ["-I"]
    return ["-P", *["-E"][: sys.flags.ignore_environment], *["-s"][: sys.flags.no_user_site]]


def search_path() -> list[str]:
    """Let the user's functions find their modules, but nothing of theirs stand for Python's own."""
    standard = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}
    standard |= {os.path.join(folder, "lib-dynload") for folder in standard}  # noqa: PTH118
    with suppress(FileNotFoundError):  # the current folder may be gone
        return sorted(map(os.path.abspath, sys.path), key=lambda folder: folder not in standard)
    return sorted(filter(os.path.isabs, sys.path), key=lambda folder: folder not in standard)


def status_text(status: int | None) -> str:
    """Say how a process ended."""
    if status is None:
        return "it did not end"
    return f"signal {-status}" if status < 0 else f"exit status {status}"
