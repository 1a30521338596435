"""Worker threads: they write to the arena of their own process."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING

from zarrfeed.errors import WorkerError
from zarrfeed.feed.workers.batch_maker import BatchMaker
from zarrfeed.feed.workers.function_copies import own_copies

if TYPE_CHECKING:
    from zarrfeed.feed.arena import Arena
    from zarrfeed.feed.workers import Task
    from zarrfeed.feed.workers.batch_spec import BatchSpec

_JOIN_SECONDS = 2.0  # for all threads together


class ThreadWorkers:
    """Fills slots in `count` daemon threads, each with its own open files.

    See :class:`zarrfeed.feed.workers.Workers`.
    """

    pids: tuple[int, ...] = ()

    def __init__(self, batch_spec: BatchSpec, arena: Arena, count: int) -> None:
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[int, BaseException | None]] = queue.SimpleQueue()
        self._finished: dict[int, BaseException | None] = {}
        self._untaken = 0  # number of tasks that `wait` has not returned yet
        self.count = count
        self._threads = [
            threading.Thread(
                target=_work,
                args=(BatchMaker(own), arena, self._tasks, self._answers),
                name=f"zarrfeed-{number}",
                daemon=True,
            )
            for number, own in enumerate(own_copies(batch_spec, count))
        ]
        for thread in self._threads:
            thread.start()

    def __str__(self) -> str:
        return f"{len(self._threads)} worker threads"

    def __repr__(self) -> str:
        queued, answered = self._tasks.qsize(), len(self._finished) + self._answers.qsize()
        sent = self._untaken - queued - answered
        state = f"{self}; tasks: {queued} queued, {sent} sent, {answered} answered"
        return f"<{type(self).__name__}: {state if self._threads else 'closed'}>"

    def submit(self, task: Task) -> None:
        """Queue a task."""
        self._untaken += 1
        self._tasks.put(task)

    def wait(self, task: Task, timeout: float) -> bool:
        """Wait until the slot is filled, or raise the error of its worker."""
        deadline = time.monotonic() + timeout
        while task.number not in self._finished:
            try:
                number, failure = self._answers.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return False
            self._finished[number] = failure
        self._untaken -= 1
        failure = self._finished.pop(task.number)
        if failure is not None:
            raise failure
        return True

    def close(self) -> None:
        """Let every thread finish its task and end, without waiting longer than 2 s for all."""
        for _ in self._threads:
            self._tasks.put(None)
        deadline = time.monotonic() + _JOIN_SECONDS
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
        self._threads.clear()

    def abandon(self) -> None:
        """In a forked child, forget the threads, which do not exist there."""
        self._threads.clear()


def _work(
    maker: BatchMaker,
    arena: Arena,
    tasks: queue.SimpleQueue[Task | None],
    answers: queue.SimpleQueue[tuple[int, BaseException | None]],
) -> None:
    """Run one thread. It has no reference to the pool, which can thus be garbage-collected."""
    while (task := tasks.get()) is not None:
        failure: BaseException | None = None
        try:
            maker.do(task, arena)
        except BaseException as error:  # even SystemExit in a transform is reported
            failure = (
                error
                if isinstance(error, Exception)
                else WorkerError(f"a transform ended the worker thread by {error!r}")
            )
        answers.put((task.number, failure))
    maker.close()
