"""Splits of cases that tests read: written by zarr-python, with the arithmetic written out."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

Case = dict[str, "NDArray[Any]"]


def random_case(
    size: tuple[int, ...], dtype: str, channels: int, seed: int, classes: int = 3
) -> Case:
    """Return an image with channels, and a mask, of random values."""
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    shape = (*size, channels)
    if kind.kind == "f":
        image = rng.normal(size=shape).astype(kind)
    elif kind.kind == "b":
        image = rng.random(shape) < 0.5
    else:
        limits = np.iinfo(kind)
        image = rng.integers(limits.min, limits.max, shape, kind, endpoint=True)
    return {"image": image, "mask": rng.integers(0, classes, size, np.uint8)}


def tiles_of(values: NDArray[Any], tile: tuple[int, ...]) -> list[NDArray[Any]]:
    """Cut an array into tiles, in C order, padded with 0 at the far borders."""
    found = []
    size = values.shape[: len(tile)]
    for origin in itertools.product(
        *(range(0, extent, step) for extent, step in zip(size, tile, strict=True))
    ):
        part = values[
            tuple(slice(first, first + step) for first, step in zip(origin, tile, strict=True))
        ]
        whole = np.zeros((*tile, *values.shape[len(tile) :]), values.dtype)
        whole[tuple(slice(0, extent) for extent in part.shape)] = part
        found.append(whole)
    return found


def stored_names(names: Collection[str]) -> NDArray[np.uint8]:
    """Return names as zarrfeed stores them: UTF-8 in rows (N, L), padded with zeros."""
    return np.array([name.encode() for name in names]).view(np.uint8).reshape(len(names), -1)


def write_cases(
    path: Path,
    cases: Mapping[str, Case],
    tile: tuple[int, ...],
    *,
    shard: int | None = 4,
    chunk: int = 1,
    attributes: dict[str, Any] | None = None,
    spacing: Any = None,
    affine: Any = None,
    **codecs: Any,
) -> Path:
    """Write a split of cases.

    Parameters
    ----------
    path
        Folder of the split.
    cases
        Key → fields of each case.
    tile
        Size of a tile.
    shard, chunk
        Tiles per shard (None: no shards) and per chunk.
    attributes
        The split's ``attributes.zarrfeed``; None for those of another writer's split, none.
    spacing, affine
        ``case_spacing`` and ``case_affine``; None for none.
    codecs
        Further arguments of ``create_array``.
    """
    group = zarr.open_group(str(path), mode="w")
    if attributes is not None:
        group.attrs["zarrfeed"] = attributes
    fields = list(next(iter(cases.values())))
    for field in fields:
        values = np.stack([t for case in cases.values() for t in tiles_of(case[field], tile)])
        if shard is not None:  # one shard must be whole chunks
            shard = max(shard // chunk, 1) * chunk
        group.create_array(
            field,
            data=values,
            chunks=(chunk, *values.shape[1:]),
            shards=None if shard is None else (shard, *values.shape[1:]),
            **codecs,
        )
    sizes = np.array([case[fields[0]].shape[: len(tile)] for case in cases.values()], np.int64)
    counts = [len(tiles_of(case[fields[0]], tile)) for case in cases.values()]
    described = {
        "case_key": stored_names(cases),
        "case_size": sizes,
        "case_first_tile": np.cumsum([0, *counts[:-1]]),
        "case_spacing": spacing,
        "case_affine": affine,
    }
    for name, values in described.items():
        if values is not None:
            group.create_array(name, data=np.asarray(values))
    return path
