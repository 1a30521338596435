"""Long runs, by ``make soak``: what a night of training must not do."""

from __future__ import annotations

import gc
import os
import threading
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from kinds import children
from stores import traced_pixels, write_split
from zarrfeed import ZarrSequence

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.soak


def held() -> dict[str, int]:
    """Count what this process and its workers hold; memory in MiB, theirs alone."""
    gc.collect()
    workers = children()
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "workers": len(workers),
        "memory": psutil.Process().memory_full_info().uss >> 20,
        "workers' memory": sum(worker.memory_full_info().uss for worker in workers) >> 20,
    }


def use_once(split: Path) -> None:
    """Start processes, take one batch, stop."""
    with ZarrSequence(split, 4, workers=2, use_multiprocessing=True) as seq:
        next(iter(seq))


@pytest.mark.parametrize(
    "workers",
    [{"workers": 0}, {"workers": 2}, {"workers": 2, "use_multiprocessing": True}],
    ids=str,
)
def test_two_hundred_epochs_take_nothing_more_than_ten(
    split: Path, workers: dict[str, Any]
) -> None:
    with ZarrSequence(split, 4, **workers) as seq:
        for _ in range(10):
            assert sum(len(mask) for _, mask in seq) == 22
        before = held()
        for _ in range(190):
            assert sum(len(mask) for _, mask in seq) == 22
        after = held()
    for what in ("descriptors", "threads", "workers"):
        assert after[what] == before[what]
    for what in ("memory", "workers' memory"):
        assert after[what] <= before[what] + 5


def test_a_hundred_sequences_leave_nothing_behind(split: Path) -> None:
    for _ in range(2):  # the first may import, and open for good
        use_once(split)
    before = held()
    for _ in range(100):
        use_once(split)
    after = held()
    for what in ("descriptors", "threads", "workers"):
        assert after[what] == before[what]
    assert after["memory"] <= before["memory"] + 20


@pytest.mark.parametrize(
    "workers",
    [{"workers": 0}, {"workers": 2}, {"workers": 2, "use_multiprocessing": True}],
    ids=str,
)
def test_a_sequence_that_is_closed_forty_times_takes_nothing_more(
    tmp_path: Path, workers: dict[str, Any]
) -> None:
    split = write_split(tmp_path / "train", traced_pixels(22, 128, 128))
    seq = ZarrSequence(split, 4, **workers)

    def again() -> None:
        for _ in seq:
            pass
        seq.close()

    for _ in range(5):
        again()
    before = held()
    for _ in range(40):
        again()
    after = held()
    for what in ("descriptors", "threads", "workers"):
        assert after[what] == before[what]
    # Threads that come and go leave some memory in the C library's hands, but no arenas of ours.
    assert after["memory"] <= before["memory"] + 20
