"""Worker threads: they share the arena by being in the same process."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING

from zarrfeed.errors import WorkerError, WorkerTimeout
from zarrfeed.workers.recipe import Filler, Recipe

if TYPE_CHECKING:
    from zarrfeed.arena import Arena
    from zarrfeed.workers import Task

_JOIN_SECONDS = 5.0


class ThreadWorkers:
    """Fills slots in `count` daemon threads, each with its own open files."""

    def __init__(self, recipe: Recipe, arena: Arena, count: int) -> None:
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._finished: dict[int, BaseException | None] = {}
        self._ready = threading.Condition()
        self._threads = [
            threading.Thread(
                target=_work,
                args=(Filler(recipe), arena, self._tasks, self._finished, self._ready),
                name=f"zarrfeed-{number}",
                daemon=True,
            )
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, task: Task) -> None:
        """Queue a task."""
        self._tasks.put(task)

    def wait(self, task: Task, timeout: float) -> None:
        """Return when the slot is filled, or raise what its worker raised."""
        deadline = time.monotonic() + timeout
        with self._ready:
            while task.number not in self._finished:
                if not self._ready.wait(deadline - time.monotonic()):
                    raise WorkerTimeout(
                        f"batch {task.batch} of epoch {task.epoch} did not come within "
                        f"{timeout:g} s from {len(self._threads)} worker threads: raise "
                        "ZarrSequence(timeout=…) if the storage or the transform is "
                        "that slow"
                    )
            failure = self._finished.pop(task.number)
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Let every thread finish its task and end."""
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(_JOIN_SECONDS)


def _work(
    filler: Filler,
    arena: Arena,
    tasks: queue.SimpleQueue[Task | None],
    finished: dict[int, BaseException | None],
    ready: threading.Condition,
) -> None:
    """Run one thread. It holds no reference to its owner, so that a dropped owner can die."""
    while (task := tasks.get()) is not None:
        failure: BaseException | None = None
        try:
            memory = arena.memory(task.slot)
            filler.fill(memory, rows=task.rows, epoch=task.epoch, batch=task.batch)
        except BaseException as error:  # even SystemExit in a transform is reported
            failure = (
                error
                if isinstance(error, Exception)
                else WorkerError(f"a transform ended the worker thread by {error!r}")
            )
        with ready:
            finished[task.number] = failure
            ready.notify_all()
    filler.close()
