"""How fast does a loader hand out batches to somebody who looks at every byte?"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from compare.identity import Attendance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from compare.peer import Batch, Loader
    from compare.workloads import Workload


@dataclass(frozen=True, slots=True)
class Epoch:
    """One pass.

    Attributes
    ----------
    batches
        That came.
    seconds
        From asking for the first until the epoch had ended, which may take a loader time, too.
    waits
        (batches,) seconds that each was waited for.
    looked
        Seconds spent looking at bytes: the consumer's own.
    wrong
        What was wrong with the samples; empty if each came once.
    whole
        False if it was broken off because it took too long.
    """

    batches: int
    seconds: float
    waits: np.ndarray
    looked: float
    wrong: str
    whole: bool


def touch(batch: Batch) -> int:
    """Read every byte of a batch, as fast as NumPy can: the largest of all 32-bit words.

    Measured, 8.4 MB: 0.12 ms; the sum of 64-bit words takes 0.38.
    """
    return max(
        int(np.ascontiguousarray(array).reshape(-1).view(np.uint32).max()) for array in batch
    )


def go_through(
    batches: Iterator[Batch], work: Workload, *, seconds: float, checked: bool, began: float
) -> Epoch:
    """Go through one epoch.

    Parameters
    ----------
    batches
        The epoch.
    work
        What it is of.
    seconds
        When to break it off.
    checked
        Whether to look at who came; a limit hands out the same batch again and again.
    began
        When the wait for the first batch began, by ``time.perf_counter``.
    """
    attendance = Attendance(work.samples)
    waits: list[float] = []
    looked, whole, asked = 0.0, True, began
    for batch in batches:
        came = time.perf_counter()
        waits.append(came - asked)
        touch(batch)
        if checked:
            attendance.note(batch)
        del batch  # a loader that reuses memory must be able to
        asked = time.perf_counter()
        looked += asked - came
        if asked - began > seconds and len(waits) < work.batches:
            whole = False
            break
    close = getattr(batches, "close", None)
    if close is not None:
        close()
    ended = time.perf_counter() if whole else asked
    wrong = attendance.verdict(whole=whole) if checked else ""
    return Epoch(len(waits), ended - began, np.array(waits), looked, wrong, whole)


def measure_read(
    loader: Loader,
    work: Workload,
    *,
    opened: float,
    seconds: float,
    least: int,
    longest: float,
    checked: bool,
    cold: bool,
) -> dict[str, Any]:
    """Measure reading.

    Parameters
    ----------
    loader, work
        What is measured, just opened.
    opened
        When opening began, by ``time.perf_counter``.
    seconds
        To go on for, at least.
    least
        Epochs to measure, at least, after one that warms up.
    longest
        Seconds after which an epoch is broken off.
    checked
        Whether samples carry their numbers.
    cold
        Measure the very first epoch, and no other.

    Returns
    -------
    dict
        Plain values, one entry of ``rates`` per epoch.
    """
    cpu, began = cpu_seconds(), time.perf_counter()
    first = go_through(loader.epoch(0), work, seconds=longest, checked=checked, began=began)
    first_batch = began - opened + first.waits[0]
    epochs = [first] if cold else []
    if not cold:
        cpu, began = cpu_seconds(), time.perf_counter()
        while len(epochs) < least or time.perf_counter() - began < seconds:
            epochs.append(
                go_through(
                    loader.epoch(len(epochs) + 1),
                    work,
                    seconds=longest,
                    checked=checked,
                    began=time.perf_counter(),
                )
            )
    spent = cpu_seconds() - cpu
    return {"first_batch_ms": first_batch * 1e3, **summed_up(epochs, work, spent)}


def summed_up(epochs: list[Epoch], work: Workload, cpu: float) -> dict[str, Any]:
    """Sum epochs up to plain values."""
    within = np.concatenate([epoch.waits[1:] for epoch in epochs])
    # Epochs that were broken off after one batch have no wait within.
    waits = within if within.size else np.concatenate([epoch.waits for epoch in epochs])
    p50, p95, p99 = (np.percentile(waits, [50, 95, 99]) * 1e3).tolist()
    batches = sum(epoch.batches for epoch in epochs)
    return {
        "rates": [epoch.batches / epoch.seconds for epoch in epochs],
        "own_rates": [epoch.batches / max(1e-9, epoch.seconds - epoch.looked) for epoch in epochs],
        "consumer_ms": 1e3 * sum(epoch.looked for epoch in epochs) / batches,
        "wait_p50_ms": p50,
        "wait_p95_ms": p95,
        "wait_p99_ms": p99,
        "gap_ms": float(np.median([epoch.waits[0] for epoch in epochs])) * 1e3,
        "cpu_s_per_1000": cpu / (batches * work.batch_size) * 1e3,
        "wrong": next((epoch.wrong for epoch in epochs if epoch.wrong), ""),
        "whole": all(epoch.whole for epoch in epochs),
        "batches": batches,
    }


def utilisation(
    batches: Iterator[Batch],
    *,
    compute: float,
    steps: int,
    seconds: float,
    sleep: Callable[[float], None],
) -> float:
    """Emulate an accelerator that computes on every batch; how much of the time it is busy.

    As MLPerf Storage defines it: the computing time over the time of the run, the first step, which
    starts the pipeline, left out.

    Parameters
    ----------
    batches
        An epoch, or more of them.
    compute
        Seconds per batch.
    steps, seconds
        How many batches to take, at least 2; fewer where these would take longer.
    sleep
        ``time.sleep``.

    Returns
    -------
    float
        0 … 1
    """
    began, taken = 0.0, 0
    for _ in batches:
        sleep(compute)
        taken += 1
        if taken == 1:
            began = time.perf_counter()
        if taken == steps or (taken > 1 and time.perf_counter() - began > seconds):
            break
    return (taken - 1) * compute / (time.perf_counter() - began)


def cpu_seconds() -> float:
    """Add up the processor time of this process and its children, those that have ended too."""
    total = 0.0
    here = psutil.Process()
    for process in (here, *here.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
        if process.pid == here.pid:
            total += times.children_user + times.children_system
    return total
