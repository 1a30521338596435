"""What every executor must do, whoever works for it."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from zarrfeed.errors import SourceError, WorkerError
from zarrfeed_convert.failures import Failures
from zarrfeed_convert.header import Header
from zarrfeed_convert.source import Source

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from zarrfeed_convert.executors.executor import Executor, TaskRun

SAMPLES = 40


class Ramp(Source):
    """A source of small samples, of which some are damaged."""

    keys = tuple(f"s{sample:02}" for sample in range(SAMPLES))

    def __init__(self, *damaged: int) -> None:
        self.damaged = damaged

    def describe(self) -> dict[str, Any]:
        return {"kind": "ramp"}

    def names(self, sample: int) -> tuple[str, str]:
        return f"/ramp/{sample}.png", f"/ramp/{sample}.mask.png"

    def probe(self, sample: int) -> Header:
        return Header.of_pair((1, 1, 1), "uint8", (1, 1))

    def read(self, sample: int) -> tuple[Any, Any]:
        if sample in self.damaged:
            raise ValueError("it holds no pixels")
        return np.full((1, 1, 1), sample, np.uint8), self.read_mask(sample)

    def read_mask(self, sample: int) -> Any:
        return np.full((1, 1), sample, np.uint8)


def add(run: TaskRun[Ramp], samples: range) -> int:
    """Add up the samples that can be read."""
    total = 0
    for sample in samples:
        with run.noting(sample):
            total += int(run.read(sample)[0][0, 0, 0])
        run.tick()
    return total


def times(run: TaskRun[dict[str, int]], number: int) -> int:
    return run.context["factor"] * number


def refuse(run: TaskRun[None], number: int) -> int:
    if number == 5:
        raise SourceError("number 5: needed another")
    return number


def write_slowly(run: TaskRun[None], path: Path) -> None:
    for _ in range(400):
        with path.open("ab") as file:
            file.write(b".")
        time.sleep(0.01)
        run.tick()


def die(run: TaskRun[None], number: int) -> None:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)


PARTS = [range(at, at + 4) for at in range(0, SAMPLES, 4)]


class ExecutorContract:
    """Subclass it, and say how an executor is started."""

    def executor(self, context: object, failures: Failures) -> AbstractContextManager[Executor]:
        raise NotImplementedError

    def test_results_come_in_the_order_of_the_items(self) -> None:
        with self.executor(Ramp(), Failures("stop")) as executor:
            assert executor.run(add, PARTS) == [sum(part) for part in PARTS]
            assert executor.run(add, PARTS[::-1]) == [sum(part) for part in PARTS[::-1]]
            assert executor.run(add, []) == []

    def test_the_context_may_be_anything(self) -> None:
        with self.executor({"factor": 3}, Failures("stop")) as executor:
            assert executor.run(times, [1, 2, 3]) == [3, 6, 9]

    def test_skipped_samples_stand_beside_the_results(self) -> None:
        failures = Failures("skip")
        with self.executor(Ramp(6, 30), failures) as executor:
            done = executor.run(add, PARTS)
        assert sum(done) == sum(range(SAMPLES)) - 36
        assert [(failed.item, failed.name) for failed in failures.found] == [
            (6, "/ramp/6.png"), (30, "/ramp/30.png"),
        ]  # fmt: skip
        assert failures.found[0].why.startswith("/ramp/6.png: cannot be read: it holds no pixels")

    def test_a_failure_that_stops_the_run_names_all_that_its_task_found(self) -> None:
        with (
            self.executor(Ramp(3, 1), Failures("stop")) as executor,
            pytest.raises(
                SourceError, match=r"^/ramp/1.png: .*2 samples failed.*: .*1.png, /ramp/3."
            ),
        ):
            executor.run(add, PARTS)

    def test_progress_begins_at_none_and_ends_at_all_samples(self) -> None:
        told: list[int] = []
        with self.executor(Ramp(7), Failures("skip")) as executor:
            executor.run(add, PARTS, told.append)
            assert told[0] == 0
            assert told[-1] == SAMPLES
            assert told == sorted(told)
            again: list[int] = []
            executor.run(add, PARTS[:2], again.append)
            assert (again[0], again[-1]) == (0, 8)

    def test_what_a_task_raises_ends_the_run(self) -> None:
        with (
            self.executor(None, Failures("skip")) as executor,
            pytest.raises(SourceError, match=r"^number 5: needed another"),
        ):
            executor.run(refuse, range(8))

    def test_nobody_works_any_more_after_an_interrupt(self, tmp_path: Path) -> None:
        paths = [tmp_path / str(number) for number in range(4)]

        def interrupt(done: int) -> None:
            if any(path.exists() for path in paths):
                raise KeyboardInterrupt

        with self.executor(None, Failures("stop")) as executor, pytest.raises(KeyboardInterrupt):
            executor.run(write_slowly, paths, interrupt)
        written = [path.stat().st_size for path in paths if path.exists()]
        assert all(size < 400 for size in written)
        time.sleep(0.2)
        assert [path.stat().st_size for path in paths if path.exists()] == written


class ProcessesContract(ExecutorContract):
    """Of executors whose tasks run in other processes."""

    def test_a_process_that_dies_ends_the_run(self) -> None:
        with self.executor(None, Failures("skip")) as executor, pytest.raises(WorkerError):
            executor.run(die, range(8))
