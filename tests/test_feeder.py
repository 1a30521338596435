"""The feeder's contract, with workers that do what a script says: no thread, no process."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zarrfeed import ReadError, WorkerError
from zarrfeed.errors import WorkerTimeout
from zarrfeed.feed import feeder as feeder_module
from zarrfeed.feed.feeder import HELD, Feeder
from zarrfeed.feed.slot import SlotLayout, Spec
from zarrfeed.order.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    from zarrfeed.arrays import Arrays
    from zarrfeed.feed.arena import Arena
    from zarrfeed.feed.stats import Tally
    from zarrfeed.feed.workers import Task

SAMPLES = 11
SPECS = [Spec("image", (4,), np.dtype(np.int64)), Spec("mask", (), np.dtype(np.uint8))]


class ScriptedWorkers:
    """Fill slots when the test says so, at the latest when the feeder waits for them."""

    pids: tuple[int, ...] = ()

    def __init__(self, arena: Arena, *, count: int = 2) -> None:
        self.count = count
        self.arena = arena
        self.submitted: list[Task] = []
        self.open: dict[int, Task] = {}  # submitted, and not filled yet
        self.waited_for: list[int] = []  # numbers, in the order in which the feeder took them
        self.failures: dict[int, BaseException] = {}  # per batch
        self.hangs: Callable[[float], None] | None = None  # what happens in place of an answer
        self.closed = self.abandoned = 0

    def __str__(self) -> str:
        return f"{self.count} scripted workers"

    def submit(self, task: Task) -> None:
        self.submitted.append(task)
        self.open[task.number] = task

    def fill(self, task: Task, *, from_disk: int = 0) -> None:
        """Write the ids of the samples over the whole slot."""
        slot = self.arena.slot(self.open.pop(task.number).slot)
        for array in slot.arrays:
            array[...] = 0
        slot.arrays[0][: task.rows] = slot.draws["id"][: task.rows, None]
        slot.spent[:] = 0.5, 0.25, 0.125, from_disk
        slot.done[0] = task.number

    def wait(self, task: Task, timeout: float) -> bool:
        if self.hangs is not None:
            self.hangs(timeout)
            return False
        self.waited_for.append(task.number)
        if task.batch in self.failures:
            raise self.failures[task.batch]
        if task.number in self.open:
            self.fill(task)
        return True

    def close(self) -> None:
        self.closed += 1

    def abandon(self) -> None:
        self.abandoned += 1


def schedule(*, batch_size: int = 2) -> Schedule:
    return Schedule(
        range(SAMPLES),
        batch_size=batch_size,
        shuffle=True,
        block=1,
        seed=3,
        drop_remainder=False,
        rank=0,
        world_size=1,
    )


class Feeding:
    """A feeder, its workers, and the pass that takes batches."""

    def __init__(self, *, depth: int = 4, count: int = 2, batch_size: int = 2):
        self.schedule = schedule(batch_size=batch_size)
        layout = SlotLayout.of(SPECS, batch_size)
        self.started: list[ScriptedWorkers] = []

        def start(arena: Arena) -> ScriptedWorkers:
            self.started.append(ScriptedWorkers(arena, count=count))
            return self.started[0]

        self.feeder = Feeder(self.schedule, layout, start, depth=depth, timeout=30.0, shared=False)
        [self.workers] = self.started
        self.tally: Tally = self.feeder.tally(0)
        self.ticket = self.feeder.begin(self.schedule, 0, 0)

    def take(self) -> Arrays:
        batch = self.feeder.take(self.ticket, self.tally)
        assert batch is not None
        return batch

    def expected(self, batches: int) -> list[list[int]]:
        each = self.schedule.batches
        return [self.schedule.batch_ids(*divmod(n, each)).tolist() for n in range(batches)]


def ids(batch: Arrays) -> list[int]:
    assert (batch[0] == batch[0][:, :1]).all()  # whole samples
    return [int(sample) for sample in batch[0][:, 0]]


@settings(max_examples=30)
@given(st.data())
def test_batches_come_in_order_and_once_whatever_workers_finish_first(data: Any) -> None:
    depth = data.draw(st.integers(1, 9), "depth")
    feeding = Feeding(
        depth=depth,
        count=data.draw(st.integers(0, 4), "workers"),
        batch_size=data.draw(st.integers(1, 5), "batch size"),
    )
    workers = feeding.workers
    batches = 3 * feeding.schedule.batches - 1
    held: list[Arrays] = []
    for expected in feeding.expected(batches):
        for task in data.draw(st.permutations(list(workers.open.values())), "finish first"):
            workers.fill(task)
            if data.draw(st.booleans(), "enough"):
                break
        held.append(feeding.take())
        assert ids(held[-1]) == expected
        under_way = len(workers.submitted) - len(workers.waited_for)
        assert under_way <= depth
        if not data.draw(st.booleans(), "hold"):
            held.clear()
    assert workers.waited_for == list(range(1, batches + 1))
    places = [(task.epoch, task.batch) for task in workers.submitted]
    assert places == [divmod(n, feeding.schedule.batches) for n in range(len(places))]
    feeding.feeder.close()


@given(st.integers(1, 9), st.integers(0, 12))
def test_a_batch_that_is_held_is_never_written_to(depth: int, hold: int) -> None:
    feeding = Feeding(depth=depth, batch_size=3)
    held: list[tuple[Arrays, list[int]]] = []
    for expected in feeding.expected(20):
        held.append((feeding.take(), expected))
        del held[: -hold or None]
        assert all(ids(batch) == of for batch, of in held)
    kept = [batch for batch, _ in held]
    feeding.feeder.close()
    assert [ids(batch) for batch in kept] == [of for _, of in held]


def test_the_next_epoch_is_begun_before_this_one_ends() -> None:
    feeding = Feeding(depth=4)
    for _ in range(feeding.schedule.batches - 1):
        feeding.take()
    under_way = [(task.epoch, task.batch) for task in feeding.workers.open.values()]
    assert under_way == [(0, 5), (1, 0), (1, 1)]


def test_a_consumer_that_drops_its_batches_uses_as_few_slots_as_are_under_way() -> None:
    feeding = Feeding(depth=4)
    for _ in range(40):
        feeding.take()
    assert len({task.slot for task in feeding.workers.submitted}) == 4


def test_a_consumer_that_holds_many_batches_gets_copies_and_workers_never_lack_slots() -> None:
    feeding = Feeding(depth=4)
    memory = feeding.workers.arena._memory
    held = [feeding.take() for _ in range(20)]
    leased = [np.shares_memory(batch[0], memory) for batch in held]
    assert leased == HELD * [True] + (20 - HELD) * [False]
    assert len(feeding.workers.open) == 3  # the fourth is the one that comes next
    assert [ids(batch) for batch in held] == feeding.expected(20)


def test_a_batch_that_fails_is_raised_in_its_turn_and_closes_the_feeder() -> None:
    feeding = Feeding()
    feeding.workers.failures[2] = ReadError("the shard is missing")
    assert [ids(feeding.take()) for _ in range(2)] == feeding.expected(2)
    with pytest.raises(ReadError, match="the shard is missing"):
        feeding.take()
    assert feeding.feeder.closed
    assert feeding.workers.closed == 1
    assert feeding.feeder.take(feeding.ticket, feeding.tally) is None


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError()], ids=repr)
def test_any_other_exception_closes_the_feeder_too(error: BaseException) -> None:
    feeding = Feeding()
    feeding.workers.failures[0] = error
    with pytest.raises(type(error)):
        feeding.take()
    assert feeding.feeder.closed
    assert feeding.workers.closed == 1


class Clock:
    """Goes on only while somebody waits."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    perf_counter = monotonic

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(feeder_module, "time", clock)
    return clock


def test_a_batch_that_does_not_come_in_time_is_an_error_that_names_it(clock: Clock) -> None:
    feeding = Feeding()
    feeding.take()
    feeding.workers.hangs = clock.sleep
    with pytest.raises(
        WorkerTimeout,
        match=r"batch 1 of epoch 0 did not come within 30 s from 2 scripted workers: .*timeout=",
    ):
        feeding.take()
    assert clock.now == pytest.approx(130.0)
    assert feeding.feeder.closed


def test_a_feeder_that_is_closed_while_it_waits_says_so_at_once(clock: Clock) -> None:
    feeding = Feeding()

    def close(seconds: float) -> None:
        clock.sleep(seconds)
        if clock.now > 101:
            feeding.feeder.close()

    feeding.workers.hangs = close
    with pytest.raises(WorkerTimeout, match="closed while it waited for a batch"):
        feeding.take()
    assert clock.now < 102


def test_a_closed_feeder_gives_nothing_and_closes_its_workers_once() -> None:
    feeding = Feeding()
    kept = feeding.take()
    feeding.feeder.close()
    feeding.feeder.close()
    assert feeding.feeder.take(feeding.ticket, feeding.tally) is None
    assert feeding.workers.closed == 1
    assert ids(kept) == feeding.expected(1)[0]  # what the consumer holds stays


def test_a_newer_ticket_ends_the_older_and_goes_on_with_what_is_under_way() -> None:
    feeding = Feeding()
    feeding.take()
    sent = list(feeding.workers.submitted)
    newer = feeding.feeder.begin(feeding.schedule, 0, 1)
    assert feeding.feeder.take(feeding.ticket, feeding.tally) is None
    assert feeding.workers.submitted[: len(sent)] == sent  # nothing is read twice
    feeding.ticket = newer
    assert ids(feeding.take()) == feeding.expected(2)[1]


def test_a_jump_waits_for_what_is_under_way_and_ignores_its_failures() -> None:
    feeding = Feeding()
    under_way = [task.number for task in feeding.workers.submitted]
    feeding.workers.failures[1] = WorkerError("nobody wants this batch")
    feeding.ticket = feeding.feeder.begin(feeding.schedule, 2, 3)
    assert feeding.workers.waited_for == under_way
    assert ids(feeding.take()) == feeding.schedule.batch_ids(2, 3).tolist()


def test_workers_that_cannot_be_started_leave_no_memory_behind() -> None:
    def fail(arena: Arena) -> ScriptedWorkers:
        assert arena.shared
        raise OSError("too many processes")

    layout = SlotLayout.of(SPECS, 2)
    gc.collect()  # what other tests left behind
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="too many processes"):
        Feeder(schedule(), layout, fail, depth=2, timeout=1.0, shared=True)
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_epoch_is_counted_as_it_is_handed_out(clock: Clock) -> None:
    feeding = Feeding(batch_size=4)
    for seconds in (2.0, 1.0, 1.0):
        feeding.take()
        clock.sleep(seconds)
    stats = feeding.tally.stats()
    sample = 4 * 8 + 1
    assert (stats.batches, stats.samples, stats.nbytes) == (3, SAMPLES, SAMPLES * sample)
    assert (stats.read, stats.decoded, stats.transformed) == (1.5, 0.75, 0.375)
    assert stats.rss > 0


def test_after_a_batch_from_the_disk_slots_name_what_is_needed_later() -> None:
    feeding = Feeding(depth=3)
    workers, slots = feeding.workers, feeding.workers.arena.slot
    first = next(iter(workers.open.values()))
    assert all(slots(task.slot).prefetched[0] == 0 for task in workers.submitted)
    workers.fill(first, from_disk=1)
    for _ in range(2):
        feeding.take()
    [*_, newest] = workers.submitted
    assert newest.batch == 3
    later = feeding.schedule.batch_ids(1, 0)  # 3 batches after it
    assert slots(newest.slot).prefetch_draws["id"].tolist() == later.tolist()


def test_its_repr_shows_its_state() -> None:
    feeding = Feeding(depth=4)
    feeder, workers = feeding.feeder, feeding.workers
    assert repr(feeder) == "<Feeder epoch 0, batch 0: 0 ready, 4 under way, 0 held>"
    assert repr(workers.arena) == "<Arena of 8 × 4,096 bytes: 4 free, 4 taken, 0 leased>"
    workers.fill(workers.submitted[0])
    workers.fill(workers.submitted[2])
    assert repr(feeder) == "<Feeder epoch 0, batch 0: 2 ready, 2 under way, 0 held>"
    held = [feeding.take() for _ in range(5)]
    assert repr(feeder) == "<Feeder epoch 0, batch 5: 0 ready, 3 under way, 4 held>"
    assert repr(workers.arena) == "<Arena of 8 × 4,096 bytes: 1 free, 3 taken, 4 leased>"
    held.append(feeding.take())
    assert repr(feeder) == "<Feeder epoch 1, batch 0: 0 ready, 3 under way, 4 held>"
    del held[1:]
    assert repr(feeder) == "<Feeder epoch 1, batch 0: 0 ready, 3 under way, 1 held>"
    feeder.close()
    assert repr(feeder) == "<Feeder: closed>"
    assert repr(workers.arena) == "<Arena: closed, 1 leased>"
