"""How many batches a second does each way of reading hand out, beside the limit of memory?

    python benchmarks/batches_per_second.py [--samples 1024] [--size 256] [--batch-size 32]

Level *read*: arrays in the main process, every epoch a full global shuffle, page cache warm. Ways
take turns within each round, so that a noisy machine is noisy to all; the first round warms up
and is dropped. Figures are medians over the rounds; trust the ratios, not the absolute times.

The samples are the demonstration's drawn cells. Prints a Markdown table, or one JSON line per way
with ``--json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import zarr
from PIL import Image

import zarrfeed
from limits import Epoch, from_memory, load
from zarrfeed import ZarrSequence
from zarrfeed_convert import PairedFolders, convert
from zarrfeed_tools.cells import write_cells

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 0.5  # of every way's turn, at least


@dataclass(frozen=True, slots=True)
class Row:
    """One way of reading.

    Attributes
    ----------
    way
        What was measured.
    batches_per_second
        Median over the rounds after the warm-up.
    slowest, fastest
        The spread over those rounds.
    of_limit
        The median as a share of the memory limit's.
    """

    way: str
    batches_per_second: float
    slowest: float
    fastest: float
    of_limit: float


def from_sequence(sequence: ZarrSequence) -> Epoch:
    """Iterate over a sequence, which shuffles by itself."""

    def epoch(order: np.ndarray) -> Iterator[Any]:  # noqa: ARG001
        yield from sequence

    return epoch


def from_zarr_python(store: Path) -> Epoch:
    """Select the samples of a batch through zarr-python."""
    group = zarr.open_group(str(store), mode="r")
    arrays: list[Any] = [group["image"], group["mask"]]

    def epoch(order: np.ndarray) -> Iterator[Any]:
        for ids in order[:4]:  # it would take minutes otherwise
            yield [array.oindex[np.sort(ids)] for array in arrays]

    return epoch


def from_png(folder: Path, names: list[str]) -> Epoch:
    """Decode the files by Pillow, one after the other: the Keras ``Sequence`` of a tutorial."""

    def epoch(order: np.ndarray) -> Iterator[Any]:
        for ids in order[:8]:
            yield [
                np.stack([np.asarray(Image.open(folder / kind / names[i])) for i in ids])
                for kind in ("images", "masks")
            ]

    return epoch


def rate(epoch: Epoch, order: np.ndarray) -> float:
    """Go through epochs for at least half a second; batches per second."""
    batches, start = 0, time.perf_counter()
    while (seconds := time.perf_counter() - start) < SECONDS:
        for _ in epoch(order):
            batches += 1
    return batches / seconds


def measure(ways: dict[str, Epoch], samples: int, batch_size: int, rounds: int) -> list[Row]:
    """Let every way take its turn in every round."""
    rates: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(rounds + 1):
        order = np.random.default_rng(turn).permutation(samples)
        order = order[: samples // batch_size * batch_size].reshape(-1, batch_size)
        for way, epoch in ways.items():
            found = rate(epoch, order)
            if turn:
                rates[way].append(found)
    medians = {way: statistics.median(found) for way, found in rates.items()}
    limit = medians[next(iter(ways))]
    return [
        Row(way, medians[way], min(found), max(found), medians[way] / limit)
        for way, found in rates.items()
    ]


def main() -> None:
    """Pack, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--samples", type=int, default=1024)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="zarrfeed-bench-") as made:
        folder = Path(made)
        write_cells(folder, options.samples, size=options.size, seed=0)
        pairs = PairedFolders(str(folder / "images"), str(folder / "masks"))
        stores = {}
        for codec in ("raw", "lz4"):
            stores[codec] = folder / f"{codec}.zarr" / "train"
            convert(pairs, stores[codec].parent, split="train", classes=3, codec=codec)
        rows = measure(
            _ways(folder, stores, options.batch_size),
            options.samples, options.batch_size, options.rounds,
        )  # fmt: skip
    if options.json:
        for row in rows:
            print(json.dumps(asdict(row)))
    else:
        _print_table(rows, options)


def _ways(folder: Path, stores: dict[str, Path], batch_size: int) -> dict[str, Epoch]:
    images, masks = (load(stores["raw"], name) for name in ("image", "mask"))
    ways: dict[str, Epoch] = {
        "np.take from RAM, one buffer (the limit)": from_memory(images, masks, batch_size)
    }
    for codec, store in stores.items():
        for name, workers in {
            "1 thread": {"workers": 1},
            "1 process": {"workers": 1, "use_multiprocessing": True},
            "2 processes": {"workers": 2, "use_multiprocessing": True},
        }.items():
            sequence = ZarrSequence(store, batch_size, drop_remainder=True, **workers)
            ways[f"zarrfeed, {codec}, {name}"] = from_sequence(sequence)
    ways["zarr-python, raw"] = from_zarr_python(stores["raw"])
    names = sorted(path.name for path in (folder / "images").iterdir())
    ways["PNG files by Pillow"] = from_png(folder, names)
    return ways


def _print_table(rows: list[Row], options: argparse.Namespace) -> None:
    print(
        f"{options.samples} samples of {options.size}×{options.size}×3 + {options.size}×"
        f"{options.size} uint8, batch {options.batch_size}, full shuffle, warm, median of "
        f"{options.rounds} turns; {os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}, numpy {np.__version__}, zarr {zarr.__version__}, zarrfeed "
        f"{zarrfeed.__version__}\n"
    )
    print("| way | batches/s | slowest – fastest | of the limit |")
    print("|---|---:|---:|---:|")
    for row in rows:
        print(
            f"| {row.way} | {row.batches_per_second:,.4g} | {row.slowest:,.4g} – "
            f"{row.fastest:,.4g} | {row.of_limit:.2g} |"
        )


if __name__ == "__main__":
    main()
