"""Worker processes, as the sequence sees them: one socket each, the arena's descriptor passed on.

A task goes to the worker with the fewest waiting. A worker that dies is replaced and its tasks
are done again once, with a warning, because the out-of-memory killer is no error of the data;
the second death on a task ends the epoch.
"""

from __future__ import annotations

import functools
import io
import pickle
import platform
import selectors
import subprocess
import sys
import time
import warnings
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import cloudpickle

from zarrfeed.errors import WorkerError, printable
from zarrfeed.feed.workers import wire
from zarrfeed.feed.workers.function_copies import cached
from zarrfeed.feed.workers.transform_calls import SampleNames
from zarrfeed.feed.workers.worker_process import (
    EXIT_SECONDS,
    WorkerProcess,
    search_path,
    status_text,
)
from zarrfeed.store.file_limits import with_room
from zarrfeed.store.split import open_split

if TYPE_CHECKING:
    from zarrfeed.feed.arena import Arena
    from zarrfeed.feed.workers import Task
    from zarrfeed.feed.workers.batch_spec import BatchSpec

# Tasks that one worker has at most: a socket holds some hundreds, and then sending would block.
_SENT = 64
# Where stores are seen in the order in which they were made, a slot itself says that it is filled,
# and the interpreter lock need not be given up for a system call. Replies may wait meanwhile.
_STORES_IN_ORDER = platform.machine() in ("x86_64", "AMD64")
_UNREAD = 32


class ProcessWorkers:
    """Fills slots in `count` processes."""

    def __init__(self, batch_spec: BatchSpec, arena: Arena, count: int) -> None:
        self._setup = _setup(batch_spec, arena)
        self._batch_spec = batch_spec
        self._arena = arena
        self._selector = selectors.DefaultSelector()
        self._finished: dict[int, bytes | None] = {}
        self._retried: set[int] = set()
        self._hopeless: bytes | None = None
        self._workers: list[WorkerProcess] = []
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
        """Hang up on every worker; those that have not ended within 2 s are killed."""
        for worker in self._workers:
            worker.hang_up()
        deadline = time.monotonic() + EXIT_SECONDS
        for worker in self._workers:
            with suppress(subprocess.TimeoutExpired):
                worker.process.wait(max(0.0, deadline - time.monotonic()))
        for worker in self._workers:
            worker.process.kill()  # nothing, where it has ended
        deadline = time.monotonic() + EXIT_SECONDS
        for worker in self._workers:
            worker.stop(max(0.0, deadline - time.monotonic()))
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

    def _start(self, *, replaces: bool = False) -> WorkerProcess:
        worker = with_room(
            partial(WorkerProcess, self._setup, self._arena.descriptor, replaces=replaces),
            f"{self._batch_spec.path}: a worker process cannot be started",
            WorkerError,
        )
        self._workers.append(worker)
        self._selector.register(worker.connection, selectors.EVENT_READ, worker)
        return worker

    def _send_kept(self) -> None:
        while self._kept and self._workers:  # where none could start, wait() says why
            worker = min(self._workers, key=WorkerProcess.load)
            if len(worker.waiting) >= _SENT:
                return
            self._send(worker, self._kept.popleft())

    def _send(self, worker: WorkerProcess, task: Task) -> None:
        worker.waiting[task.number] = task
        try:
            wire.send_task(worker.connection, task)
        except (BrokenPipeError, ConnectionResetError):
            while worker in self._workers:  # what it has said last is still to be heard
                self._receive(worker)

    def _receive(self, worker: WorkerProcess) -> None:
        try:
            number, failure = wire.receive_reply(worker.connection)
        except (wire.Hangup, TimeoutError):
            self._replace_dead(worker)
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

    def _replace_dead(self, dead: WorkerProcess) -> None:
        """Replace a dead worker and give its tasks to the new one, each at most once."""
        if dead not in self._workers:
            return
        self._workers.remove(dead)
        self._selector.unregister(dead.connection)
        status = dead.stop(EXIT_SECONDS)
        if self._hopeless is not None:
            return
        if not dead.ready and (dead.replaces or status is None or status >= 0):
            self._hopeless = _stillborn(status)  # the next one would fare no better
            return
        # What is finished must not be done again: its slot may be handed out at any moment.
        lost = [task for task in dead.waiting.values() if not self._ready(task)]
        # Workers answer in order, so the first unanswered task is the one that it died in.
        at_work = lost[0] if lost and dead.ready else None
        if at_work is not None and at_work.number in self._retried:
            self._finished[at_work.number] = _death(dead, status, at_work, self._names(at_work))
            lost = lost[1:]
        elif at_work is not None or not dead.ready:
            where = "before its first batch"
            if at_work is not None:
                where = f"at {printable(str(self._names(at_work)))}"
            if at_work is not None:
                self._retried.add(at_work.number)
            warnings.warn(
                f"worker process {dead.process.pid} died ({status_text(status)}) {where}; a new "
                "one does it again. Signal 9 is usually the out-of-memory killer: fewer workers or "
                "a smaller max_queue_size need less memory",
                RuntimeWarning,
                stacklevel=2,
            )
        replacement = self._start(replaces=True)
        for task in lost:
            self._send(replacement, task)

    def _names(self, task: Task) -> str:
        """Name the samples of a task."""
        ids = self._arena.slot(task.slot).ids[: task.rows]
        try:
            return str(SampleNames(open_split(self._batch_spec.path), ids))
        except (OSError, ValueError):  # the store may be gone
            return f"samples {ids[:4].tolist()} …"


def _setup(batch_spec: BatchSpec, arena: Arena) -> bytes:
    try:
        _Travelling(travelling := io.BytesIO()).dump(batch_spec)
    except Exception as error:
        raise WorkerError(
            f"transform {batch_spec.function_names} cannot be sent to worker processes: "
            f"{error}; keep files, locks and models out of it (make them inside the function), or "
            "set use_multiprocessing=False"
        ) from error
    return pickle.dumps((search_path(), arena.slots, travelling.getvalue()))


class _Travelling(cloudpickle.Pickler):  # type: ignore[misc]
    """Takes what a script caches along, too, which cloudpickle would name: no worker runs it."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, functools._lru_cache_wrapper) and obj.__module__ == "__main__":
            return cached, (obj.__wrapped__, obj.cache_parameters())
        return super().reducer_override(obj)


def _stillborn(status: int | None) -> bytes:
    message = (
        f"a worker process ended before its first batch ({status_text(status)}); its own message "
        f"stands above on standard error; it runs {sys.executable}, workers=0 or threads do not"
    )
    return pickle.dumps((WorkerError, message, "It left no traceback."))


def _death(worker: WorkerProcess, status: int | None, task: Task, names: str) -> bytes:
    message = (
        f"two worker processes died on batch {task.batch} of epoch {task.epoch}, at {names}, the "
        f"last with pid {worker.process.pid} ({status_text(status)}): a transform that exits or "
        "crashes, or too little memory; workers=0 runs it in this process, where a traceback is "
        "seen"
    )
    return pickle.dumps((WorkerError, message, "It left no traceback."))
