"""Small datasets that were packed, to be hurt and looked at."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np
import zarr

from former_tiles import pack_former_tiles
from zarrfeed_convert import PairedFolders, convert, verify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CODECS = ("raw", "lz4", "zstd")


@dataclass
class Packed:
    """A small dataset of 11 samples, two a chunk and four a shard, and its originals."""

    folder: Path
    images: Path
    masks: Path

    @property
    def store(self) -> Path:
        return self.folder / "o.zarr"

    @property
    def split(self) -> Path:
        return self.store / "train"

    def array(self, name):
        return zarr.open_array(str(self.split / name))

    @property
    def keys(self):
        return [bytes(row).rstrip(b"\0").decode() for row in self.array("key")[:]]

    def shard(self, field, number):
        return self.split / field / "c" / str(number) / ("0/0/0" if field == "image" else "0/0")

    @property
    def shards(self):
        return {
            self.shard(field, number): self.keys[4 * number : 4 * number + 4]
            for field in ("image", "mask")
            for number in range(3)
        }

    def verify(self, **options):
        return verify(self.split, workers=1, **options)


def write_originals(folder, count=11, shape=(7, 6, 3), seed=0):
    rng = np.random.default_rng(seed)
    for sample in range(count):
        mask = np.sort(rng.integers(0, 3, shape[:2], np.uint8), axis=0)
        mask.flat[:3] = [0, 1, 2]
        image = np.cumsum(rng.integers(0, 5, shape, np.uint8), axis=0, dtype=np.uint8)
        for name, values in (("images", image), ("masks", mask)):
            (folder / name).mkdir(exist_ok=True, parents=True)
            path = folder / name / f"s{sample:02}.png"
            path.write_bytes(imagecodecs.png_encode(values))


def pack(folder, codec="raw", *, former_tiles=None, **options):
    write_originals(folder)
    packed = Packed(folder, folder / "images", folder / "masks")
    pairs = PairedFolders(packed.images, packed.masks)
    options = {"chunk_samples": 2, "shard_size": 4 * 7 * 6 * 3, "classes": 3, **options}
    options |= {"split": "train", "workers": 1, "codec": codec}
    if former_tiles is None:
        convert(pairs, packed.store, **options)
    else:
        pack_former_tiles(pairs, packed.store, size=former_tiles, **options)
    return packed


def copy_of(packed, folder):
    """Copy a dataset with its originals, so that it can be hurt."""
    shutil.copytree(packed.folder, folder)
    copy = Packed(folder, folder / "images", folder / "masks")
    metadata = copy.split / "zarr.json"
    metadata.write_text(metadata.read_text().replace(str(packed.folder), str(folder)))
    return copy


@contextmanager
def flipped(path: Path, place: int, bits: int) -> Iterator[None]:
    before = path.read_bytes()
    hurt = bytearray(before)
    hurt[place] ^= bits
    path.write_bytes(hurt)
    try:
        yield
    finally:
        path.write_bytes(before)


def kinds(found):
    return {problem.kind for problem in found.problems}


def change_attributes(split, change):
    path = split / "zarr.json"
    metadata = json.loads(path.read_text())
    change(metadata["attributes"]["zarrfeed"])
    path.write_text(json.dumps(metadata))


def make_older(packed):
    """Take away what an older zarrfeed didn't write."""
    for name in ("channel_sums", "dhash", "shard_files"):
        shutil.rmtree(packed.split / name)
    change_attributes(packed.split, lambda attributes: attributes.pop("channels"))
