"""How much memory and time do shares of many classes take in a split of many tiles?

``python patch_state.py FOLDER`` opens a sequence of patches on a million tiles with 20 classes, all
in `shares`, and prints the megabytes and seconds as JSON. The split is made once, in the folder; a
small one is opened before, so that imports do not count.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import zarr

from workload import warm
from zarrfeed import RandomPatches, ZarrSequence

_CASES, _ALONG, _TILE, _CLASSES = 10_000, 10, 4, 20


def make(path: Path, cases: int = _CASES) -> None:
    """Write a split of cases of 10 × 10 tiles, with numbers of pixels that are made up."""
    tiles = cases * _ALONG**2
    keys = np.array([f"case_{case:06}".encode() for case in range(cases)])
    counts = np.random.default_rng(0).integers(0, 2, (tiles, _CLASSES), np.uint32)
    arrays = {
        "image": np.zeros((tiles, _TILE, _TILE, 1), np.uint8),
        "mask": np.zeros((tiles, _TILE, _TILE), np.uint8),
        "class_pixels": counts,
        "case_key": keys.view(np.uint8).reshape(cases, -1),
        "case_size": np.full((cases, 2), _ALONG * _TILE),
        "case_first_tile": np.arange(cases) * _ALONG**2,
    }
    group = zarr.open_group(str(path), mode="w")
    for name, values in arrays.items():
        group.create_array(name, data=values, chunks=(min(1 << 16, len(values)), *values.shape[1:]))


def measure(path: Path, per_epoch: int = 1000) -> dict[str, float]:
    """Open a sequence, draw its first batch, and return the memory and the time that it took."""
    process = psutil.Process()
    before, began, busy = process.memory_full_info().uss, time.perf_counter(), time.process_time()
    shares = dict.fromkeys(range(_CLASSES), 1 / _CLASSES)
    patches = RandomPatches((2 * _TILE, 2 * _TILE), per_epoch=per_epoch, shares=shares)
    with ZarrSequence(path, 8, patches=patches, workers=0) as opened:
        keys = opened.batch_keys(0)
        seconds, cpu = time.perf_counter() - began, time.process_time() - busy
        after = process.memory_full_info().uss
    assert len(keys) == 8
    return {"mb": (after - before) / 1e6, "seconds": seconds, "cpu": cpu}


def main(folder: Path) -> None:
    """Make the splits if need be, and measure."""
    for name, cases in (("few", 20), ("state", _CASES)):
        path, done = folder / f"{name}.zarr", folder / f"{name}.done"
        if not done.exists():
            make(path, cases)
            done.touch()
        warm(str(path))
        found = measure(path)
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
