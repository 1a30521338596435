"""A store on a web server, and obstore alone, which fetches the same from it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed_convert import Header, Source, convert

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

CONCURRENCY = 16  # requests at once, as zarrfeed's fetcher sends
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


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes of an object."""

    key: str
    start: int
    stop: int


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


def fetch(url: str, ranges: Sequence[Range], *, into: Path | None = None) -> int:
    """Fetch ranges by obstore alone, `CONCURRENCY` at once.

    Parameters
    ----------
    url
        Address of the split.
    ranges
        What to fetch.
    into
        Folder to write the objects to; None to forget the bytes.

    Returns
    -------
    int
        How many bytes came.
    """
    from obstore.store import HTTPStore

    store = HTTPStore.from_url(url, client_options={"allow_http": True})
    return asyncio.run(_fetch(store, ranges, into))


async def _fetch(store: Any, ranges: Sequence[Range], into: Path | None) -> int:
    import obstore

    left = iter(ranges)

    async def some() -> int:
        nbytes = 0
        for each in left:
            asked = {"range": (each.start, each.stop)}
            found = await obstore.get_async(store, each.key, options=asked)
            # Parts of 1 MiB are the fastest way: larger buffers are new memory every time.
            stream = found.stream(min_chunk_size=MIB)
            if into is None:
                async for part in stream:
                    nbytes += len(part)
                continue
            path = into / each.key
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                async for part in stream:
                    nbytes += file.write(part)
        return nbytes

    return sum(await asyncio.gather(*(some() for _ in range(CONCURRENCY))))
