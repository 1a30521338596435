"""Small stores that reports are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cases import CaseArrays
from zarrfeed_convert import convert

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CLASSES = ("background", "cell", "debris")


def textured(seed: int, size: tuple[int, ...] = (48, 64), channels: int = 3) -> np.ndarray:
    """Return an image that differs for every seed, but is not noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(30, 220, (*(-(-extent // 8) for extent in size), channels))
    for axis, extent in enumerate(size):
        coarse = np.repeat(coarse, 8, axis=axis).take(range(extent), axis=axis)
    return (coarse + rng.integers(0, 20, coarse.shape)).astype(np.uint8)


def disc(size: tuple[int, ...], center: tuple[int, ...], radius: float) -> np.ndarray:
    """Return where a disc, or a ball, is."""
    grid = np.meshgrid(*map(np.arange, size), indexing="ij")
    away = sum((axis - middle) ** 2 for axis, middle in zip(grid, center, strict=True))
    return np.asarray(away <= radius**2)


def cell_sample(seed: int, size: tuple[int, ...] = (48, 64)) -> dict[str, Any]:
    """Return an image, and a mask with two discs."""
    mask = np.zeros(size, np.uint8)
    mask[disc(size, tuple(extent // 3 for extent in size), 6 + seed % 5)] = 1
    mask[disc(size, tuple(2 * extent // 3 for extent in size), 5)] = 2
    return {"image": textured(seed, size), "mask": mask}


def pack(store: Path, split: str, samples: Mapping[str, dict[str, Any]], **options: Any) -> Path:
    """Pack samples in memory, with the masks of three classes if they have some."""
    masks = "mask" in next(iter(samples.values()))
    options = {"classes": list(CLASSES) if masks else None, **options}
    convert(CaseArrays(dict(samples)), store, split=split, workers=1, order="source", **options)
    return store
