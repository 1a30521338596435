"""Stores of random pixels, written by zarr-python in the layout of zarrfeed, uncompressed.

One of them is simulated: it has only one real shard file per field, with hard links under the names
of all shards of a store of N samples.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import numpy as np
import zarr

if TYPE_CHECKING:
    from pathlib import Path

TINY = 28  # height and width of the samples of the simulated store
CHUNK_ROWS = 84  # images of 28×28 in about 64 KiB
SHARD_ROWS = 336_000  # 263 MB
_FIELDS = {"image": 3, "mask": 2}  # axes of a sample


def simulate(folder: Path, samples: int) -> Path:
    """Make a split of any number of 28×28 images and masks, which takes 527 MB of disk."""
    shape = (SHARD_ROWS, TINY, TINY, 1)
    if not folder.exists():
        _write(folder, shape, chunk_rows=CHUNK_ROWS, shard_rows=SHARD_ROWS)
    for name, axes in _FIELDS.items():
        array = folder / name
        metadata = json.loads((array / "zarr.json").read_text())
        metadata["shape"] = [samples, *shape[1 : axes + 1]]
        (array / "zarr.json").write_text(json.dumps(metadata))
        zeros = ["0"] * axes
        for shard in range(1, -(-samples // SHARD_ROWS)):
            copy = array.joinpath("c", str(shard), *zeros)
            if not copy.exists():
                copy.parent.mkdir(parents=True)
                os.link(array.joinpath("c", "0", *zeros), copy)
    return folder


def write(folder: Path, *, samples: int, size: int, shards: int) -> Path:
    """Make a split of RGB images and masks, with the chunks that the packer would choose."""
    chunk_rows = max(1, -(-(64 << 10) // (size * size * 3)))
    chunks = -(-samples // (chunk_rows * shards))
    shape = (samples, size, size, 3)
    return _write(folder, shape, chunk_rows=chunk_rows, shard_rows=chunks * chunk_rows)


def _write(folder: Path, shape: tuple[int, ...], *, chunk_rows: int, shard_rows: int) -> Path:
    group = zarr.create_group(folder, attributes={"zarrfeed": {"format": 1, "fields": [*_FIELDS]}})
    rng = np.random.default_rng(0)
    for name, axes in _FIELDS.items():
        sample = shape[1 : axes + 1]
        array = group.create_array(
            name,
            shape=(shape[0], *sample),
            dtype="uint8",
            chunks=(chunk_rows, *sample),
            shards=(shard_rows, *sample),
            compressors=None,
        )
        pixels = rng.integers(1, 256, (shard_rows, *sample), np.uint8)
        for start in range(0, shape[0], shard_rows):  # all shards have the same pixels
            array[start : start + shard_rows] = pixels[: shape[0] - start]
    return folder
