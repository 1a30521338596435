"""How is a worker process started, set up and ended?"""

from __future__ import annotations

import functools
import io
import os
import pickle
import signal
import socket
import subprocess
import sys
import sysconfig
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import cloudpickle

from zarrfeed.errors import WorkerError, look_up
from zarrfeed.feed.workers import wire
from zarrfeed.feed.workers.function_copies import cached
from zarrfeed.python_process import command_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zarrfeed.feed.workers.batch_spec import BatchSpec

EXIT_SECONDS = 2.0
# Timeout of one message. A worker does nothing else while it reads or writes one.
_ANSWER_SECONDS = 60.0


class WorkerProcess:
    """One process and its socket.

    Parameters
    ----------
    setup
        The first message to the process; see :func:`setup_message`.
    arena_descriptor
        Descriptor of the memory to which the process writes.
    """

    def __init__(self, setup: bytes, arena_descriptor: int) -> None:
        self.connection, theirs = socket.socketpair()
        try:
            with theirs, _blocked(signal.SIGINT):
                descriptors = theirs.fileno(), arena_descriptor
                self.process = subprocess.Popen(
                    command_of("zarrfeed.feed.workers.process_main", *descriptors),
                    pass_fds=descriptors,
                    stdin=subprocess.DEVNULL,
                )
        except BaseException:
            self.connection.close()
            raise
        self.connection.settimeout(_ANSWER_SECONDS)
        with suppress(OSError):  # if the process has died, the next read of its socket says so
            wire.send_bytes(self.connection, setup)

    def hang_up(self) -> None:
        """Close the connection, even if a process that the user forked has it open, too."""
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()

    def stop(self, seconds: float) -> int | None:
        """Close the connection, and kill the process if it does not end in time.

        Parameters
        ----------
        seconds
            Time to wait for the process before it is killed.

        Returns
        -------
        int or None
            Exit status, negative for a signal; None if the process cannot be killed.
        """
        self.hang_up()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            with suppress(subprocess.TimeoutExpired):
                return self.process.wait(EXIT_SECONDS)
        return None  # not even SIGKILL ends a process that waits for a disk


def setup_message(spec: BatchSpec, slots: int) -> bytes:
    """Pickle the first message to a worker process.

    Parameters
    ----------
    spec
        What the process makes.
    slots
        Number of slots of the arena.

    Raises
    ------
    WorkerError
        The user's functions cannot be pickled.
    """
    pickled = io.BytesIO()
    try:
        _SpecPickler(pickled).dump(spec)
    except Exception as error:
        raise WorkerError(
            f"transform {spec.function_names} cannot be sent to worker processes: {error}; keep "
            "files, locks and models out of it (make them inside the function), or set "
            "use_multiprocessing=False"
            f"{look_up('transform-copies')}"
        ) from error
    return pickle.dumps((_search_path(), slots, pickled.getvalue()))


class _SpecPickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles cached functions of a script by value, because workers do not import the script."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, functools._lru_cache_wrapper) and obj.__module__ == "__main__":
            return cached, (obj.__wrapped__, obj.cache_parameters())
        return super().reducer_override(obj)


@contextmanager
def _blocked(number: signal.Signals) -> Iterator[None]:
    """Block a signal in this thread and in the processes that it starts meanwhile."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _search_path() -> list[str]:
    """Return this process's search path with the standard library first, so that none hides it."""
    standard = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}
    standard |= {os.path.join(folder, "lib-dynload") for folder in standard}  # noqa: PTH118
    with suppress(FileNotFoundError):  # the current folder may be gone
        return sorted(map(os.path.abspath, sys.path), key=lambda folder: folder not in standard)
    return sorted(filter(os.path.isabs, sys.path), key=lambda folder: folder not in standard)


def status_text(status: int | None) -> str:
    """Describe how a process ended."""
    if status is None:
        return "it did not end"
    return f"signal {-status}" if status < 0 else f"exit status {status}"
