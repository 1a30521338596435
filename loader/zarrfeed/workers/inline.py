"""No worker at all (``workers=0``): a batch is read when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed.workers.recipe import Filler, Recipe

if TYPE_CHECKING:
    from zarrfeed.arena import Arena
    from zarrfeed.workers import Task


class InlineWorkers:
    """Fills slots in the caller's own thread."""

    count = 0
    pids: tuple[int, ...] = ()

    def __init__(self, recipe: Recipe, arena: Arena) -> None:
        self._filler = Filler(recipe)
        self._arena = arena

    def __str__(self) -> str:
        return "no worker"

    def submit(self, task: Task) -> None:
        """Nothing happens before :meth:`wait`."""

    def wait(self, task: Task, timeout: float) -> bool:  # noqa: ARG002 - nothing is waited for
        """Fill the slot now."""
        self._filler.do(task, self._arena)
        return True

    def close(self) -> None:
        """Close the store's files."""
        self._filler.close()

    def abandon(self) -> None:
        """In a forked child: the same."""
        self.close()
