"""How fast does ``zarrfeed.predict`` go, and how much memory does it take?

    python benchmarks/predicting.py
    python benchmarks/predicting.py --images 16 --rounds 9 --scratch /mnt/disk

A model that returns one constant array predicts patches of images of random pixels. In turn, the
same patches are read by the same sequence, and nothing is done with them. All files are in the page
cache. Memory is measured in a process of its own for images of two heights.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import memory
from figures import Figure, largest, quantity, ratio, table
from machine import load_average, machine
from zarrfeed import FrontEnd, GridPatches, predict
from zarrfeed_convert import Header, Source, convert

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

_PATCHES = GridPatches((512, 512), overlap=0.5)
_BATCH = 8
_MEMORY_BATCH = 1  # so that batches take next to no memory
_SIZE = (2000, 2000)
_HEIGHTS = (2000, 8000)


@dataclass(frozen=True, slots=True)
class Constant:
    """A model that takes no time."""

    outputs: NDArray[np.float32]

    @classmethod
    def of(cls, channels: int, batch: int = _BATCH) -> Constant:
        """Return a model that finds regions of some classes."""
        place = np.indices((batch, *_PATCHES.size)).sum(axis=0)[..., None] / 40
        waves = np.sin(place / (1 + np.arange(channels))) / 2 + 0.5
        return cls(waves.astype(np.float32))

    def predict_on_batch(self, x: Any) -> NDArray[np.float32]:  # noqa: ARG002 - as in Keras
        """Return the same as ever."""
        return self.outputs


class RandomImages(Source):
    """Images of random pixels."""

    def __init__(self, size: tuple[int, int], images: int) -> None:
        self.fields = Source.fields[:1]
        self._size, self._images = size, images

    @property
    def keys(self) -> Sequence[str]:
        """Names of the images."""
        return [f"{image}" for image in range(self._images)]

    def describe(self) -> dict[str, Any]:
        """Describe the source."""
        return {"kind": "random images"}

    def probe(self, sample: int) -> Header:  # noqa: ARG002 - all are alike
        """Return the header of an image."""
        return Header.of_pair((*self._size, 3), "uint8", None)

    def read(self, sample: int) -> tuple[NDArray[Any], ...]:
        """Make an image."""
        rng = np.random.default_rng(sample)
        return (rng.integers(0, 256, (*self._size, 3), np.uint8),)


def pack(path: Path, size: tuple[int, int], images: int) -> Path:
    """Pack images into raw tiles of half a patch."""
    convert(RandomImages(size, images), path, split="s", tile=(256, 256), codec="raw", workers=1)
    return path / "s"


def read(split: Path) -> int:
    """Read the patches that are predicted, by the same sequence."""
    with FrontEnd(split, _BATCH, patches=_PATCHES, shuffle=False, inputs="image",
                  max_queue_size=3, rank=0, world_size=1) as sequence:  # fmt: skip
        return sum(len(batch[0]) for batch in sequence)


def speed_figures(folder: Path, images: int, rounds: int) -> Iterator[Figure]:
    """Time reading and predicting in turn."""
    split = pack(folder / f"{images}.zarr", _SIZE, images)
    models = {channels: Constant.of(channels) for channels in (1, 3)}
    reading: list[float] = []
    predicting: dict[int, list[float]] = {channels: [] for channels in models}
    patches = 0
    for _ in range(rounds + 1):
        began = time.perf_counter()
        patches = read(split)
        reading.append(time.perf_counter() - began)
        for channels, model in models.items():
            began = time.perf_counter()
            predict(model, split, folder / "out.zarr", _PATCHES, batch_size=_BATCH)
            predicting[channels].append(time.perf_counter() - began)
            shutil.rmtree(folder / "out.zarr")
    said = (
        f"whole calls, opening included, over {images} images {(*_SIZE, 3)} uint8, raw tiles "
        f"256×256, {patches} patches 512×512 with overlap 0.5, one worker thread, window gaussian, "
        f"argmax; {rounds} rounds."
    )
    for channels, seconds in predicting.items():
        yield ratio(1, f"predict, K = {channels}, of {images} images / reading the same patches",
                    reading[1:], seconds[1:], how=said,
                    at_least=0.6 if channels == 1 and images > 1 else None)  # fmt: skip
    for name, seconds in (("reading", reading), *((f"K = {k}", s) for k, s in predicting.items())):
        yield quantity(
            1, f"{name}, {images} images", "patches/s", [patches / s for s in seconds[1:]]
        )


def memory_figures(folder: Path) -> Iterator[Figure]:
    """Measure the memory that predicting adds to a process."""
    for height in _HEIGHTS:
        pack(folder / f"tall{height}.zarr", (height, _SIZE[1]), 1)
        for channels in (1, 3):
            peaks = []
            for _ in range(3):
                child = subprocess.Popen(
                    [sys.executable, __file__, "--child", str(folder), str(height), str(channels)],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                )  # fmt: skip
                assert child.stdin is not None
                assert child.stdout is not None
                child.stdout.readline()  # everything is imported
                before = memory.of_tree(child.pid)
                print("go", file=child.stdin, flush=True)
                after = memory.peak(child.pid, lambda: child.poll() is None, every=0.002)  # noqa: B023
                assert child.wait() == 0
                peaks.append((after.held - before.held) / 1e6)
            yield largest(
                2, f"memory that predict adds, image of {height} × {_SIZE[1]}, K = {channels}",
                "MB", peaks, how="the peak, without mapped files. Sums take 512 × 2000 × K × 4 "
                "bytes, 7 batches of 1 patch 0.8 MB each; three predictions a process, 3 rounds.",
            )  # fmt: skip


def child(folder: str, height: str, channels: str) -> None:
    """Predict several times, so that the peak is seen."""
    import zarr.codecs  # noqa: F401

    import zarrfeed.fronts.prediction  # noqa: F401

    model = Constant.of(int(channels), _MEMORY_BATCH)
    print("ready", flush=True)
    sys.stdin.readline()
    out = Path(folder) / "memory.zarr"
    for _ in range(3):
        split = Path(folder) / f"tall{height}.zarr" / "s"
        predict(model, split, out, _PATCHES, batch_size=_MEMORY_BATCH)
        shutil.rmtree(out)


def main() -> None:
    """Measure, and print the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=8, help="images of a call (default: 8)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds (default: 7)")
    parser.add_argument("--scratch", type=Path, help="folder for the data (default: temporary)")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*options.child)
        return
    about = f"{machine()}; load average before: {load_average()}"
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        figures = [
            *speed_figures(Path(scratch), options.images, options.rounds),
            *speed_figures(Path(scratch), 1, options.rounds),
            *memory_figures(Path(scratch)),
        ]
    print(f"{about}\n\n{table(figures)}")


if __name__ == "__main__":
    main()
