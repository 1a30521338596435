"""A store for a web server, and where its samples lie."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from obstore_alone import Range
from zarrfeed_convert import Header, Source, convert

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Work:
    """Samples, and how they are packed and read.

    Attributes
    ----------
    samples, size
        Number of samples, and their height and width in pixels; images have 3 bytes a pixel, masks
        one.
    batch_size
        Samples per batch.
    shard_mib
        Size of an image shard in MiB.
    """

    samples: int = 1344
    size: int = 512
    batch_size: int = 32
    shard_mib: int = 16

    def __str__(self) -> str:
        return (
            f"{self.samples:,} samples of {self.size}², uint8 RGB and masks, not compressed, image "
            f"shards of {self.shard_mib} MiB, batches of {self.batch_size}"
        )


class Noise(Source):
    """Images and masks of random bytes. Sample i depends on i alone."""

    def __init__(self, work: Work) -> None:
        self._work = work

    @property
    def keys(self) -> list[str]:
        """Names of the samples."""
        return [f"{number:06}" for number in range(self._work.samples)]

    def describe(self) -> dict[str, Any]:
        """Describe the source."""
        return {"kind": "noise", "size": self._work.size}

    def probe(self, sample: int) -> Header:  # noqa: ARG002  all are alike
        """Return the header of a sample."""
        size = self._work.size
        return Header.of_pair((size, size, 3), "uint8", (size, size))

    def read(self, sample: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw a sample."""
        size = self._work.size
        pixels = np.frombuffer(np.random.default_rng(sample).bytes(4 * size**2), np.uint8)
        return (
            pixels[: 3 * size**2].reshape(size, size, 3),
            (pixels[3 * size**2 :] & 1).reshape(size, size),
        )


def pack(work: Work, folder: Path) -> Path:
    """Pack the samples as `folder`/store.zarr/train, unless they are there."""
    store = folder / "store.zarr"
    convert(
        Noise(work), store, split="train", codec="raw", chunk_samples=1, classes=2,
        shard_size=work.shard_mib * MIB, order="source",
    )  # fmt: skip
    return store / "train"


def shards(split: Path) -> list[Range]:
    """Return the shards of a split, field after field for each group of samples."""
    found = [path for field in ("image", "mask") for path in (split / field / "c").rglob("*")]
    files = sorted(
        (path for path in found if path.is_file()),
        key=lambda path: [int(part) for part in path.relative_to(split).parts[2:]],
    )
    return [Range(str(path.relative_to(split)), 0, path.stat().st_size) for path in files]


@lru_cache(maxsize=512)
def _index(shard: Path, chunks: int) -> np.ndarray:
    with shard.open("rb") as file:
        file.seek(-(16 * chunks + 4), 2)
        return np.frombuffer(file.read(16 * chunks), "<u8").reshape(chunks, 2)


def ranges_of(split: Path, samples: Iterable[int], work: Work) -> list[Range]:
    """Return where the samples lie; samples are chunks."""
    rows = work.shard_mib * MIB // (3 * work.size**2)
    found = []
    for sample in samples:
        for field, zeros in (("image", "0/0/0"), ("mask", "0/0")):
            key = f"{field}/c/{sample // rows}/{zeros}"
            start, nbytes = map(int, _index(split / key, rows)[sample % rows])
            found.append(Range(key, start, start + nbytes))
    return found
