"""Which worker has which task, and which tasks go again when a worker dies?

Pure: a worker is any hashable object, and whoever holds the ledger does the sending. A task is in
one place at a time: queued, sent to one worker, or answered.
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
    """What one worker has."""

    replaces: bool
    ready: bool = False
    sent: dict[int, Task] = field(default_factory=dict)  # in the order in which it does them
    unread: set[int] = field(default_factory=set)  # known to be finished; the reply is to come

    def load(self) -> tuple[int, int]:
        """How much it has to do: of as many tasks, older ones are finished sooner."""
        return len(self.sent), max(self.sent, default=0)


@dataclass(frozen=True, slots=True)
class Loss:
    """What the death of a worker means.

    Attributes
    ----------
    ready
        Whether it had ever been ready to work.
    replaces
        Whether it stood in for another that had died.
    task
        The one in which it died; None if it had nothing to do.
    given_up
        Whether `task` has killed two workers: it does not go again, and must be failed.
    """

    ready: bool
    replaces: bool
    task: Task | None = None
    given_up: bool = False


class TaskLedger(Generic[Worker]):
    """Keeps the books of tasks and workers.

    Parameters
    ----------
    most_sent
        Tasks that one worker has at most.

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
    >>> ledger.lose("ann").task.number  # task 1 goes again, first of all
    1
    >>> ledger
    <TaskLedger: 3 queued, 0 sent, 0 answered>
    """

    def __init__(self, *, most_sent: int) -> None:
        self._most_sent = most_sent
        self._entries: dict[Worker, _Entry] = {}
        self._queued: deque[Task] = deque()
        self._answers: dict[int, Failure | None] = {}
        self._retried: set[int] = set()  # tasks that a worker has died in
        self.failure: Failure | None = None  # of all tasks, those to come included

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"

    def __str__(self) -> str:
        sent = sum(len(entry.sent) for entry in self._entries.values())
        return f"{len(self._queued)} queued, {sent} sent, {len(self._answers)} answered"

    @property
    def unread(self) -> int:
        """Replies still to come for tasks known to be finished: the most that one worker owes."""
        return max((len(entry.unread) for entry in self._entries.values()), default=0)

    def add(self, worker: Worker, *, replaces: bool = False) -> None:
        """Add a worker that has been started."""
        self._entries[worker] = _Entry(replaces)

    def mark_ready(self, worker: Worker) -> None:
        """Note that a worker has started on its tasks."""
        self._entries[worker].ready = True

    def submit(self, task: Task) -> None:
        """Queue a task."""
        self._queued.append(task)

    def assign(self) -> tuple[Worker, Task] | None:
        """Choose what to send next, and to whom: the worker with the fewest tasks.

        Returns
        -------
        tuple or None
            None if nothing is queued, or all workers have as many tasks as they may.
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
        """List the tasks that a worker has not answered yet."""
        return list(self._entries[worker].sent.values())

    def finish(self, task: Task) -> None:
        """Note that a sent task is finished, before its reply has been read."""
        for entry in self._entries.values():
            if entry.sent.pop(task.number, None):
                entry.unread.add(task.number)
        self._answers[task.number] = None

    def answer(self, worker: Worker, number: int, failure: Failure | None) -> None:
        """Note the reply to a task: None if it was done."""
        entry = self._entries[worker]
        if number in entry.unread:
            entry.unread.remove(number)
        else:
            del entry.sent[number]
            self._answers[number] = failure

    def lose(self, worker: Worker) -> Loss:
        """Strike off a worker that has died; its tasks go again, before all others.

        Workers do their tasks in order, so it died in the first that it had not finished. That one
        goes again once: it may be what kills them.
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
        """Answer a task that was given up."""
        self._answers[task.number] = failure

    def fail_all(self, failure: Failure) -> None:
        """Fail every task that is not answered: no worker will do it. The first failure stays."""
        self.failure = self.failure or failure

    def is_answered(self, task: Task) -> bool:
        """Whether there is an answer to a task."""
        return task.number in self._answers or self.failure is not None

    def take_answer(self, task: Task) -> Failure | None:
        """Take the answer to a task, and forget the task; None if it was done."""
        self._retried.discard(task.number)
        return self._answers.pop(task.number, self.failure)
