"""Every task is answered once, whichever workers die, and no task kills more than two."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from zarrfeed import ReadError, WorkerError
from zarrfeed.feed.workers import Failure, Task
from zarrfeed.feed.workers.task_ledger import Loss, TaskLedger

FAILURE = Failure(ReadError, "the shard is missing", "a traceback")
CRASH = Failure(WorkerError, "two workers died", "no traceback")
MOST_SENT = 3


def task(number: int) -> Task:
    return Task(number, slot=number, rows=4, epoch=0, batch=number)


class WorkersAndTheirLedger(RuleBasedStateMachine):
    """Workers that do their tasks in order, answer late, and die at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger: TaskLedger[int] = TaskLedger(most_sent=MOST_SENT)
        self.sent: dict[int, list[int]] = {}  # per worker, what it has still to do
        self.silent: dict[int, list[int]] = {}  # what it has done, and not said yet
        self.ready: set[int] = set()
        self.submitted = self.started = 0
        self.answers: dict[int, Failure | None] = {}  # not taken yet
        self.deaths: dict[int, int] = {}
        self.taken: list[int] = []
        for _ in range(2):
            self.start(replaces=False)

    def start(self, *, replaces: bool) -> None:
        self.started += 1
        self.ledger.add(self.started, replaces=replaces)
        self.sent[self.started], self.silent[self.started] = [], []

    def choose(self, data: Any, workers: list[int]) -> int:
        return int(data.draw(st.sampled_from(workers)))

    @rule()
    def submit(self) -> None:
        self.submitted += 1
        self.ledger.submit(task(self.submitted))

    @rule()
    def assign(self) -> None:
        while (assigned := self.ledger.assign()) is not None:
            worker, given = assigned
            assert len(self.sent[worker]) == min(map(len, self.sent.values())) < MOST_SENT
            assert self.deaths.get(given.number, 0) < 2
            assert given.number not in self.answers
            assert given.number not in self.taken
            self.sent[worker].append(given.number)

    @rule(data=st.data())
    def load(self, data: Any) -> None:
        self.begin(self.choose(data, sorted(self.sent)))

    def begin(self, worker: int) -> None:
        self.ledger.mark_ready(worker)
        self.ready.add(worker)

    def at_work(self) -> list[int]:
        return [worker for worker in sorted(self.ready) if self.sent[worker]]

    @precondition(lambda self: bool(self.at_work()))
    @rule(data=st.data(), failure=st.sampled_from([None, FAILURE]))
    def answer(self, data: Any, failure: Failure | None) -> None:
        worker = self.choose(data, self.at_work())
        while self.silent[worker]:  # replies come in order
            self.say(worker)
        number = self.sent[worker].pop(0)
        self.ledger.answer(worker, number, failure)
        self.answers[number] = failure

    @precondition(lambda self: bool(self.at_work()))
    @rule(data=st.data())
    def fill(self, data: Any) -> None:
        """The slot tells that a task is finished, before its reply is read."""
        worker = self.choose(data, self.at_work())
        number = self.sent[worker].pop(0)
        self.ledger.finish(task(number))
        self.silent[worker].append(number)
        self.answers[number] = None

    def owing(self) -> list[int]:
        return [worker for worker in sorted(self.sent) if self.silent[worker]]

    @precondition(lambda self: bool(self.owing()))
    @rule(data=st.data())
    def reply(self, data: Any) -> None:
        self.say(self.choose(data, self.owing()))

    def say(self, worker: int) -> None:
        self.ledger.answer(worker, self.silent[worker].pop(0), None)

    @rule(data=st.data())
    def die(self, data: Any) -> None:
        worker = self.choose(data, sorted(self.sent))
        tasks, ready = self.sent.pop(worker), worker in self.ready
        del self.silent[worker]
        self.ready.discard(worker)
        assert [lost.number for lost in self.ledger.sent_to(worker)] == tasks
        loss = self.ledger.lose(worker)
        assert (loss.ready, loss.replaces) == (ready, worker > 2)
        if tasks and ready:
            assert loss.task == task(tasks[0])
            self.deaths[tasks[0]] = self.deaths.get(tasks[0], 0) + 1
            assert loss.given_up is (self.deaths[tasks[0]] == 2)
        else:
            assert loss.task is None
            assert not loss.given_up
        if loss.given_up:
            self.ledger.fail(task(tasks[0]), CRASH)
            self.answers[tasks[0]] = CRASH
        self.start(replaces=True)
        if data.draw(st.booleans()):
            self.begin(self.started)
        self.assign()

    @precondition(lambda self: bool(self.answers))
    @rule(data=st.data())
    def take(self, data: Any) -> None:
        number = self.choose(data, sorted(self.answers))
        assert self.ledger.is_answered(task(number))
        assert self.ledger.take_answer(task(number)) == self.answers.pop(number)
        assert not self.ledger.is_answered(task(number))
        self.taken.append(number)

    @invariant()
    def every_task_is_in_one_place(self) -> None:
        sent = sum(map(len, self.sent.values()))
        queued = self.submitted - sent - len(self.answers) - len(self.taken)
        assert str(self.ledger) == f"{queued} queued, {sent} sent, {len(self.answers)} answered"
        assert self.ledger.unread == max(map(len, self.silent.values()))

    def teardown(self) -> None:
        """Once nobody dies any more, every task is answered, and each of them once."""
        for worker in self.sent:
            self.ledger.mark_ready(worker)
            while self.silent[worker]:
                self.say(worker)
        self.assign()
        while any(self.sent.values()):
            for worker, numbers in self.sent.items():
                for number in numbers:
                    self.ledger.answer(worker, number, None)
                    self.answers[number] = None
                numbers.clear()
            self.assign()
        for number in self.answers:
            self.ledger.take_answer(task(number))
        assert sorted([*self.taken, *self.answers]) == list(range(1, self.submitted + 1))
        assert str(self.ledger) == "0 queued, 0 sent, 0 answered"
        assert not self.ledger._retried  # nothing is remembered of a task that was taken


TestWorkersAndTheirLedger = WorkersAndTheirLedger.TestCase
TestWorkersAndTheirLedger.settings = settings(max_examples=30, stateful_step_count=40)


@pytest.fixture
def ledger() -> TaskLedger[str]:
    """Two workers that are ready, and six tasks."""
    ledger: TaskLedger[str] = TaskLedger(most_sent=MOST_SENT)
    for worker in ("a", "b"):
        ledger.add(worker)
        ledger.mark_ready(worker)
    for number in range(1, 8):
        ledger.submit(task(number))
    return ledger


def assigned(ledger: TaskLedger[str]) -> list[tuple[str, int]]:
    given = iter(ledger.assign, None)
    return [(worker, task.number) for worker, task in given]


def test_the_worker_with_the_fewest_tasks_gets_the_next(ledger: TaskLedger[str]) -> None:
    assert assigned(ledger) == [("a", 1), ("b", 2), ("a", 3), ("b", 4), ("a", 5), ("b", 6)]
    ledger.answer("b", 2, None)
    assert assigned(ledger) == [("b", 7)]


def test_of_workers_with_as_many_tasks_the_one_with_older_ones_is_free_first(
    ledger: TaskLedger[str],
) -> None:
    assigned(ledger)
    ledger.answer("a", 1, None)
    assert assigned(ledger) == [("a", 7)]
    ledger.answer("a", 3, None)
    ledger.answer("b", 2, None)
    ledger.submit(task(8))
    assert assigned(ledger) == [("b", 8)]  # it has 4 and 6, the other 5 and 7


def test_what_a_dead_worker_had_goes_again_before_all_else(ledger: TaskLedger[str]) -> None:
    assigned(ledger)
    assert ledger.lose("a") == Loss(ready=True, replaces=False, task=task(1), given_up=False)
    ledger.add("c", replaces=True)
    assert assigned(ledger) == [("c", 1), ("c", 3), ("c", 5)]  # 7 waits for its turn


def test_a_task_that_kills_two_workers_is_given_up_and_the_others_go_again(
    ledger: TaskLedger[str],
) -> None:
    assigned(ledger)
    ledger.lose("a")
    ledger.add("c", replaces=True)
    ledger.mark_ready("c")
    assigned(ledger)
    assert ledger.lose("c") == Loss(ready=True, replaces=True, task=task(1), given_up=True)
    ledger.fail(task(1), CRASH)
    ledger.add("d", replaces=True)
    assert assigned(ledger) == [("d", 3), ("d", 5), ("d", 7)]
    assert ledger.take_answer(task(1)) is CRASH


def test_tasks_of_a_worker_that_never_began_are_not_blamed(ledger: TaskLedger[str]) -> None:
    for worker in ("a", "b"):
        ledger.lose(worker)
    for worker in ("c", "d", "e"):
        ledger.add(worker, replaces=True)
        assert assigned(ledger) == [(worker, 1), (worker, 2), (worker, 3)]
        assert ledger.lose(worker) == Loss(ready=False, replaces=True)
    assert str(ledger) == "7 queued, 0 sent, 0 answered"


def test_a_task_that_was_finished_unsaid_does_not_go_again(ledger: TaskLedger[str]) -> None:
    assigned(ledger)
    ledger.finish(task(1))
    assert ledger.lose("a").task == task(3)
    assert ledger.take_answer(task(1)) is None


def test_without_workers_every_task_fails_with_the_first_failure(ledger: TaskLedger[str]) -> None:
    assigned(ledger)
    ledger.answer("a", 1, None)
    ledger.fail_all(CRASH)
    ledger.fail_all(FAILURE)
    answers = [ledger.take_answer(task(number)) for number in range(1, 9)]
    assert answers == [None] + 7 * [CRASH]


def test_a_failure_becomes_the_error_that_it_was_with_its_traceback() -> None:
    error = FAILURE.error()
    assert isinstance(error, ReadError)
    assert (str(error), error.__notes__) == ("the shard is missing", ["a traceback"])
