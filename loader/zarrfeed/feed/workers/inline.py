"""No workers (``workers=0``): a batch is read when it is requested."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed.feed.workers.batch_maker import BatchMaker

if TYPE_CHECKING:
    from zarrfeed.feed.arena import Arena
    from zarrfeed.feed.workers import Task
    from zarrfeed.feed.workers.batch_spec import BatchSpec


class InlineWorkers:
    """Fills slots in the caller's own thread."""

    count = 0
    pids: tuple[int, ...] = ()

    def __init__(self, batch_spec: BatchSpec, arena: Arena) -> None:
        self._maker = BatchMaker(batch_spec)
        self._arena = arena
        self._queued = 0
        self._closed = False

    def __str__(self) -> str:
        return "no worker"

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{self}; tasks: {self._queued} queued"
        return f"<{type(self).__name__}: {state}>"

    def submit(self, task: Task) -> None:  # noqa: ARG002 - `wait` does the task
        """Count the task; :meth:`wait` does it."""
        self._queued += 1

    def wait(self, task: Task, timeout: float) -> bool:  # noqa: ARG002 - never waits
        """Fill the slot."""
        self._queued -= 1
        self._maker.do(task, self._arena)
        return True

    def close(self) -> None:
        """Close the store's files."""
        self._closed = True
        self._maker.close()

    def abandon(self) -> None:
        """In a forked child, close the copies of the files."""
        self.close()
