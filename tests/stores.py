"""Stores that tests read: written by zarr-python, so that our own packer proves nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pathlib import Path

Pixels = dict[str, NDArray[Any]]


def traced_pixels(samples: int, height: int = 8, width: int = 6) -> Pixels:
    """Images and masks in which every pixel tells its sample: image = 7·id + place, mask = id."""
    ids = np.arange(samples)
    place = np.arange(height * width * 3).reshape(height, width, 3)
    return {
        "image": ((7 * ids[:, None, None, None] + place) % 251).astype(np.uint8),
        "mask": np.broadcast_to(ids[:, None, None] % 256, (samples, height, width)).astype(
            np.uint8
        ),
    }


def write_split(
    path: Path, pixels: Pixels, *, chunk: int = 1, shard: int | None = 4, **codecs: Any
) -> Path:
    """Write a split by zarr-python."""
    group = zarr.open_group(str(path), mode="w")
    for name, values in pixels.items():
        inner = (chunk, *values.shape[1:])
        group.create_array(
            name,
            data=values,
            chunks=inner,
            shards=None if shard is None else (shard, *values.shape[1:]),
            **codecs,
        )
    return path
