"""How does throughput depend on the number of shards, and on the bytes of a sample?"""

from __future__ import annotations

import shutil
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from growth.row import Row
from growth.stores import write
from trial import AHEAD, take_turns
from workload import warm
from zarrfeed.fronts.front_end import FrontEnd

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_NBYTES = 256 << 20  # of every store
_BATCH_NBYTES = 8 << 20
_SHARDS = (1, 16, 64, 128, 256, 1024)
_SIZES = (28, 64, 128, 256, 512, 1024)
_WAYS = {name: AHEAD[name] for name in ("1 thread", "1 process")}


def against_shards(scratch: Path, *, quick: bool) -> Iterator[Row]:
    """Measure 4096 samples of 128×128 in an increasing number of shards."""
    for shards in _SHARDS:
        split = write(scratch / "shards", samples=4096, size=128, shards=shards)
        yield from _rows(split, batch_size=128, quick=quick, against="shards", at=shards)


def against_bytes(scratch: Path, *, quick: bool) -> Iterator[Row]:
    """Measure samples of increasing size, in stores and batches of constant size."""
    for size in _SIZES:
        nbytes = size * size * 4
        split = write(scratch / "sizes", samples=_NBYTES // nbytes, size=size, shards=4)
        batch_size = max(1, _BATCH_NBYTES // nbytes)
        yield from _rows(
            split, batch_size=batch_size, quick=quick, against="bytes of a sample", at=nbytes
        )


def _rows(split: Path, *, batch_size: int, quick: bool, against: str, at: int) -> Iterator[Row]:
    warm(str(split))
    ways = {
        name: partial(_rate, split, batch_size, arguments, 0.2 if quick else 0.5)
        for name, arguments in _WAYS.items()
    }
    found = take_turns(ways, rounds=2 if quick else 4)
    shutil.rmtree(split)
    for variant, rates in found.items():
        yield Row.of(
            rates, question="throughput", variant=variant, what="by hand, full shuffle",
            against=against, at=at, unit="MB/s",
        )  # fmt: skip


def _rate(split: Path, batch_size: int, arguments: Mapping[str, Any], seconds: float) -> float:
    """Return the decoded MB per second over whole epochs, after one of warm-up."""
    with FrontEnd(split, batch_size, **arguments) as sequence:
        nbytes = sum(array.nbytes for batch in sequence for array in batch)
        epochs, began = 0, time.perf_counter()
        while (spent := time.perf_counter() - began) < seconds:
            for _ in sequence:
                pass
            epochs += 1
    return epochs * nbytes / spent / 1e6
