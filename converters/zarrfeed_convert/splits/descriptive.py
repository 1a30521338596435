"""Which arrays describe a split's samples and files, besides the fields that feed a model?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.store.names import encode_names
from zarrfeed.store.schema import (
    CASE_AFFINE,
    CASE_FIRST_TILE,
    CASE_KEY,
    CASE_SIZE,
    CASE_SPACING,
    CHANNEL_SUMS,
    CLASS_PIXELS,
    DHASH,
    DIGEST,
    KEY,
    SHARD_FILES,
    TILE,
    TILE_SIZE,
    TILE_SOURCE,
)
from zarrfeed_convert.affines import spacings_of
from zarrfeed_convert.atomic_files import writing
from zarrfeed_convert.shards.statistics import spread_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from zarrfeed_convert.shards.cases import Cases
    from zarrfeed_convert.shards.rows import Tiles
    from zarrfeed_convert.shards.shard_record import ShardRecord
    from zarrfeed_convert.source import JSON

# Rows per chunk. Such arrays are read whole, and a chunk has some hundred KiB.
_ROWS = 65536


def write_facts(
    folder: Path, records: Sequence[ShardRecord], *, names: Sequence[str], pixels: int
) -> JSON:
    """Write the arrays that describe samples and shard files.

    Parameters
    ----------
    folder
        Folder of the split.
    records
        Records of all shards, in order.
    names
        Names of all samples; empty for tiles of cases, which are named by :func:`write_cases`.
    pixels
        Number of pixels of all samples, without the padding of tiles of cases.

    Returns
    -------
    dict
        ``mean`` and ``std`` of every image channel. If there are values that are not finite, their
        number per channel, too (``not_finite``); they are left out of mean and std.
    """
    digest = np.concatenate([record.digest for record in records])
    class_pixels = np.concatenate([record.class_pixels for record in records])
    sums = np.concatenate([record.channel_sums for record in records])
    left_out = sums[:, :, 2].sum(axis=0)
    if not left_out.any():
        sums = sums[:, :, :2]
    files = np.stack([record.files for record in records])
    if names:
        _write(folder, KEY, encode_names(names), "sample", "byte")
    _write(folder, DIGEST, digest, "sample")
    if class_pixels.shape[1]:  # there are masks
        narrow = class_pixels.astype(np.uint32 if class_pixels.max() < 2**32 else np.uint64)
        _write(folder, CLASS_PIXELS, narrow, "sample", "class")
    _write(folder, CHANNEL_SUMS, sums, "sample", "channel", "power")
    hashes = [record.dhash for record in records if record.dhash is not None]
    if len(hashes) == len(records):  # shards that an older zarrfeed packed have none
        _write(folder, DHASH, np.concatenate(hashes), "sample")
    _write(folder, SHARD_FILES, files, "shard", "field", "fact")
    mean, std = spread_of(sums.sum(axis=0), pixels)
    channels = {"mean": mean.tolist(), "std": std.tolist()}
    return channels | ({"not_finite": left_out.tolist()} if left_out.any() else {})


def write_tiles(folder: Path, tiles: Tiles) -> None:
    """Write the arrays that say from where tiles were cut."""
    _write(folder, TILE, tiles.place, "sample", "place")
    _write(folder, TILE_SOURCE, encode_names(tiles.names), "source", "byte")
    _write(folder, TILE_SIZE, tiles.sizes, "source", "extent")


def write_cases(folder: Path, cases: Cases) -> None:
    """Write the arrays that describe the cases of a split."""
    _write(folder, CASE_KEY, encode_names(cases.keys), "case", "byte")
    _write(folder, CASE_SIZE, cases.sizes, "case", "extent")
    _write(folder, CASE_FIRST_TILE, cases.first_tile, "case")
    if cases.affines is not None:
        _write(folder, CASE_SPACING, spacings_of(cases.affines), "case", "axis")
        _write(folder, CASE_AFFINE, cases.affines, "case", "row", "column")


def _write(folder: Path, name: str, values: NDArray[Any], *dimensions: str) -> None:
    """Write an array, (n, …), that describes samples or files."""
    import zarr
    from zarr.codecs import Crc32cCodec, ZstdCodec

    with writing(folder / name):
        array = zarr.create_array(
            str(folder / name),
            shape=values.shape,
            dtype=values.dtype,
            chunks=(min(len(values), _ROWS), *values.shape[1:]),
            # The checksum, since no digest covers these arrays.
            compressors=(ZstdCodec(level=1, checksum=False), Crc32cCodec()),
            fill_value=0,
            dimension_names=dimensions,
            config={"write_empty_chunks": True},  # so that a missing file is always an error
        )
        array[:] = values
