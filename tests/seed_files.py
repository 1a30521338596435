"""The images and masks of seeds, and how their files are written."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

_RNG = np.random.default_rng(5)
PIXELS = _RNG.integers(0, 255, (3, 16, 12, 3), np.uint8)
MASKS = _RNG.integers(0, 3, (3, 16, 12), np.uint8)


def encoded(pixels: Any, form: str = "PNG", **more: Any) -> bytes:
    """Write an image to bytes."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **more)
    return file.getvalue()


def put(path: Path, data: bytes) -> None:
    """Write a file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def with_palette(mask: Any) -> bytes:
    """Write a mask to a PNG with a palette of three colours."""
    image = Image.fromarray(mask)
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def put_folders(at: Path, images: str, masks: str) -> None:
    """Write two images to a folder, and their masks to another one."""
    for number in range(2):
        put(at / images / f"{number}.png", encoded(PIXELS[number]))
        put(at / masks / f"{number}.png", encoded(MASKS[number]))
