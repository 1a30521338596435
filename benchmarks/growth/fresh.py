"""Measure opening a store, or computing the order of an epoch, in a new process.

``python fresh.py opening SPLIT SHUFFLE``, ``python fresh.py order SAMPLES IN_MEMORY`` and ``python
fresh.py share VARIANT`` print the result as JSON. Keras is not imported.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zarrfeed.order.draws import Sampler

BATCH_SIZES = (32, 1024)
_BATCHES = 300
SAMPLES, RANKS = 10**9, 1024
# Order, samples per block, and whether ranks go on in an epoch that 768 others have begun.
VARIANTS: dict[str, tuple[Any, int, bool]] = {
    "shuffle=True": (True, 32, False),
    "shuffle=True, resumed from 768 ranks": (True, 32, True),
    "shuffle='block', blocks of 32": ("block", 32, False),
    "shuffle='block', blocks of 256": ("block", 256, False),
    "RandomPatches": ("patches", 32, False),
    "RandomPatches with shares": ("shares", 32, False),
    "RandomPatches with shares, resumed from 768 ranks": ("shares", 32, True),
}
_ASKED = 1000
_PEAK = "VmHWM:"
_HELD = "RssAnon:", "RssShmem:"


def main(what: str, *arguments: str) -> None:
    """Measure in this process, and print the result."""
    questions = {"opening": opening, "order": order, "share": share}
    print(json.dumps(questions[what](*arguments)))


def opening(split: str, shuffle: str) -> dict[str, float]:
    """Open a split, take its first batch, then some more."""
    from zarrfeed.fronts.front_end import FrontEnd
    from zarrfeed.store.split_opening import open_split

    peak, held = _memory(_PEAK), _memory(*_HELD)
    began = time.perf_counter()
    open_split(split)
    opened = time.perf_counter()
    with FrontEnd(split, 32, shuffle=json.loads(shuffle), workers=1) as sequence:
        batches = iter(sequence)
        next(batches)
        first = time.perf_counter()
        found = {
            "open_split": 1e3 * (opened - began),
            "a sequence and its first batch": 1e3 * (first - opened),
            "peak memory, pages of the store included": _memory(_PEAK) - peak,
            "memory held, without them": _memory(*_HELD) - held,
        }
        batches.close()
    return found


def order(samples: str, in_memory: str) -> dict[str, float]:
    """Compute the order of an epoch, then look up batches."""
    import numpy as np

    from zarrfeed.order.schedule import Schedule

    np.random.Philox(0).random_raw(1)  # so that loading NumPy's generators does not count
    peak = _memory(_PEAK)
    found = {}
    for size in BATCH_SIZES:
        schedule = Schedule(
            range(int(samples)), size, shuffle=True, block=size, seed=0, drop_remainder=False,
            rank=0, world_size=1, in_memory=int(in_memory),
        )  # fmt: skip
        began = time.perf_counter()
        schedule.batch_ids(0, 0)
        found["the first batch's ids"] = 1e3 * (time.perf_counter() - began)
        found["peak memory"] = _memory(_PEAK) - peak
        seconds = []
        for batch in range(1, 1 + min(_BATCHES, schedule.batches - 1)):
            began = time.perf_counter()
            schedule.batch_ids(0, batch)
            seconds.append(time.perf_counter() - began)
        if seconds:
            found[f"ids of a batch of {size}"] = 1e6 * statistics.median(seconds)
        del schedule
    return found


def share(variant: str) -> dict[str, float]:
    """Ask for batches of random ranks, in any order, of two epochs."""
    import numpy as np

    from zarrfeed.order.schedule import EpochRest, Schedule

    kind, block, resumed = VARIANTS[variant]
    sampler = _patches(shares=kind == "shares") if kind in ("patches", "shares") else None
    rest = EpochRest(1, 12_345 * 768 * 32, block) if resumed else None
    np.random.Philox(0).random_raw(1)
    peak = _memory(_PEAK)
    rng = np.random.default_rng(0)
    ranks = [
        Schedule(
            range(SAMPLES), 32, shuffle=kind if sampler is None else True, block=block, seed=0,
            drop_remainder=False, rank=rank, world_size=RANKS, sampler=sampler, rest=rest,
        )
        for rank in rng.choice(RANKS, 1 if block == 256 else 16, replace=False).tolist()
    ]  # fmt: skip
    first, later = [], []
    for turn in range(_ASKED):
        rank, epoch = ranks[turn % len(ranks)], turn // (_ASKED // 2)
        batch = int(rng.integers(rank.grid(epoch).first, rank.batches))
        began = time.thread_time()  # other processes do not count
        rank.batch_ids(epoch, batch)
        times = first if turn % (_ASKED // 2) < len(ranks) else later
        times.append(1e6 * (time.thread_time() - began))
    return {
        "ids of a rank's first batch of an epoch": statistics.median(first),
        "ids of any other batch of 32": statistics.median(later),
        "ids of any other batch, 99 of 100": statistics.quantiles(later, n=100)[-1],
        "peak memory": _memory(_PEAK) - peak,
    }


def _patches(*, shares: bool) -> Sampler:
    """Return random patches of 100 cases of 64 tiles."""
    import numpy as np

    from zarrfeed import RandomPatches
    from zarrfeed.order.class_pixels import ClassPixels
    from zarrfeed.order.patch_cases import PatchCases
    from zarrfeed.order.random_draws import RandomDraws

    number, tiles = np.arange(100), np.full(100, 64)
    cases = PatchCases(number, np.full((100, 2), 2048), first_tile=64 * number, tiles=tiles)
    if not shares:
        return RandomDraws(RandomPatches((256, 256), per_epoch=SAMPLES), cases)
    counts = np.random.default_rng(0).integers(0, 9000, (6400, 2), np.uint32)
    patches = RandomPatches((256, 256), per_epoch=SAMPLES, shares={"a": 1 / 3, "b": 0.1})
    return RandomDraws(patches, cases, [1, 2], ClassPixels(counts))


def _memory(*kinds: str) -> float:
    """Return the sum of some kinds of memory in MB. ``ru_maxrss`` would include the parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(kinds)) * 1024 / 1e6


if __name__ == "__main__":
    main(*sys.argv[1:])
