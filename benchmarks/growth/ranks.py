"""How does the cost of a rank's share grow with the ranks, and are shares disjoint and equal?"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from growth.row import Row
from zarrfeed.order.schedule import Schedule
from zarrfeed.order.shuffle import IN_MEMORY

if TYPE_CHECKING:
    from collections.abc import Iterator

_WORLDS = (1, 2, 4, 8, 16, 64, 256, 1024)
_SAMPLES = {"kept": 50_021, "computed": IN_MEMORY + 7}
_TIMED = 200  # batches


def ranks(*, quick: bool) -> Iterator[Row]:
    """Measure and check every rank of every world size, one after the other."""
    for variant, samples in _SAMPLES.items():
        for shuffle in (True, "block"):
            for world_size in _WORLDS[::3] if quick else _WORLDS:
                schedule = Schedule(
                    range(samples), 32, shuffle=shuffle, block=32, seed=0, drop_remainder=False,
                    rank=0, world_size=world_size,
                )  # fmt: skip
                known = {
                    "question": "ranks", "variant": f"{variant}, shuffle={shuffle!r}",
                    "against": "ranks", "at": world_size,
                }  # fmt: skip
                yield Row.of(_seconds(schedule), what="ids of a batch of 32", unit="µs", **known)
                most, unequal, left = _shares(schedule)
                for what, found in (
                    ("times that the most frequent sample was seen", most),
                    ("ranks with a share of another length", unequal),
                    ("samples that nobody saw", left),
                ):
                    yield Row.of([found], what=what, unit="count", **known)


def _seconds(schedule: Schedule) -> list[float]:
    """Return the microseconds per batch of some batches of the last rank."""
    last = replace(schedule, rank=schedule.world_size - 1)
    last.batch_ids(0, 0)
    found = []
    for batch in range(1, min(_TIMED, last.batches)):
        began = time.perf_counter()
        last.batch_ids(0, batch)
        found.append(1e6 * (time.perf_counter() - began))
    return found


def _shares(schedule: Schedule) -> tuple[int, int, int]:
    """Return the most visits of a sample, the unequal shares, and the samples left out."""
    visits = np.zeros(len(schedule.ids), np.int64)
    unequal = 0
    for rank in range(schedule.world_size):
        share = replace(schedule, rank=rank, batch_size=4096)
        length = 0
        for batch in range(share.batches):
            ids = share.batch_ids(0, batch)
            length += ids.size
            np.add.at(visits, ids, 1)
        unequal += length != schedule.samples
    return int(visits.max()), unequal, int((visits == 0).sum())
