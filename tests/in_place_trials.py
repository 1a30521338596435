"""Mutated images that are read in place: the end is the right pixels or one of our errors."""

from __future__ import annotations

import math
import shutil
from typing import TYPE_CHECKING, Any

import numcodecs
import numpy as np
from zarr import codecs

from ome_images import write_ome
from store_trials import MUTATIONS
from zarrfeed import FrontEnd, RandomPatches, ReadError, StoreError, open_cases
from zarrfeed.store.in_place.opening import open_in_place
from zarrfeed.store.located import locate
from zarrfeed.store.mirror.origin import Remote

if TYPE_CHECKING:
    import random
    from pathlib import Path

_SMALL = 16 << 20  # bytes of a case: what claims more is opened, and a corner read
_RNG = np.random.default_rng(1)
_PIXELS = _RNG.integers(0, 99, (2, 4, 12, 10), np.uint16)  # c, z, y, x
_CELLS = _RNG.integers(0, 3, (4, 12, 10), np.uint8)
_STORED: list[dict[str, Any]] = [
    {"zarr_format": 2, "chunks": (1, 2, 6, 5)},
    {"zarr_format": 2, "chunks": (2, 4, 12, 10), "compressors": numcodecs.GZip()},
    {"zarr_format": 2, "chunks": (1, 4, 6, 10), "compressors": None, "order": "F"},
    {"zarr_format": 2, "compressors": None, "filters": [numcodecs.Delta("<u2")]},
    {"chunks": (1, 2, 6, 5), "shards": (2, 4, 12, 10)},
    {"chunks": (2, 2, 6, 5), "shards": (2, 4, 6, 10), "compressors": codecs.Crc32cCodec()},
    {"chunks": (1, 2, 6, 10), "compressors": None},
]


class InPlaceTrials:
    """Trials of OME-Zarr images, with a label."""

    def __init__(self, folder: Path) -> None:
        self._bases = [
            write_ome(folder / f"{number}.ome.zarr", _PIXELS, "czyx", {"cells": (_CELLS, "zyx")},
                      unit="micrometer", **options)
            for number, options in enumerate(_STORED)
        ]  # fmt: skip

    def __call__(self, rng: random.Random, folder: Path) -> int:
        """Mutate a copy of an image, and read it as a case and as patches."""
        store = folder / "s"
        shutil.copytree(rng.choice(self._bases), store)
        files = sorted(path for path in store.rglob("*") if path.is_file())
        declared = sum(path.stat().st_size for path in files)
        harmless = rng.choice(MUTATIONS)(rng, files, store)
        try:
            declared += _read(store, harmless)
            patches = RandomPatches((2, 5, 5), per_epoch=3)
            with FrontEnd(store, 2, patches=patches, workers=0) as sequence:
                assert sum(1 for _ in sequence) == 2
        except (StoreError, ReadError) as error:
            _require_named(error, folder)
        return declared


def _require_named(error: Exception, folder: Path) -> None:
    assert str(folder) in str(error), f"names no file: {error!r}"
    assert len(str(error)) < 3000, f"too long: {str(error)[:500]}"


def _read(store: Path, harmless: bool) -> int:
    """Read the fields of all cases, as wholes and in parts; return the bytes that they claim."""
    split = open_in_place(locate(store, Remote.of()), None, "all")
    if split is None:
        return 0
    claimed = 0
    cases = open_cases(split)
    for field in cases.fields:
        claimed += math.prod(split.layouts[field].chunk_shape) * split.layouts[field].dtype.itemsize
        for key in list(cases)[:3]:
            case = cases.open(key, field)
            if case.nbytes > _SMALL:
                case[tuple(slice(0, min(extent, 3)) for extent in case.shape)]
                continue
            whole = np.asarray(case)
            parts = [case[row, ..., ::-1] for row in range(min(len(case), 9))]
            assert np.array_equal(whole[:9, ..., ::-1], parts, equal_nan=whole.dtype.kind == "f")
            if harmless and field in ("image", "mask"):
                right = np.moveaxis(_PIXELS, 0, -1) if field == "image" else _CELLS
                assert np.array_equal(whole, right)
    return claimed
