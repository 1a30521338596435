"""How much does shuffling tiles cost?

If tiles of one image are in shards of different tasks, the image is decoded once per task.
"""

from __future__ import annotations

import os
import shutil
from functools import partial
from typing import TYPE_CHECKING

from figures import Figure, quantity, ratio
from trial import take_turns
from zarrfeed_convert import PairedFolders, convert

if TYPE_CHECKING:
    from pathlib import Path

    from zarrfeed_convert.planning.plan import Order

TILE, OVERLAP = 128, 16


def tiling(images: str, masks: str, classes: str, scratch: Path, rounds: int) -> list[Figure]:
    """Row 6: CPU time of packing shuffled tiles, relative to tiles in the order of the source."""
    pairs = PairedFolders(images, masks)
    orders: tuple[Order, ...] = ("shuffled", "source")
    ways = {order: partial(_pack, pairs, classes, scratch, order) for order in orders}
    found = take_turns(ways, rounds)
    how = (
        f"{len(pairs.keys)} pairs cut into tiles of {TILE}×{TILE}, overlap {OVERLAP}, by one "
        "process; its CPU time, including that of the kernel."
    )
    return [
        ratio(6, "packing tiles, shuffled / in the order of the source",
              found["shuffled"], found["source"], at_most=1.2, how=how),
        *(quantity(6, f"packing tiles, {order}", "s", found[order]) for order in orders),
    ]  # fmt: skip


def _pack(pairs: PairedFolders, classes: str, scratch: Path, order: Order) -> float:
    out = scratch / "tiles.zarr"
    before = os.times()
    convert(pairs, out, split="train", classes=classes, size=(TILE, TILE), fit="tile",
            overlap=OVERLAP, order=order, workers=1)  # fmt: skip
    after = os.times()
    shutil.rmtree(out)
    return after.user + after.system - before.user - before.system
