"""What does a split say of its samples and files, besides the fields that feed a model?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.store.schema import (
    CHANNEL_SUMS,
    CLASS_PIXELS,
    DIGEST,
    KEY,
    SHARD_FILES,
    TILE,
    TILE_SIZE,
    TILE_SOURCE,
)
from zarrfeed_convert.shards.statistics import spread_of
from zarrfeed_convert.splits.split_writer import names_array, write_descriptive

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from zarrfeed_convert.shards.rows import Tiles
    from zarrfeed_convert.shards.shard_record import ShardRecord
    from zarrfeed_convert.source import JSON


def write_facts(
    folder: Path, records: Sequence[ShardRecord], *, names: Sequence[str], pixels: int
) -> JSON:
    """Write the arrays that describe samples, and the one that describes files.

    Parameters
    ----------
    folder
        Of the split.
    records
        Of its shards.
    names
        Of its samples.
    pixels
        Of a sample.

    Returns
    -------
    dict
        The mean and the standard deviation of every channel; and how many of its values are not
        finite, and left out of both, where any are.
    """
    digest = np.concatenate([record.digest for record in records])
    class_pixels = np.concatenate([record.class_pixels for record in records])
    sums = np.concatenate([record.channel_sums for record in records])
    left_out = sums[:, :, 2].sum(axis=0)
    if not left_out.any():
        sums = sums[:, :, :2]
    files = np.stack([record.files for record in records])
    write_descriptive(folder, KEY, names_array(names), "sample", "byte")
    write_descriptive(folder, DIGEST, digest, "sample")
    if class_pixels.shape[1]:  # there are masks
        narrow = class_pixels.astype(np.uint32 if class_pixels.max() < 2**32 else np.uint64)
        write_descriptive(folder, CLASS_PIXELS, narrow, "sample", "class")
    write_descriptive(folder, CHANNEL_SUMS, sums, "sample", "channel", "power")
    write_descriptive(folder, SHARD_FILES, files, "shard", "field", "fact")
    mean, std = spread_of(sums.sum(axis=0), len(digest) * pixels)
    channels = {"mean": mean.tolist(), "std": std.tolist()}
    return channels | ({"not_finite": left_out.tolist()} if left_out.any() else {})


def write_tiles(folder: Path, tiles: Tiles) -> None:
    """Write where tiles were cut."""
    write_descriptive(folder, TILE, tiles.place, "sample", "place")
    write_descriptive(folder, TILE_SOURCE, names_array(tiles.names), "source", "byte")
    write_descriptive(folder, TILE_SIZE, tiles.sizes, "source", "extent")
