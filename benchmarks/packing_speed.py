"""How fast is packing, compared with decoding alone?

Both sides use the same executor, number of processes, shards, files and decoder, but one of them
writes nothing.
"""

from __future__ import annotations

import shutil
import time
from functools import partial
from typing import TYPE_CHECKING

from figures import Figure, quantity, ratio
from trial import take_turns
from zarrfeed_convert import PairedFolders, convert
from zarrfeed_convert.executors.selection import executor_of
from zarrfeed_convert.failures import Failures

if TYPE_CHECKING:
    from pathlib import Path

    from zarrfeed_convert.executors.executor import TaskRun
    from zarrfeed_convert.source import Source

WORKERS = 2


def decode_only(run: TaskRun[Source], items: list[int]) -> None:
    """Decode samples, for an executor."""
    for item in items:
        run.context.read(item)
        run.tick()


def packing(images: str, masks: str, classes: str, scratch: Path, rounds: int) -> list[Figure]:
    """Row 1: samples per second of packing, relative to decoding."""
    pairs = PairedFolders(images, masks)
    ways = {
        "packing": partial(_pack, pairs, classes, scratch),
        "decoding": partial(_decode, pairs),
    }
    found = take_turns(ways, rounds)
    whole = {way: [rate for rate, _ in rates] for way, rates in found.items()}
    step = {way: [rate for _, rate in rates] for way, rates in found.items()}
    how = (
        f"{len(pairs.keys)} pairs, {WORKERS} processes on both sides. The whole command: from the "
        "start of its processes to their end, including the header pass, the trial of codecs and "
        "the metadata. The packing alone: from the beginning of the first shard to the end of the "
        "last one, relative to decoding alone in processes that already run."
    )
    return [
        ratio(1, "packing / decoding only, the packing alone", step["packing"], step["decoding"],
              at_least=0.85, how=how),
        ratio(1, "packing / decoding only, the whole command", whole["packing"], whole["decoding"]),
        *(quantity(1, f"{way}, the whole command", "samples/s", whole[way]) for way in whole),
        *(quantity(1, f"{way} alone", "samples/s", step[way]) for way in step),
    ]  # fmt: skip


def _pack(pairs: PairedFolders, classes: str, scratch: Path) -> tuple[float, float]:
    out = scratch / "packing.zarr"
    updates: list[tuple[str, float]] = []

    def note(what: str, done: int, total: int) -> None:  # noqa: ARG001
        updates.append((what, time.perf_counter()))

    start = time.perf_counter()
    convert(pairs, out, split="train", classes=classes, workers=WORKERS, progress=note)
    end = time.perf_counter()
    shutil.rmtree(out)
    began = next(at for what, at in updates if what == "packing")  # with no sample done yet
    last = updates[-1][1]
    count = len(pairs.keys)
    return count / (end - start), count / (last - began)


def _decode(pairs: PairedFolders) -> tuple[float, float]:
    count = len(pairs.keys)
    items = list(range(count))
    shards = [items[at : at + 22] for at in range(0, count, 22)]
    start = time.perf_counter()
    with executor_of(pairs, WORKERS, Failures("stop")) as executor:
        executor.run(decode_only, [[0], [1]])  # starts both processes
        began = time.perf_counter()
        executor.run(decode_only, shards)
        last = time.perf_counter()
    end = time.perf_counter()
    return count / (end - start), count / (last - began)
