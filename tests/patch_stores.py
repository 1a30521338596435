"""Splits to cut patches from, with the pixels of each class counted by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from case_stores import Case, tiles_of, write_cases
from stores import Pixels, write_split

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

CLASSES = ("background", "organ", "lesion")


def ct(size: tuple[int, ...], seed: int, *, lesions: int) -> Case:
    """Return an int16 image, and a mask of which a few pixels are lesions."""
    rng = np.random.default_rng(seed)
    mask = (rng.random(size) < 0.3).astype(np.uint8)
    mask.reshape(-1)[rng.permutation(mask.size)[:lesions]] = 2
    image = rng.integers(-1000, 3000, (*size, 1), np.int16)
    depth = rng.normal(size=size).astype(np.float32)
    return {"image": image, "mask": mask, "depth": depth}


def counted(mask: NDArray[Any], inside: NDArray[np.bool_]) -> list[int]:
    return [int(((mask == label) & inside).sum()) for label in range(len(CLASSES))]


def write_classed_cases(
    path: Path, cases: Mapping[str, Case], tile: tuple[int, ...], **options: Any
) -> Path:
    """Write a split of cases as zarrfeed does, with the pixels of classes and sums of each tile."""
    fields = list(next(iter(cases.values())))
    attributes = {"format": 1, "fields": fields, "cases": len(cases)}
    write_cases(path, cases, tile, attributes=attributes, **options)
    pixels = [
        counted(mask, inside)
        for case in cases.values()
        for mask, inside in zip(
            tiles_of(case["mask"], tile),
            tiles_of(np.ones(case["mask"].shape, np.bool_), tile),
            strict=True,
        )
    ]
    # Padding is 0, which adds nothing to a sum.
    tiles = [t for case in cases.values() for t in tiles_of(case["image"].astype(float), tile)]
    sums = [
        [[t[..., c].sum(), (t[..., c] ** 2).sum(), 0] for c in range(t.shape[-1])] for t in tiles
    ]
    zarr.open_group(str(path), mode="a").create_array("channel_sums", data=np.array(sums))
    return _finish(path, pixels)


def write_classed_samples(path: Path, pixels: Pixels, **options: Any) -> Path:
    """Write a split of samples as zarrfeed does, with `class_pixels` of each."""
    write_split(path, pixels, **options)
    zarr.open_group(str(path), mode="a").attrs["zarrfeed"] = {"format": 1, "fields": list(pixels)}
    masks = pixels["mask"]
    if masks.ndim == pixels["image"].ndim:  # multi-hot
        return _finish(path, masks.sum(axis=tuple(range(1, masks.ndim - 1)), dtype=np.int64))
    return _finish(path, [counted(mask, np.ones(mask.shape, np.bool_)) for mask in masks])


def _finish(path: Path, pixels: Any) -> Path:
    group = zarr.open_group(str(path), mode="a")
    group.create_array("class_pixels", data=np.array(pixels, np.int64))
    dataset = {"format": 1, "classes": CLASSES, "ignore": None}
    zarr.open_group(str(path.parent), mode="a").attrs["zarrfeed"] = dataset
    return path
