"""Workers fill slots: in the caller, in threads, or in processes, behind one protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed.errors import ZarrfeedError


@dataclass(frozen=True, slots=True)
class Task:
    """One batch to be read into one slot.

    Attributes
    ----------
    number
        Counts the tasks of a feeder; never used twice.
    slot
        Where the batch goes; the sample ids already stand there.
    rows
        How many samples.
    epoch, batch
        Which batch of which epoch: seeds of the transforms' random numbers.
    """

    number: int
    slot: int
    rows: int
    epoch: int
    batch: int


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as a worker process reports it.

    Attributes
    ----------
    kind, message
        Class and text.
    note
        The traceback, as text.
    """

    kind: type[ZarrfeedError]
    message: str
    note: str

    def error(self) -> ZarrfeedError:
        """Make the exception to raise."""
        error = self.kind(self.message)
        error.add_note(self.note)
        return error


class Workers(Protocol):
    """Fills slots in any order; the caller waits for the tasks in an order of its own."""

    @property
    def count(self) -> int:
        """How many there are; 0 if the caller does the work."""
        ...

    @property
    def pids(self) -> Sequence[int]:
        """Ids of their processes, if they are not threads of this one."""
        ...

    def submit(self, task: Task) -> None:
        """Start a task. Never blocks."""
        ...

    def wait(self, task: Task, timeout: float) -> bool:
        """Wait until the task's slot is filled.

        Returns
        -------
        bool
            False if `timeout` seconds passed first; the slot may still be written to.

        Raises
        ------
        WorkerError
            The task failed, or its worker died.
        ReadError
            The store could not be read.
        """
        ...

    def close(self) -> None:
        """Stop every worker; tasks under way are lost."""
        ...

    def abandon(self) -> None:
        """In a forked child: forget the workers, which are the parent's, without waiting."""
        ...
