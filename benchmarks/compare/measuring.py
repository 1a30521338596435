"""How fast does a loader deliver batches to a consumer that reads every byte?"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from compare.identity import SampleCounts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from compare.peer import Batch, Loader
    from compare.workloads import Workload


@dataclass(frozen=True, slots=True)
class Epoch:
    """Result of one epoch.

    Attributes
    ----------
    batches
        Number of batches.
    seconds
        Time from the request for the first batch to the end of the epoch, after which a loader may
        need some time.
    waits
        (batches,) seconds waited for each batch.
    consumed
        Seconds that the consumer spent reading bytes.
    wrong
        What was wrong with the samples; empty if each came once.
    whole
        False if the epoch was stopped because it took too long.
    """

    batches: int
    seconds: float
    waits: np.ndarray
    consumed: float
    wrong: str
    whole: bool


def touch(batch: Batch) -> int:
    """Read every byte of a batch as fast as NumPy can, by the maximum of its 32-bit words.

    For 8.4 MB this takes 0.12 ms; a sum of 64-bit words would take 0.38 ms (measured).
    """
    return max(
        int(np.ascontiguousarray(array).reshape(-1).view(np.uint32).max()) for array in batch
    )


def run_epoch(
    batches: Iterator[Batch], work: Workload, *, seconds: float, checked: bool, began: float
) -> Epoch:
    """Measure one epoch.

    Parameters
    ----------
    batches
        The batches of the epoch.
    work
        The workload.
    seconds
        Seconds after which to stop the epoch.
    checked
        Whether to check the samples; limits repeat one batch.
    began
        Time at which the wait for the first batch began (``time.perf_counter``).
    """
    counts = SampleCounts(work.samples)
    waits: list[float] = []
    consumed, whole, requested = 0.0, True, began
    for batch in batches:
        came = time.perf_counter()
        waits.append(came - requested)
        touch(batch)
        if checked:
            counts.note(batch)
        del batch  # lets the loader reuse its memory
        requested = time.perf_counter()
        consumed += requested - came
        if requested - began > seconds and len(waits) < work.batches:
            whole = False
            break
    close = getattr(batches, "close", None)
    if close is not None:
        close()
    ended = time.perf_counter() if whole else requested
    wrong = counts.verdict(whole=whole) if checked else ""
    return Epoch(len(waits), ended - began, np.array(waits), consumed, wrong, whole)


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
        The loader, which was just opened, and its workload.
    opened
        Time at which opening began (``time.perf_counter``).
    seconds
        Least seconds to measure.
    least
        Least number of epochs to measure, after one of warm-up.
    longest
        Seconds after which an epoch is stopped.
    checked
        Whether to check the samples by their numbers.
    cold
        Whether to measure only the very first epoch.

    Returns
    -------
    dict
        Plain values, one entry of ``rates`` per epoch.
    """
    cpu, began = cpu_seconds(), time.perf_counter()
    first = run_epoch(loader.epoch(0), work, seconds=longest, checked=checked, began=began)
    first_batch = began - opened + first.waits[0]
    epochs = [first] if cold else []
    if not cold:
        cpu, began = cpu_seconds(), time.perf_counter()
        while len(epochs) < least or time.perf_counter() - began < seconds:
            epochs.append(
                run_epoch(
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
    """Summarise epochs as plain values."""
    within = np.concatenate([epoch.waits[1:] for epoch in epochs])
    # Epochs that were stopped after one batch have no waits within.
    waits = within if within.size else np.concatenate([epoch.waits for epoch in epochs])
    p50, p95, p99 = (np.percentile(waits, [50, 95, 99]) * 1e3).tolist()
    batches = sum(epoch.batches for epoch in epochs)
    return {
        "rates": [epoch.batches / epoch.seconds for epoch in epochs],
        "own_rates": [
            epoch.batches / max(1e-9, epoch.seconds - epoch.consumed) for epoch in epochs
        ],
        "consumer_ms": 1e3 * sum(epoch.consumed for epoch in epochs) / batches,
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
    """Return the share of time in which an emulated accelerator is busy.

    As defined by MLPerf Storage: the computing time over the time of the run, without the first
    step, which starts the pipeline.

    Parameters
    ----------
    batches
        Batches of one epoch or more.
    compute
        Computing time per batch in seconds.
    steps, seconds
        Number of batches to take, at least 2, and seconds after which to stop.
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
    """Return the CPU time of this process and its children, including those that have ended."""
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
