"""What is closed is given back: memory, descriptors, threads, processes; what is held stays."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest

import transforms
from kinds import KINDS, Kind, children
from stores import traced_pixels, write_split
from zarrfeed import WorkerError, ZarrSequence

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["inline", "three threads", "two processes"])
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Batches of 4 are 1 MiB: 14 slots are much beside what else comes and goes."""
    return write_split(tmp_path_factory.mktemp("large") / "train", traced_pixels(22, 256, 256))


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def threads() -> set[threading.Thread]:
    return set(threading.enumerate())


@pytest.mark.parametrize("fails", [False, True])
def test_a_sequence_that_ends_and_begins_again_takes_no_more_than_once(
    fails: bool, kind: Kind, large: Path
) -> None:
    transform = transforms.raises_on_nine if fails else None
    seq = ZarrSequence(large, 4, shuffle=False, transform=transform, **kind)
    mapped, counts = [], []
    # What earlier tests have left, such as a thread that waits for a fetcher, may end meanwhile.
    before = descriptors(), threads()
    for _ in range(4):
        batches = iter(seq)
        next(batches)
        feeder = seq._stream._feeder
        assert feeder is not None
        assert feeder._arena._map is not None
        mapped.append(weakref.ref(feeder._arena._map))
        del feeder
        with pytest.raises(WorkerError) if fails else nullcontext():
            list(batches)
        del batches
        if not fails:
            seq.close()
        gc.collect()
        counts.append((len(descriptors() - before[0]), len(threads() - before[1]), len(children())))
    # The frames of the last error may still be held by whoever caught it.
    assert [reference() for reference in mapped[:-1]] == [None] * 3
    assert counts == [counts[0]] * 4


def test_batches_that_are_held_outlive_what_is_closed_and_only_they_do(
    kind: Kind, large: Path
) -> None:
    pixels = traced_pixels(22, 256, 256)
    seq = ZarrSequence(large, 4, shuffle=False, **kind)
    for _ in range(2):
        list(seq)
    kept = next(iter(seq))
    resident = psutil.Process().memory_info().rss
    seq.close()
    del seq
    if kind["workers"]:
        assert psutil.Process().memory_info().rss < resident - (2 << 20)
    again = list(ZarrSequence(large, 4, shuffle=False, **kind))
    assert np.array_equal(kept[0], pixels["image"][:4])
    assert np.array_equal(again[0][0], pixels["image"][:4])
    kept[0][...] = 1  # and they may be written to
