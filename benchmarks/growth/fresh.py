"""Measure opening a store, or computing the order of an epoch, in a new process.

``python fresh.py opening SPLIT SHUFFLE`` and ``python fresh.py order SAMPLES IN_MEMORY`` print the
result as JSON. Keras is not imported.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

BATCH_SIZES = (32, 1024)
_BATCHES = 300
_PEAK = "VmHWM:"
_HELD = "RssAnon:", "RssShmem:"


def main(what: str, *arguments: str) -> None:
    """Measure in this process, and print the result."""
    print(json.dumps({"opening": opening, "order": order}[what](*arguments)))


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


def _memory(*kinds: str) -> float:
    """Return the sum of some kinds of memory in MB. ``ru_maxrss`` would include the parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(kinds)) * 1024 / 1e6


if __name__ == "__main__":
    main(*sys.argv[1:])
