"""Workers fill slots in the caller's thread, in other threads or in processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed.errors import ZarrfeedError


@dataclass(frozen=True, slots=True)
class Task:
    """One batch to read into one slot.

    Attributes
    ----------
    number
        Number of the task, unique per feeder.
    slot
        Number of the slot to fill, which already contains the sample ids.
    rows
        Number of samples.
    epoch, batch
        Numbers of the epoch and of the batch, which seed the transforms' random numbers.
    """

    number: int
    slot: int
    rows: int
    epoch: int
    batch: int


@dataclass(frozen=True, slots=True)
class Failure:
    """An error that a worker process reports.

    Attributes
    ----------
    kind, message
        Class and message of the exception.
    note
        The traceback as text.
    """

    kind: type[ZarrfeedError]
    message: str
    note: str

    def error(self) -> ZarrfeedError:
        """Return the exception to raise."""
        error = self.kind(self.message)
        error.add_note(self.note)
        return error


class Workers(Protocol):
    """A group of workers that fill slots in any order."""

    @property
    def count(self) -> int:
        """Number of workers; 0 if the caller does the work."""
        ...

    @property
    def pids(self) -> Sequence[int]:
        """Ids of the workers' processes; empty if they are threads of this process."""
        ...

    def submit(self, task: Task) -> None:
        """Start a task without blocking."""
        ...

    def wait(self, task: Task, timeout: float) -> bool:
        """Wait until the task's slot is filled.

        Returns
        -------
        bool
            False if `timeout` seconds passed first. The worker may then still write to the slot.

        Raises
        ------
        WorkerError
            The task failed, or its worker died.
        ReadError
            The store could not be read.
        """
        ...

    def close(self) -> None:
        """Stop all workers. Tasks under way are lost."""
        ...

    def abandon(self) -> None:
        """In a forked child, drop the workers, which belong to the parent, without waiting."""
        ...
