"""Worker processes as the sequence sees them. Each has a socket and the arena's descriptor.

The ledger decides which worker gets which task; this module sends, receives and restarts. A worker
that dies is replaced, with a warning: a usual cause is lack of memory, because errors in the data
do not kill a process. A task that kills two workers ends the epoch with an error.
"""

from __future__ import annotations

import platform
import selectors
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from zarrfeed.errors import WorkerError, look_up, printable
from zarrfeed.feed.workers import Failure, wire
from zarrfeed.feed.workers.draw_names import DrawNames
from zarrfeed.feed.workers.process_handle import (
    EXIT_SECONDS,
    WorkerProcess,
    setup_message,
    status_text,
)
from zarrfeed.feed.workers.task_ledger import TaskLedger
from zarrfeed.store.file_limits import with_room
from zarrfeed.user_warning import warn_user

if TYPE_CHECKING:
    from zarrfeed.feed.arena import Arena
    from zarrfeed.feed.workers import Task
    from zarrfeed.feed.workers.batch_spec import BatchSpec

# Largest number of tasks that one worker has. Sending blocks after a few hundred in a socket.
_MOST_SENT = 64
# x86 processors make stores visible to other cores in program order. `Slot.done` then tells that a
# slot is filled, which saves the system call that reads the reply. `_MOST_UNREAD` replies may wait.
_STORES_IN_ORDER = platform.machine() in ("x86_64", "AMD64")
_MOST_UNREAD = 32


class ProcessWorkers:
    """Fills slots in `count` processes; see :class:`zarrfeed.feed.workers.Workers`."""

    def __init__(self, batch_spec: BatchSpec, arena: Arena, count: int) -> None:
        self._setup = setup_message(batch_spec, arena.slots)
        self._split = batch_spec.split
        self._arena = arena
        self._selector = selectors.DefaultSelector()
        self._ledger: TaskLedger[WorkerProcess] = TaskLedger(most_sent=_MOST_SENT)
        self._workers: list[WorkerProcess] = []
        self.count = count
        try:
            for _ in range(count):
                self._start()
        except BaseException:
            self.close()
            raise

    def __str__(self) -> str:
        return f"{len(self._workers)} worker processes"

    def __repr__(self) -> str:
        state = f"{self}; tasks: {self._ledger}" if self._workers else "closed"
        return f"<{type(self).__name__}: {state}>"

    @property
    def pids(self) -> list[int]:
        """Ids of the workers' processes."""
        return [worker.process.pid for worker in self._workers]

    def submit(self, task: Task) -> None:
        """Send a task to the worker with the fewest tasks, or queue it if all have too many."""
        if self._ledger.unread > _MOST_UNREAD:
            while self._listen(0.0):
                pass
        self._ledger.submit(task)
        self._send()

    def wait(self, task: Task, timeout: float) -> bool:
        """Wait until the slot is filled, or raise the error of its worker."""
        deadline = time.monotonic() + timeout
        while not self._is_answered(task):
            if not self._listen(max(0.0, deadline - time.monotonic())):
                return False
        failure = self._ledger.take_answer(task)
        if failure is not None:
            raise failure.error()
        return True

    def close(self) -> None:
        """Close the connection to every worker, and kill those that have not ended within 2 s."""
        for worker in self._workers:
            worker.hang_up()
        deadline = time.monotonic() + EXIT_SECONDS
        for worker in self._workers:
            with suppress(subprocess.TimeoutExpired):
                worker.process.wait(max(0.0, deadline - time.monotonic()))
        for worker in self._workers:
            worker.process.kill()  # does nothing to a process that has ended
        deadline = time.monotonic() + EXIT_SECONDS
        for worker in self._workers:
            worker.stop(max(0.0, deadline - time.monotonic()))
        self._workers.clear()
        self._selector.close()

    def abandon(self) -> None:
        """In a forked child, close the sockets without sending anything to the parent's workers."""
        for worker in self._workers:
            worker.connection.close()
            worker.process.returncode = 0  # it is the parent that must wait for the process
        self._workers.clear()
        self._selector.close()

    def _is_answered(self, task: Task) -> bool:
        """Whether a task is known to be finished, without a system call."""
        if self._ledger.is_answered(task):
            return True
        if not _STORES_IN_ORDER or self._arena.slot(task.slot).done[0] != task.number:
            return False
        self._ledger.finish(task)
        return True

    def _listen(self, timeout: float) -> bool:
        """Read the workers' messages; return False if there is none within `timeout` seconds."""
        ready = self._selector.select(timeout)
        for key, _ in ready:
            self._receive(key.data)
        self._send()
        return bool(ready)

    def _receive(self, worker: WorkerProcess) -> None:
        """Read one message of a worker."""
        if worker not in self._workers:  # it has been replaced
            return
        try:
            number, failure = wire.receive_reply(worker.connection)
        except (wire.Hangup, TimeoutError):
            self._replace(worker)
            return
        if number:
            self._ledger.answer(worker, number, failure)
        elif failure is None:  # the answer to the setup: tasks count from 1
            self._ledger.mark_ready(worker)
        else:
            self._ledger.fail_all(failure)

    def _send(self) -> None:
        """Send all tasks that the ledger assigns."""
        while (assigned := self._ledger.assign()) is not None:
            worker, task = assigned
            try:
                wire.send_task(worker.connection, task)
            except (BrokenPipeError, ConnectionResetError):
                while worker in self._workers:  # read what it sent before it died
                    self._receive(worker)

    def _start(self, *, replaces: bool = False) -> None:
        worker = with_room(
            partial(WorkerProcess, self._setup, self._arena.descriptor),
            f"{self._split.address}: a worker process cannot be started",
            WorkerError,
        )
        self._workers.append(worker)
        self._ledger.add(worker, replaces=replaces)
        self._selector.register(worker.connection, selectors.EVENT_READ, worker)

    def _replace(self, dead: WorkerProcess) -> None:
        """Start a new worker in place of a dead one, unless the new one would die, too."""
        self._workers.remove(dead)
        self._selector.unregister(dead.connection)
        status = dead.stop(EXIT_SECONDS)
        # Finished tasks must not be done again, because their slots may be handed out any moment.
        for task in self._ledger.sent_to(dead):
            self._is_answered(task)
        loss = self._ledger.lose(dead)
        if not loss.ready and (loss.replaces or status is None or status >= 0):
            self._ledger.fail_all(_startup_failure(status))
        if self._ledger.failure is not None:
            return
        died = f"process {dead.process.pid} died ({status_text(status)})"
        names = "" if loss.task is None else self._names(loss.task)
        if loss.task is not None and loss.given_up:
            self._ledger.fail(loss.task, _second_death(loss.task, names, died))
        elif loss.task is not None or not loss.ready:
            during = f"while reading {printable(names)}" if names else "before its first batch"
            warn_user(
                f"worker {died} {during}; a new one takes over its work. Signal 9 usually means "
                "that memory ran out: use fewer workers or a smaller max_queue_size"
                f"{look_up('killed-worker')}",
                RuntimeWarning,
            )
        self._start(replaces=True)

    def _names(self, task: Task) -> str:
        """Return the names of a task's samples."""
        draws = self._arena.slot(task.slot).draws[: task.rows]
        try:
            return str(DrawNames(self._split, draws))
        except (OSError, ValueError):  # the store may be gone
            return f"samples {draws['id'][:4].tolist()} …"


def _startup_failure(status: int | None) -> Failure:
    message = (
        f"a worker process ended before its first batch ({status_text(status)}); see its own "
        f"message on standard error, above. It was started with {sys.executable}. Set workers=0 "
        "or use_multiprocessing=False to read without worker processes"
        f"{look_up('killed-worker')}"
    )
    return Failure(WorkerError, message, "It left no traceback.")


def _second_death(task: Task, names: str, died: str) -> Failure:
    message = (
        f"two worker processes died on batch {task.batch} of epoch {task.epoch} ({names}): the "
        f"second, {died}. The transform crashes or exits, or memory ran out. Set workers=0 to "
        "make the batch in this process and see where it fails"
        f"{look_up('killed-worker')}"
    )
    return Failure(WorkerError, message, "It left no traceback.")
