"""How fast are NIfTI volumes packed as tiles, compared with decoding the same files by nibabel?

    python benchmarks/packing_volumes.py [--images DIR --masks DIR] [--tile auto] [--rounds 6]

Both sides use two processes that already run, and files in the page cache. Without --images, CT
volumes are made up: 512×512×128 int16, with noise that compresses to half its size, and labels.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from figures import Figure, quantity, ratio, table
from machine import load_average, machine
from trial import take_turns
from zarrfeed_convert import convert, open_source

WORKERS = 2
ROW = 13
_SHAPE = (512, 512, 128)


def decode(path: str) -> int:
    """Decode a file as people do, and return its number of bytes."""
    image: Any = nib.load(path)
    return int(np.asanyarray(image.dataobj).nbytes)


def decode_case(paths: tuple[str, ...]) -> int:
    """Decode the files of a case."""
    return sum(map(decode, paths))


def make_volumes(folder: Path, count: int) -> None:
    """Write made-up CT volumes and their labels."""
    rng = np.random.default_rng(0)
    y, x = np.ogrid[-1 : 1 : _SHAPE[0] * 1j, -1 : 1 : _SHAPE[1] * 1j]
    body = (x / 0.85) ** 2 + (y / 0.6) ** 2 < 1
    bank = rng.normal(0, 25, (8, *_SHAPE[:2]))
    bank = (bank + np.roll(bank, 1, 1) + np.roll(bank, 1, 2)) / np.sqrt(3)  # as of a kernel
    for number in range(count):
        organs = rng.integers(-2, 4, (16, 16, _SHAPE[2] // 16)).repeat(32, 0).repeat(32, 1) * 60
        image = np.empty(_SHAPE, np.int16)
        labels = np.zeros(_SHAPE, np.uint8)
        for z in range(_SHAPE[2]):
            noise = np.roll(bank[rng.integers(8)], rng.integers(512, size=2), (0, 1))
            organ = organs[..., z // 16]
            image[..., z] = np.where(body, 40 + organ + noise, np.abs(noise) / 4 - 1000)
            labels[..., z] = np.where(body & (organ > 60), organ // 60 - 1, 0)
        for name, values in (("images", image), ("labels", labels)):
            path = folder / name / f"case{number}.nii.gz"
            path.parent.mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(values, np.diag([0.8, 0.8, 2.5, 1])), path)


def packing_volumes(images: str, masks: str, tile: str, scratch: Path, rounds: int) -> list[Figure]:
    """Measure volumes per second of packing, relative to decoding."""
    source = open_source("nifti", {"images": images, "masks": masks, "as_": "volumes"})
    files = [source.names(case) for case in range(len(source.keys))]
    with ProcessPoolExecutor(WORKERS, get_context("spawn")) as pool:
        nbytes = sum(pool.map(decode_case, files))  # starts both processes, and warms the cache
        ways = {
            "packing": partial(_pack, source, tile, scratch),
            "decoding": partial(_decode, pool, files),
        }
        found = take_turns(ways, rounds)
    whole = [rate for rate, _ in found["packing"]]
    alone = [rate for _, rate in found["packing"]]
    decoding = found["decoding"]
    how = (
        f"{len(files)} volumes with labels, {nbytes / 1e6:.0f} MB decoded, tiles {tile}, {WORKERS} "
        "processes on both sides. Decoding: np.asanyarray(image.dataobj) of nibabel. The packing "
        "alone: from the beginning of the first shard to the end of the last one. The whole "
        "command: with the start of its processes, the headers, the trial of codecs and metadata."
    )
    return [
        ratio(ROW, "packing / nibabel's decoding, the packing alone", alone, decoding,
              at_least=0.8, how=how),
        ratio(ROW, "packing / nibabel's decoding, the whole command", whole, decoding),
        *(quantity(ROW, what, "volumes/s", rates) for what, rates in
          (("packing alone", alone), ("the whole command", whole), ("decoding", decoding))),
    ]  # fmt: skip


def _pack(source: Any, tile: str, scratch: Path) -> tuple[float, float]:
    out = scratch / "packing.zarr"
    updates: list[tuple[str, float]] = []

    def note(what: str, done: int, total: int) -> None:  # noqa: ARG001
        updates.append((what, time.perf_counter()))

    size: Any = tile if tile == "auto" else tuple(map(int, tile.split("x")))
    start = time.perf_counter()
    convert(source, out, split="train", classes=4, tile=size, workers=WORKERS, progress=note)
    end = time.perf_counter()
    shutil.rmtree(out)
    began = next(at for what, at in updates if what == "packing")  # with no tile done yet
    count = len(source.keys)
    return count / (end - start), count / (updates[-1][1] - began)


def _decode(pool: ProcessPoolExecutor, files: list[tuple[str, ...]]) -> float:
    start = time.perf_counter()
    list(pool.map(decode_case, files))
    return len(files) / (time.perf_counter() - start)


def main() -> None:
    """Measure, and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--images", help="folder of .nii.gz volumes (default: made up)")
    parser.add_argument("--masks", help="folder of their labels, of 4 classes at most")
    parser.add_argument("--count", type=int, default=6, help="number of made-up volumes (6)")
    parser.add_argument("--tile", default="auto", help="size of tiles, or auto (auto)")
    parser.add_argument("--scratch", help="folder for volumes and stores, which are removed")
    parser.add_argument("--rounds", type=int, default=6,
                        help="number of rounds, at least 2; the first is dropped (6)")  # fmt: skip
    options = parser.parse_args()
    load = load_average()
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        images, masks = options.images, options.masks
        if not images:
            make_volumes(Path(folder), options.count)
            images, masks = f"{folder}/images", f"{folder}/labels"
        figures = packing_volumes(images, masks, options.tile, Path(folder), options.rounds)
    print(f"{machine()}; load average before: {load}\n")
    print(table(figures))


if __name__ == "__main__":
    main()
