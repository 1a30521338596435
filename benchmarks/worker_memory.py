"""How much memory do a sequence and its workers take, and does it grow? Rows 9 and 10."""

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

_EPOCHS = 5  # before the memory of workers is measured
_EARLY, _LATE = 20, 200  # epochs between which growth is measured
_GROWTH_MB = 1.0  # by which an allocator varies by itself

MB = 1e6


def worker_memory(trial: Trial) -> list[Figure]:
    """Row 9: the private memory of a worker process, without the batches' memory."""
    ways = {
        f"{codec}, {name}": (getattr(trial.workload, codec), name)
        for codec in ("raw", "lz4")
        for name in PROCESSES
    }
    found = take_turns(
        {way: partial(_largest_private, trial, *what) for way, what in ways.items()},
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
                how=f"USS after {_EPOCHS} epochs of the largest worker of all rounds, without the "
                "batches' memory and the mapped store, whose pages also count as private if only "
                "one process maps them; they are listed separately.",
            ),
            largest(9, f"… the batches' memory, {way}", "MB", [w.arena / MB for w in rounds]),
            largest(9, f"… mapped store files, {way}", "MB", [w.store / MB for w in rounds]),
        ]
    return figures


def growth(trial: Trial) -> list[Figure]:
    """Row 10: growth over 180 epochs of a small store."""
    found = take_turns({name: partial(_growth, trial, name) for name in SETTINGS}, trial.rounds)
    how = (
        f"64 samples; the state after epoch {_LATE} minus that after epoch {_EARLY}, in the worst "
        "round, over the parent and its workers. Private memory is USS without the batches' memory "
        f"and the mapped store; {_GROWTH_MB:g} MB is allowed for variations of the allocator."
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
    """Resources of this process and its workers together.

    Attributes
    ----------
    own, rss
        Private memory as in :class:`memory.Private`, and resident memory, in bytes.
    descriptors, threads, processes
        Numbers of each.
    """

    own: int
    rss: int
    descriptors: int
    threads: int
    processes: int


def _largest_private(trial: Trial, store: str, setting: str) -> Private:
    """Return the largest private memory of a worker, separately for each kind."""
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
