"""Huge tiled TIFFs that are small on the disk: many tiles of a few contents.

    header | tiles of a few contents | offsets, byte counts | one directory (BigTIFF)

The offsets of a TIFF may repeat. So a picture of 60,000×60,000 pixels takes a megabyte, and still
every tile of it is read and decoded.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_JPEG, _DEFLATE = 7, 8
_GREY, _RGB, _YCBCR = 1, 2, 6
_CONTENTS = 16


def write_picture(
    path: Path, size: int, *, tile: int = 256, channels: int = 3, jpeg: bool = True
) -> None:
    """Write a square picture of smooth, noisy tiles, compressed by JPEG or by deflate."""
    tiles = [picture_tile(number, tile, channels) for number in range(_CONTENTS)]
    if jpeg:
        encoded = [imagecodecs.jpeg8_encode(each, level=85) for each in tiles]
        photometric = _GREY if channels == 1 else _YCBCR
        _write(path, size, tile, encoded, _JPEG, channels, photometric)
    else:
        encoded = [imagecodecs.zlib_encode(each.tobytes()) for each in tiles]
        _write(path, size, tile, encoded, _DEFLATE, channels, _GREY if channels == 1 else _RGB)


def write_ids(path: Path, size: int, *, tile: int = 256, classes: int = 4) -> None:
    """Write a square mask of blobs, compressed by deflate."""
    tiles = [ids_tile(number, tile, classes) for number in range(_CONTENTS)]
    encoded = [imagecodecs.zlib_encode(each.tobytes()) for each in tiles]
    _write(path, size, tile, encoded, _DEFLATE, 1, _GREY)


def picture_tile(number: int, tile: int, channels: int) -> NDArray[np.uint8]:
    """Return the content of every sixteenth tile, (tile, tile) or (tile, tile, channels)."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[:tile, :tile] / tile
    shape = (tile, tile) if channels == 1 else (tile, tile, channels)
    waves = 60 * np.sin(5 * x + number) * np.cos(7 * y - number) + 120
    waves = waves if channels == 1 else waves[..., np.newaxis]
    return np.clip(waves + rng.normal(0, 12, shape), 0, 255).astype(np.uint8)


def ids_tile(number: int, tile: int, classes: int) -> NDArray[np.uint8]:
    """Return the ids of every sixteenth tile of a mask, (tile, tile)."""
    y, x = np.mgrid[:tile, :tile] / tile
    ids = np.floor((1 + np.sin(6 * x + number) * np.cos(5 * y + number)) / 2 * classes)
    return np.minimum(ids, classes - 1).astype(np.uint8)


def _write(
    path: Path,
    size: int,
    tile: int,
    contents: list[bytes],
    compression: int,
    channels: int,
    photometric: int,
) -> None:
    along = -(-size // tile)
    which = np.arange(along * along) % len(contents)
    places, at = [], 16
    for content in contents:
        places.append(at)
        at += len(content)
    offsets = np.array(places, "<u8")[which].tobytes()
    counts = np.array([len(content) for content in contents], "<u8")[which].tobytes()
    bits = struct.pack("<8s", struct.pack(f"<{channels}H", *[8] * channels))
    tags = [
        (256, 4, 1, struct.pack("<Q", size)),
        (257, 4, 1, struct.pack("<Q", size)),
        (258, 3, channels, bits),
        (259, 3, 1, struct.pack("<Q", compression)),
        (262, 3, 1, struct.pack("<Q", photometric)),
        (277, 3, 1, struct.pack("<Q", channels)),
        (284, 3, 1, struct.pack("<Q", 1)),
        (322, 4, 1, struct.pack("<Q", tile)),
        (323, 4, 1, struct.pack("<Q", tile)),
        (324, 16, len(which), struct.pack("<Q", at)),
        (325, 16, len(which), struct.pack("<Q", at + len(offsets))),
    ]
    if photometric == _YCBCR:
        tags.append((530, 3, 2, struct.pack("<8s", struct.pack("<2H", 2, 2))))
    if len(which) == 1:  # then values are in the directory
        tags[9:11] = [(324, 16, 1, offsets), (325, 16, 1, counts)]
    directory = at + len(offsets) + len(counts)
    with path.open("wb") as file:
        file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, directory))
        for content in contents:
            file.write(content)
        file.write(offsets + counts + struct.pack("<Q", len(tags)))
        for code, kind, count, value in tags:
            file.write(struct.pack("<HHQ", code, kind, count) + value)
        file.write(struct.pack("<Q", 0))
