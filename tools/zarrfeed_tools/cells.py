"""Draw PNG pairs that look like cells under a fluorescence microscope, with their label masks.

Every picture depends only on its number and the seed. Masks are palette PNGs, whose pixels are
class ids although viewers show them in colour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

CLASSES = ("background", "cell", "nucleus")
PALETTE = (0, 0, 0, 64, 160, 80, 90, 120, 255)  # RGB of each class


def write_cells(folder: Path, count: int, *, size: int, seed: int) -> None:
    """Write ``images/cell_0000.png …`` and the masks of the same names under ``masks/``.

    Parameters
    ----------
    folder
        Output folder, created if it does not exist. Pairs with the same names are replaced.
    count
        Number of pairs.
    size
        Height and width in pixels.
    seed
        Seed of the pictures.
    """
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        image, mask = draw_cells(size, np.random.default_rng((seed, number)))
        name = f"cell_{number:04d}.png"
        Image.fromarray(image).save(folder / "images" / name)
        labels = Image.fromarray(mask)
        labels.putpalette(PALETTE)  # turns a grey image into a palette one, pixels unchanged
        labels.save(folder / "masks" / name)


def draw_cells(size: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw one picture.

    Parameters
    ----------
    size
        Height and width in pixels.
    rng
        Generator that determines the number, places and looks of the cells.

    Returns
    -------
    image : (size, size, 3) uint8
        Green cell bodies and blue nuclei, with uneven light and camera noise.
    mask : (size, size) uint8
        0 background, 1 cell, 2 nucleus.
    """
    y, x = np.mgrid[0:size, 0:size] / size
    body, nucleus = np.zeros((size, size)), np.zeros((size, size))
    mask = np.zeros((size, size), np.uint8)
    for _ in range(rng.integers(4, 12)):
        center = rng.random(2)
        radius = rng.uniform(0.06, 0.13)
        outline = _outline(x - center[1], y - center[0], radius, wobble=0.25, rng=rng)
        offset = center + rng.uniform(-0.2, 0.2, 2) * radius
        core = _outline(x - offset[1], y - offset[0], radius * 0.45, wobble=0.1, rng=rng)
        body = np.maximum(body, rng.uniform(0.4, 0.9) * _soft(outline))
        nucleus = np.maximum(nucleus, rng.uniform(0.6, 1.0) * _soft(core))
        mask[(outline < 1) & (mask == 0)] = 1
        mask[core < 1] = 2
    light = 1 - 0.5 * ((x - rng.random()) ** 2 + (y - rng.random()) ** 2)
    texture = 1 + 0.15 * np.sin(40 * x + 9 * np.sin(31 * y))
    channels = np.stack([0.15 * body, body * texture * (1 - 0.4 * nucleus), nucleus], axis=-1)
    noise = rng.normal(0, 0.04, channels.shape)
    pixels = (0.06 + 0.85 * channels * light[..., None] + noise) * 255
    return pixels.clip(0, 255).astype(np.uint8), mask


def _outline(
    dx: NDArray[Any], dy: NDArray[Any], radius: float, *, wobble: float, rng: np.random.Generator
) -> NDArray[Any]:
    """Return the distance from a centre, relative to the radius of a wobbly outline."""
    angle = np.arctan2(dy, dx)
    edge = np.ones_like(angle)
    for waves in (2, 3, 5):
        edge += wobble / waves * rng.normal() * np.cos(waves * angle + rng.uniform(0, 2 * np.pi))
    return np.asarray(np.hypot(dx, dy) / (radius * edge.clip(0.5)))


def _soft(outline: NDArray[Any]) -> NDArray[Any]:
    """Return the brightness of a cell, which fades at its outline as behind an unsharp lens."""
    return np.asarray(1 / (1 + np.exp(12 * (outline - 1))))
