"""What do a sequence and its workers hold, and does it grow? Rows 9 and 10."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import psutil

from figures import Figure, largest
from memory import Private, private
from trial import PROCESSES, SETTINGS, Trial, take_turns
from zarrfeed import ZarrSequence

if TYPE_CHECKING:
    from collections.abc import Sequence

_EPOCHS = 5  # before a worker is looked at
_EARLY, _LATE = 20, 200  # epochs after which growth is looked at
_GROWTH_MB = 1.0  # what an allocator moves about by itself

MB = 1e6


def worker_memory(trial: Trial) -> list[Figure]:
    """Row 9: the private memory of a worker process, without the batches' memory."""
    ways = {
        f"{codec}, {name}": (getattr(trial.workload, codec), name)
        for codec in ("raw", "lz4")
        for name in PROCESSES
    }
    found = take_turns(
        {way: partial(_look_at_workers, trial, *what) for way, what in ways.items()},
        trial.rounds,
    )
    figures = []
    for way, rounds in found.items():
        figures += [
            largest(
                9,
                f"private memory of a worker, {way}",
                "MB",
                [worker.own / MB for worker in rounds],
                at_most=80.0,
                how=f"USS after {_EPOCHS} epochs, the largest worker of all rounds, without the "
                "pages of the batches' memory and of the mapped store that one process alone maps: "
                "the kernel calls these private, too. They stand beside it.",
            ),
            largest(9, f"… the batches' memory, {way}", "MB", [w.arena / MB for w in rounds]),
            largest(9, f"… mapped store files, {way}", "MB", [w.store / MB for w in rounds]),
        ]
    return figures


def growth(trial: Trial) -> list[Figure]:
    """Row 10: what 180 more epochs of a small store take."""
    found = take_turns({name: partial(_growth, trial, name) for name in SETTINGS}, trial.rounds)
    how = (
        f"64 samples; the state after epoch {_LATE} less that after epoch {_EARLY}, the worst of "
        "the rounds; parent and workers added up. Private memory is USS without the batches' "
        f"memory and the mapped store; {_GROWTH_MB:g} MB is allowed for what allocators move about."
    )
    return [
        *(
            largest(
                10,
                f"growth of private memory over {_LATE - _EARLY} epochs, {name}",
                "MB",
                [(late.own - early.own) / MB for early, late in rounds],
                at_most=_GROWTH_MB,
                how=how,
            )
            for name, rounds in found.items()
        ),
        *(
            largest(
                10,
                f"growth of the number of {what}, worst setting",
                what,
                _growths(found, what),
                at_most=0.0,
            )
            for what in ("descriptors", "threads", "processes")
        ),
        *(
            largest(
                10,
                f"growth of RSS over {_LATE - _EARLY} epochs, the batches' memory included, {name}",
                "MB",
                [(late.rss - early.rss) / MB for early, late in rounds],
            )
            for name, rounds in found.items()
        ),
    ]


@dataclass(frozen=True, slots=True)
class State:
    """What this process and its workers hold together.

    Attributes
    ----------
    own, rss
        Bytes: private memory as :class:`memory.Private` says, resident memory.
    descriptors, threads, processes
        How many.
    """

    own: int
    rss: int
    descriptors: int
    threads: int
    processes: int


def _look_at_workers(trial: Trial, store: str, setting: str) -> Private:
    """Find the largest private memory of a worker, kind by kind."""
    with _sequence(store, trial.workload.batch_size, setting) as sequence:
        for _ in range(_EPOCHS):
            for _image, _mask in sequence:
                pass
        found = [private(worker, store) for worker in psutil.Process().children()]
    return Private(
        max(worker.own for worker in found),
        max(worker.arena for worker in found),
        max(worker.store for worker in found),
    )


def _growth(trial: Trial, setting: str) -> tuple[State, State]:
    store = trial.workload.small
    with _sequence(store, trial.workload.batch_size, setting) as sequence:
        states = []
        for epoch in range(1, _LATE + 1):
            for _image, _mask in sequence:
                pass
            if epoch in (_EARLY, _LATE):
                states.append(_state(store))
    early, late = states
    return early, late


def _state(store: str) -> State:
    gc.collect()
    root = psutil.Process()
    processes = [root, *root.children(recursive=True)]
    return State(
        own=sum(private(process, store).own for process in processes),
        rss=sum(process.memory_info().rss for process in processes),
        descriptors=sum(process.num_fds() for process in processes),
        threads=sum(process.num_threads() for process in processes),
        processes=len(processes),
    )


def _growths(found: dict[str, list[tuple[State, State]]], what: str) -> Sequence[float]:
    return [
        float(getattr(late, what) - getattr(early, what))
        for rounds in found.values()
        for early, late in rounds
    ]


def _sequence(store: str, batch_size: int, setting: str) -> ZarrSequence:
    return ZarrSequence(store, batch_size, drop_remainder=True, **SETTINGS[setting])
