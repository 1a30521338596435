"""Which worker has which task, and which tasks are sent again when a worker dies?

Pure: a worker is any hashable object, and the caller does the sending. A task is in one state at a
time: queued, sent to one worker, or answered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from zarrfeed.feed.workers import Failure, Task

Worker = TypeVar("Worker", bound=Hashable)


@dataclass(slots=True)
class _Entry:
    """The tasks of one worker."""

    replaces: bool
    ready: bool = False
    sent: dict[int, Task] = field(default_factory=dict)  # in the order of execution
    unread: set[int] = field(default_factory=set)  # finished tasks whose reply was not read yet

    def load(self) -> tuple[int, int]:
        """Return the key by which to choose a worker: the fewest tasks, then the oldest ones."""
        return len(self.sent), max(self.sent, default=0)


@dataclass(frozen=True, slots=True)
class Loss:
    """Consequences of the death of a worker.

    Attributes
    ----------
    ready
        Whether the worker had ever been ready for tasks.
    replaces
        Whether it was a replacement of another worker that had died.
    task
        The task during which it died; None if it had none.
    given_up
        Whether `task` has killed two workers. It is not sent again, and the caller must fail it.
    """

    ready: bool
    replaces: bool
    task: Task | None = None
    given_up: bool = False


class TaskLedger(Generic[Worker]):
    """Records the state of tasks and workers.

    Parameters
    ----------
    most_sent
        Largest number of tasks that one worker has.

    Examples
    --------
    >>> from zarrfeed.feed.workers import Task
    >>> ledger = TaskLedger(most_sent=2)
    >>> ledger.add("ann")
    >>> ledger.mark_ready("ann")
    >>> for number in (1, 2, 3):
    ...     ledger.submit(task := Task(number, slot=number, rows=4, epoch=0, batch=number))
    >>> worker, task = ledger.assign()
    >>> worker, task.number
    ('ann', 1)
    >>> ledger
    <TaskLedger: 2 queued, 1 sent, 0 answered>
    >>> ledger.lose("ann").task.number  # task 1 is sent again, before the others
    1
    >>> ledger
    <TaskLedger: 3 queued, 0 sent, 0 answered>
    """

    def __init__(self, *, most_sent: int) -> None:
        self._most_sent = most_sent
        self._entries: dict[Worker, _Entry] = {}
        self._queued: deque[Task] = deque()
        self._answers: dict[int, Failure | None] = {}
        self._retried: set[int] = set()  # tasks during which a worker has died
        self.failure: Failure | None = None  # the failure of all tasks, including later ones

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"

    def __str__(self) -> str:
        sent = sum(len(entry.sent) for entry in self._entries.values())
        return f"{len(self._queued)} queued, {sent} sent, {len(self._answers)} answered"

    @property
    def unread(self) -> int:
        """Largest number of finished tasks of one worker whose replies were not read yet."""
        return max((len(entry.unread) for entry in self._entries.values()), default=0)

    def add(self, worker: Worker, *, replaces: bool = False) -> None:
        """Add a worker that has been started."""
        self._entries[worker] = _Entry(replaces)

    def mark_ready(self, worker: Worker) -> None:
        """Record that a worker is ready for tasks."""
        self._entries[worker].ready = True

    def submit(self, task: Task) -> None:
        """Queue a task."""
        self._queued.append(task)

    def assign(self) -> tuple[Worker, Task] | None:
        """Assign the next task to the worker with the fewest tasks.

        Returns
        -------
        (worker, task) or None
            None if no task is queued, or all workers have as many tasks as they may.
        """
        if not self._queued or not self._entries:
            return None
        worker, entry = min(self._entries.items(), key=lambda item: item[1].load())
        if len(entry.sent) >= self._most_sent:
            return None
        task = self._queued.popleft()
        entry.sent[task.number] = task
        return worker, task

    def sent_to(self, worker: Worker) -> list[Task]:
        """Return the tasks that a worker has not answered yet."""
        return list(self._entries[worker].sent.values())

    def finish(self, task: Task) -> None:
        """Record that a sent task is finished before its reply has been read."""
        for entry in self._entries.values():
            if entry.sent.pop(task.number, None):
                entry.unread.add(task.number)
        self._answers[task.number] = None

    def answer(self, worker: Worker, number: int, failure: Failure | None) -> None:
        """Record the reply to a task: its failure, or None if it was done."""
        entry = self._entries[worker]
        if number in entry.unread:
            entry.unread.remove(number)
        else:
            del entry.sent[number]
            self._answers[number] = failure

    def lose(self, worker: Worker) -> Loss:
        """Remove a worker that has died, and queue its tasks before all others.

        Workers do their tasks in order, so that it died during the first unfinished task. That task
        is sent again only once, because it may be what kills workers.
        """
        entry = self._entries.pop(worker)
        tasks = list(entry.sent.values())
        at_work = tasks[0] if tasks and entry.ready else None
        given_up = at_work is not None and at_work.number in self._retried
        if at_work is not None:
            self._retried.add(at_work.number)
        self._queued.extendleft(reversed(tasks[1:] if given_up else tasks))
        return Loss(entry.ready, entry.replaces, at_work, given_up)

    def fail(self, task: Task, failure: Failure) -> None:
        """Record the failure of a task that was given up."""
        self._answers[task.number] = failure

    def fail_all(self, failure: Failure) -> None:
        """Fail all tasks that are not answered, and later ones. Only the first failure is kept."""
        self.failure = self.failure or failure

    def is_answered(self, task: Task) -> bool:
        """Whether a task is done or has failed."""
        return task.number in self._answers or self.failure is not None

    def take_answer(self, task: Task) -> Failure | None:
        """Remove a task and return its failure, or None if it was done."""
        self._retried.discard(task.number)
        return self._answers.pop(task.number, self.failure)
