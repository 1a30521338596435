"""Worker processes, as the sequence sees them: one socket each, the arena's descriptor passed on.

A task goes to the worker with the fewest waiting. A worker that dies is replaced and its tasks
are done again once, with a warning, because the out-of-memory killer is no error of the data;
the second death on a task ends the epoch.
"""

from __future__ import annotations

import os
import pickle
import platform
import selectors
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections import deque
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import cloudpickle

import zarrfeed
from zarrfeed.errors import WorkerError
from zarrfeed.workers import wire
from zarrfeed.workers.recipe import names_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from zarrfeed.arena import Arena
    from zarrfeed.workers import Task
    from zarrfeed.workers.recipe import Recipe

_EXIT_SECONDS = 2.0
# A worker that has begun to take or give a message does nothing else meanwhile.
_ANSWER_SECONDS = 60.0
# Tasks that one worker has at most: a socket holds some hundreds, and then sending would block.
_SENT = 64
# Where stores are seen in the order in which they were made, a slot itself says that it is filled,
# and the interpreter lock need not be given up for a system call. Replies may wait meanwhile.
_STORES_IN_ORDER = platform.machine() in ("x86_64", "AMD64")
_UNREAD = 32


class _Worker:
    """One process, its socket, and the tasks it has not answered yet."""

    def __init__(self, setup: bytes, arena_descriptor: int) -> None:
        self.connection, theirs = socket.socketpair()
        with theirs, _held_back(signal.SIGINT):
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "zarrfeed.workers.process",
                    str(theirs.fileno()),
                    str(arena_descriptor),
                ],
                pass_fds=(theirs.fileno(), arena_descriptor),
                stdin=subprocess.DEVNULL,
                env=_environment(os.environ),
            )
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

    def stop(self) -> int | None:
        """Hang up, and kill what does not end; returns the exit status."""
        self.hang_up()
        try:
            return self.process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(_EXIT_SECONDS)


class ProcessWorkers:
    """Fills slots in `count` processes."""

    def __init__(self, recipe: Recipe, arena: Arena, count: int) -> None:
        self._setup = _setup(recipe, arena)
        self._arena = arena
        self._selector = selectors.DefaultSelector()
        self._finished: dict[int, bytes | None] = {}
        self._retried: set[int] = set()
        self._hopeless: bytes | None = None
        self._workers: list[_Worker] = []
        self._kept: deque[Task] = deque()
        self.count = count
        try:
            for _ in range(count):
                self._start()
        except BaseException:
            self.close()
            raise

    def __str__(self) -> str:
        return f"{len(self._workers)} worker processes"

    @property
    def pids(self) -> list[int]:
        """Processes of their own."""
        return [worker.process.pid for worker in self._workers]

    def _ready(self, task: Task) -> bool:
        """Whether a task is known to be finished; costs no system call."""
        if task.number in self._finished:
            return True
        if not _STORES_IN_ORDER or self._arena.slot(task.slot).done[0] != task.number:
            return False
        for worker in self._workers:
            if worker.waiting.pop(task.number, None):
                worker.unread.add(task.number)
        self._finished[task.number] = None
        return True

    def submit(self, task: Task) -> None:
        """Send a task to the worker with the fewest, or keep it until one of them has few."""
        if any(len(worker.unread) > _UNREAD for worker in self._workers):
            while self._listen(0.0):
                pass
        self._kept.append(task)
        self._send_kept()

    def wait(self, task: Task, timeout: float) -> bool:
        """Wait until the slot is filled, or raise what its worker raised."""
        deadline = time.monotonic() + timeout
        while not self._ready(task) and self._hopeless is None:
            if not self._listen(max(0.0, deadline - time.monotonic())):
                return False
        failure = self._finished.pop(task.number, self._hopeless)
        if failure is not None:
            kind, message, note = pickle.loads(failure)
            error = kind(message)
            error.add_note(note)
            raise error
        return True

    def close(self) -> None:
        """Hang up on every worker; one that does not end within 2 s is killed."""
        for worker in self._workers:
            worker.hang_up()
        for worker in self._workers:
            worker.stop()
        self._workers.clear()
        self._selector.close()

    def abandon(self) -> None:
        """In a forked child: let go of the sockets, but do not hang up on the parent's workers."""
        for worker in self._workers:
            worker.connection.close()
            worker.process.returncode = 0  # not ours to wait for
        self._workers.clear()
        self._selector.close()

    def _listen(self, timeout: float) -> bool:
        """Take what the workers say; False if none says anything for `timeout` seconds."""
        ready = self._selector.select(timeout)
        for key, _ in ready:
            self._receive(key.data)
        return bool(ready)

    def _start(self) -> _Worker:
        worker = _Worker(self._setup, self._arena.descriptor)
        self._workers.append(worker)
        self._selector.register(worker.connection, selectors.EVENT_READ, worker)
        return worker

    def _send_kept(self) -> None:
        while self._kept and self._workers:  # where none could start, wait() says why
            worker = min(self._workers, key=_Worker.load)
            if len(worker.waiting) >= _SENT:
                return
            self._send(worker, self._kept.popleft())

    def _send(self, worker: _Worker, task: Task) -> None:
        worker.waiting[task.number] = task
        try:
            wire.send_task(worker.connection, task)
        except (BrokenPipeError, ConnectionResetError):
            self._bury(worker)

    def _receive(self, worker: _Worker) -> None:
        try:
            number, failure = wire.receive_reply(worker.connection)
        except (wire.Hangup, TimeoutError):
            self._bury(worker)
            return
        if number == 0:  # the answer to the setup: tasks count from 1
            worker.ready = True
            self._hopeless = self._hopeless or failure
            return
        if number in worker.unread:
            worker.unread.discard(number)
            return
        worker.waiting.pop(number, None)
        self._finished[number] = failure
        self._send_kept()

    def _bury(self, dead: _Worker) -> None:
        """Replace a dead worker and give its tasks to the new one, each at most once."""
        if dead not in self._workers:
            return
        self._workers.remove(dead)
        self._selector.unregister(dead.connection)
        status = dead.stop()
        if not dead.ready:  # the next one would fare no better
            self._hopeless = _stillborn(status)
            return
        # What is finished must not be done again: its slot may be handed out at any moment.
        lost = [task for task in dead.waiting.values() if not self._ready(task)]
        # Workers answer in order, so the first unanswered task is the one that it died in.
        repeated = bool(lost) and lost[0].number in self._retried
        if repeated:
            self._finished[lost[0].number] = _death(dead, status, lost[0])
            lost = lost[1:]
        elif lost:
            self._retried.add(lost[0].number)
            warnings.warn(
                f"worker process {dead.process.pid} died ({_status(status)}); its batch is done "
                "again by a new one. Signal 9 is usually the out-of-memory killer: fewer workers "
                "or a smaller max_queue_size need less memory",
                RuntimeWarning,
                stacklevel=2,
            )
        replacement = self._start()
        for task in lost:
            self._send(replacement, task)


def _setup(recipe: Recipe, arena: Arena) -> bytes:
    try:
        travelling = cloudpickle.dumps(recipe)
    except Exception as error:
        raise WorkerError(
            f"transform {names_of(recipe)} cannot travel to worker processes: {error}; keep files, "
            "locks and models out of it (make them inside the function), or set "
            "use_multiprocessing=False"
        ) from error
    return pickle.dumps((sys.path, arena.slots, travelling))


@contextmanager
def _held_back(number: signal.Signals) -> Iterator[None]:
    """Hold a signal back, here and in the processes started meanwhile."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Let the worker find this very zarrfeed, however the parent found it."""
    root = str(Path(zarrfeed.__file__).parents[1])
    path = environment.get("PYTHONPATH")
    return {**environment, "PYTHONPATH": os.pathsep.join([root, path] if path else [root])}


def _stillborn(status: int | None) -> bytes:
    message = (
        f"a worker process ended before its first batch ({_status(status)}); its own message "
        f"stands above on standard error; it runs {sys.executable} -m zarrfeed.workers.process"
    )
    return pickle.dumps((WorkerError, message, "It left no traceback."))


def _death(worker: _Worker, status: int | None, task: Task) -> bytes:
    message = (
        f"two worker processes died on batch {task.batch} of epoch {task.epoch}, the last with pid "
        f"{worker.process.pid} ({_status(status)}): a transform that exits or crashes, or too "
        "little memory; workers=0 runs it in this process, where a traceback is seen"
    )
    return pickle.dumps((WorkerError, message, "It left no traceback."))


def _status(status: int | None) -> str:
    if status is None:
        return "it did not end"
    return f"signal {-status}" if status < 0 else f"exit status {status}"
