"""Measure settings and limits in turns, so that noise on the machine affects all of them."""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from zarrfeed_tools.bench import cold
from zarrfeed_tools.bench.bounds import Bound, Limit, Verdict, judge
from zarrfeed_tools.bench.decoding import Decoders, decoded_fields
from zarrfeed_tools.bench.overhead import empty_batches, overhead_rate
from zarrfeed_tools.bench.rows import Row, Spread, Turn, row_of
from zarrfeed_tools.bench.samples import (
    Loaded,
    copying_rate,
    summing_rate,
    transforming_rate,
)
from zarrfeed_tools.bench.settings import Setting
from zarrfeed_tools.bench.turn import take_turn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zarrfeed_convert import OnProgress
    from zarrfeed_tools.bench.job import Job

_LIMIT_SECONDS = 0.5  # share of a turn's seconds, which is enough for the steady work of a limit
_STILL_CACHED = 0.05


@dataclass(frozen=True, slots=True)
class Findings:
    """Result of all measurements.

    Attributes
    ----------
    rows
        One row per setting.
    limits
        The limits of this machine on this data.
    verdict
        The conclusion.
    checked
        What was verified about the batches, as text.
    notes
        Warnings of the loader and of the measurement.
    """

    rows: tuple[Row, ...]
    limits: tuple[Limit, ...]
    verdict: Verdict
    checked: str
    notes: tuple[str, ...]


def measure(job: Job, loaded: Loaded, progress: OnProgress) -> Findings:
    """Measure a job.

    Parameters
    ----------
    job, loaded
        The job, and its samples in memory.
    progress
        Function to call after every turn.

    Raises
    ------
    ZarrfeedError
        A sequence failed, or an epoch did not contain every sample once.
    """
    notes: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with ExitStack() as stack:
            settings: dict[Any, Callable[[], Any]] = {
                s: partial(_setting_turn, job, s, loaded, notes) for s in job.settings
            }
            limits = _limit_ways(job, loaded, stack)
            found = take_turns({**settings, **limits}, job.rounds, progress)
    rows = tuple(row_of(setting, found[setting], job.batch_size) for setting in settings)
    measured = _limits(job, {way: found[way] for way in limits})
    return Findings(
        rows,
        measured,
        judge(rows, measured, cold=job.cold),
        _checked(rows, loaded),
        tuple(dict.fromkeys([*(str(warning.message) for warning in caught), *notes])),
    )


def _limits(job: Job, found: Mapping[tuple[Bound, str], list[float]]) -> tuple[Limit, ...]:
    """Convert rates to full batches, and add the transform's limit for all cores."""
    limits = []
    for (bound, way), rates in found.items():
        rate = Spread.of(rates).times(1 / job.batch_size)
        limits.append(Limit(bound, way, rate))
        if bound == "transform" and job.cores > 1:
            limits.append(Limit(bound, f"the same, times {job.cores} cores", rate.times(job.cores)))
    return tuple(limits)


def take_turns(
    ways: Mapping[Any, Callable[[], Any]], rounds: int, progress: OnProgress
) -> dict[Any, list[Any]]:
    """Call every function once per round, starting each round with another one.

    Examples
    --------
    >>> take_turns({"one": lambda: 1, "two": lambda: 2}, 2, lambda *_: None)
    {'one': [1, 1], 'two': [2, 2]}
    """
    found: dict[Any, list[Any]] = {way: [] for way in ways}
    names = list(ways)
    for turn in range(rounds):
        first = turn % len(names)
        for place, name in enumerate(names[first:] + names[:first], start=1):
            found[name].append(ways[name]())
            progress("measuring", turn * len(names) + place, rounds * len(names))
    return found


def _setting_turn(job: Job, setting: Setting, loaded: Loaded, notes: list[str]) -> Turn:
    if job.cold:
        files = cold.files_of(job)
        cold.drop(files)
        cached = cold.cached_share(files)
        cold.drop(files)
        if cached is not None and cached > _STILL_CACHED:
            notes.append(
                "not cold: the kernel kept some of the files in memory, perhaps because another "
                "process has them open"
            )
    return take_turn(job, setting, loaded.expected)


def _limit_ways(
    job: Job, loaded: Loaded, stack: ExitStack
) -> dict[tuple[Bound, str], Callable[[], Any]]:
    """Return functions that measure the limits in samples per second."""
    short = replace(job, seconds=job.seconds * _LIMIT_SECONDS)
    ways: dict[tuple[Bound, str], Callable[[], Any]] = {}
    for threads in sorted({1, job.cores}):
        way = f"copying from RAM, {Setting(threads, processes=False)}"
        ways["memory", way] = partial(copying_rate, short, loaded, threads)
    if decoded_fields(job):
        decoders = stack.enter_context(Decoders(job, job.cores))
        for count in sorted({1, job.cores}):
            way = f"decoding from RAM, {Setting(count, processes=True)}"
            ways["decode", way] = partial(decoders.rate, count, short.seconds)
    if job.transform is not None or job.batch_transform is not None:
        ways["transform", "transforming in RAM, 1 core"] = partial(transforming_rate, short, loaded)
    if job.cold:
        ways["disk", "reading the files in one go"] = partial(_disk_rate, job)
    empty = stack.enter_context(empty_batches(short))
    for processes in sorted({setting.processes for setting in job.settings}):
        setting = Setting(1, processes)
        way = f"samples of 1 byte, {setting}"
        ways["python", way] = partial(overhead_rate, empty, setting)
    ways["consumer", "summing a batch's bytes"] = partial(summing_rate, short, loaded)
    return ways


def _disk_rate(job: Job) -> float:
    files = cold.files_of(job)
    cold.drop(files)
    return cold.sequential_rate(files, job.seconds) / cold.stored_per_sample(job)


def _checked(rows: tuple[Row, ...], loaded: Loaded) -> str:
    epochs = sum(row.epochs for row in rows)
    if not epochs:
        return (
            "no turn was as long as an epoch, so none was checked; --samples makes epochs shorter"
        )
    what = f"{loaded.expected.samples:,} samples"
    if loaded.expected.total is not None:
        what += ", and the sum of all bytes equals that of the store"
    return f"each of {epochs:,} whole epochs: {what}"
