"""The samples of the workload: crops of real or drawn pictures, packed raw and as LZ4."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from trial import Workload
from zarrfeed_convert import Header, PairedFolders, Source, convert
from zarrfeed_tools.cells import write_cells

SMALL = 64  # samples of the small store
_DRAWN = 128  # pictures to draw if there are no real ones
_DRAWN_SIZE = 480


class Crops(Source):
    """Random square crops of picture and mask pairs: a source for ``zarrfeed_convert.convert``.

    Sample i is a crop of pair ``i % pairs``, at a place that depends only on (seed, i).

    Parameters
    ----------
    pairs
        Pictures and masks.
    samples
        Number of crops.
    size
        Height and width of the crops in pixels.
    seed
        Seed of the places.
    """

    def __init__(self, pairs: PairedFolders, samples: int, *, size: int, seed: int) -> None:
        self._pairs = pairs
        self._size = size
        self._seed = seed
        self._keys = [f"crop_{number:05d}" for number in range(samples)]

    @property
    def keys(self) -> list[str]:
        """Keys of the crops."""
        return self._keys

    def describe(self) -> dict[str, Any]:
        """Describe the source. `convert` packs again if this has changed."""
        pairs = self._pairs.describe()
        return {
            "kind": "random crops",
            "images": pairs["images"],
            "masks": pairs["masks"],
            "pairs": len(self._pairs.keys),
            "size": self._size,
            "seed": self._seed,
        }

    def names(self, sample: int) -> tuple[str, str]:
        """Return the files of a crop."""
        return self._pairs.names(sample % len(self._pairs.keys))

    def probe(self, sample: int) -> Header:
        """Return the header of a crop, from the header of its pair."""
        pair = self._pairs.probe(sample % len(self._pairs.keys))
        if min(pair.height, pair.width) < self._size:
            raise ValueError(
                f"{self.names(sample)[0]}: needed at least {self._size}×{self._size} pixels for a "
                f"crop, found {pair.height}×{pair.width}; reduce --size"
            )
        size = self._size
        return Header.of_pair((size, size, pair.channels), pair.dtype, (size, size))

    def read(self, sample: int) -> tuple[np.ndarray, np.ndarray]:
        """Cut a crop out."""
        image, mask = _decoded(*self._pair(sample))
        rng = np.random.default_rng((self._seed, sample))
        y, x = (int(rng.integers(0, extent - self._size + 1)) for extent in mask.shape)
        window = slice(y, y + self._size), slice(x, x + self._size)
        return np.ascontiguousarray(image[window]), np.ascontiguousarray(mask[window])

    def _pair(self, sample: int) -> tuple[PairedFolders, int]:
        return self._pairs, sample % len(self._pairs.keys)


@lru_cache(maxsize=512)  # every picture is cropped many times, and decoding takes ten times longer
def _decoded(pairs: PairedFolders, pair: int) -> tuple[np.ndarray, np.ndarray]:
    return pairs.read(pair)


def pack(
    folder: Path,
    *,
    samples: int,
    size: int,
    batch_size: int,
    images: str | None,
    masks: str | None,
    seed: int = 0,
) -> Workload:
    """Pack the samples, unless the folder already has them.

    Parameters
    ----------
    folder
        Folder of the stores.
    samples, size, batch_size
        See :class:`trial.Workload`.
    images, masks
        Folders of pictures and masks; None to draw cells.
    seed
        Seed of the crops.
    """
    if images is not None and masks is not None:
        pairs = PairedFolders(images, masks)
        what = f"{len(pairs.keys)} pictures of {images}"
    else:
        drawn = folder / "cells"
        if not (drawn / "masks" / f"cell_{_DRAWN - 1:04d}.png").exists():
            write_cells(drawn, _DRAWN, size=max(size, _DRAWN_SIZE), seed=seed)
        pairs = PairedFolders(str(drawn / "images"), str(drawn / "masks"))
        what = f"{_DRAWN} pictures of drawn cells (no --images and --masks were given)"
    stores = {}
    for name, codec, count in (
        ("raw", "raw", samples), ("lz4", "lz4", samples), ("small", "raw", SMALL),
    ):  # fmt: skip
        store = folder / f"{name}-{count}x{size}.zarr"
        crops = Crops(pairs, count, size=size, seed=seed)
        convert(crops, store, split="train", codec=codec)  # does nothing if it is already packed
        stores[name] = str(store / "train")
    origin = f"random crops (seed {seed}) of {what}"
    return Workload(**stores, samples=samples, size=size, batch_size=batch_size, origin=origin)


def warm(*stores: str) -> None:
    """Read every file once, so that it is in the page cache."""
    for store in stores:
        for path in Path(store).rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    while file.read(1 << 24):
                        pass
