"""Does packing a sample cost more if there are many, and how fast does such a store open?"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from figures import Figure, quantity, ratio
from trial import take_turns
from zarrfeed import open_split
from zarrfeed_convert import Header, Source, convert

if TYPE_CHECKING:
    from pathlib import Path

FEW, MANY, SIZE = 10_000, 1_000_000, 28


class Numbered(Sequence[str]):
    """Keys that are computed when they are used."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < self._count:
            raise IndexError(index)
        return f"{index:07}"


class Small(Source):
    """Tiny images cut from one of noise, with masks of four classes."""

    def __init__(self, count: int) -> None:
        self._keys = Numbered(count)
        rng = np.random.default_rng(0)
        self._noise = rng.integers(0, 256, (256 + SIZE, 256 + SIZE, 1), np.uint8)

    @property
    def keys(self) -> Sequence[str]:
        """Keys of the samples."""
        return self._keys

    def describe(self) -> dict[str, Any]:
        """Describe the source."""
        return {"kind": "small noise", "count": len(self._keys)}

    def names(self, sample: int) -> tuple[str, str]:
        """Return the names of a sample's image and mask."""
        return f"image {sample}", f"mask {sample}"

    def probe(self, sample: int) -> Header:  # noqa: ARG002
        """Return the header of a sample."""
        return Header.of_pair((SIZE, SIZE, 1), "uint8", (SIZE, SIZE))

    def read(self, sample: int) -> tuple[np.ndarray, np.ndarray]:
        """Cut out an image, and derive its mask."""
        y, x = sample % 256, sample // 256 % 256
        image = self._noise[y : y + SIZE, x : x + SIZE]
        return np.ascontiguousarray(image), np.ascontiguousarray(image[:, :, 0] >> 6)


def many_samples(scratch: Path, rounds: int, workers: int) -> list[Figure]:
    """Row 5: the time per sample for many and for few samples."""
    counts = {"few": FEW, "many": MANY}
    ways = {name: partial(_pack, scratch, count, workers) for name, count in counts.items()}
    found = take_turns(ways, rounds)
    seconds = {name: [pack for pack, _, _ in of] for name, of in found.items()}
    how = (
        f"{MANY:,} and {FEW:,} samples of {SIZE}x{SIZE}, {workers} processes, the whole call of "
        "convert(); opening is open_split, and a ZarrSequence up to its first batch, in a process "
        "that has opened a store before."
    )
    return [
        ratio(5, "time per sample, 1,000,000 samples / 10,000 samples", seconds["many"],
              seconds["few"], at_most=1.1, how=how),
        quantity(5, "opening a split of 1,000,000 samples", "ms",
                 [opened for _, opened, _ in found["many"]], at_most=50),
        quantity(5, "a sequence on it, to its first batch (no worker)", "ms",
                 [first for _, _, first in found["many"]]),
        *(quantity(5, f"a sample of {counts[name]:,}", "µs", [1e6 * took for took in of])
          for name, of in seconds.items()),
    ]  # fmt: skip


def _pack(scratch: Path, count: int, workers: int) -> tuple[float, float, float]:
    """Return the seconds per sample to pack, and the milliseconds to open and to a first batch."""
    out = scratch / "many.zarr"
    start = time.perf_counter()
    convert(Small(count), out, split="train", classes=4, workers=workers)
    packed = time.perf_counter() - start
    from zarrfeed import ZarrSequence  # imports Keras, which packing processes do not need

    opened, first = [], []
    for _ in range(4):
        start = time.perf_counter()
        open_split(out / "train")
        opened.append(time.perf_counter() - start)
        start = time.perf_counter()
        with ZarrSequence(out / "train", 64, workers=0) as sequence:
            next(iter(sequence))
            first.append(time.perf_counter() - start)
    shutil.rmtree(out)
    return packed / count, 1e3 * min(opened[1:]), 1e3 * min(first[1:])
