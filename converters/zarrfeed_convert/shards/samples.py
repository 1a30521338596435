"""How does a sample of the source become one of the store?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zarrfeed_convert.executors.executor import TaskRun
    from zarrfeed_convert.geometry import Geometry, Size
    from zarrfeed_convert.labels import Labels
    from zarrfeed_convert.shards.rows import Numbers, Rows
    from zarrfeed_convert.source import Image, Mask, Source

DIGEST_METHOD = "xxh3_64 of the image's bytes, then the mask's, in C order, little-endian"


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is done to a sample between the source and the store."""

    geometry: Geometry
    labels: Labels


def read_samples(
    run: TaskRun[Source], recipe: Recipe, rows: Rows
) -> Iterator[tuple[int, Image, Mask, Numbers]]:
    """Read samples, each once, and bring them to size: all tiles of an image follow each other.

    Gives a row's number, image, mask and class pixels; rows that fail are noted and left out.
    """
    windows: list[list[int]] = rows.window.tolist()
    for item, places in _visits(rows).items():
        pair: tuple[Image, Mask] | None = None
        with run.noting(item):
            pair = _read(run, item)
        if pair is None:
            continue
        for row in places:
            y, x = windows[row]
            settled: tuple[Image, Mask, Numbers] | None = None
            with run.noting(item):
                settled = _validated(run.context, recipe, item, pair, (y, x))
            if settled is not None:
                yield row, *settled


def _visits(rows: Rows) -> dict[int, list[int]]:
    """Gather the rows of every sample of the source, by its first one."""
    visits: dict[int, list[int]] = {}
    for row, item in enumerate(rows.item.tolist()):
        visits.setdefault(item, []).append(row)
    return visits


def sample_digest(image: Image, mask: Mask) -> int:
    """Digest a decoded sample, by `DIGEST_METHOD`."""
    digest = xxhash.xxh3_64()
    for values in (image, mask):
        flat = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).reshape(-1)
        digest.update(flat.view(np.uint8).data)
    return digest.intdigest()


def _validated(
    source: Source, recipe: Recipe, item: int, pair: tuple[Image, Mask], window: Size
) -> tuple[Image, Mask, Numbers]:
    image, mask = pair
    one, other = source.names(item)
    recipe.geometry.check_window(mask.shape[0], mask.shape[1], window, name=one)
    cut, ids = recipe.geometry.apply(image, mask, window=window, ignore=recipe.labels.ignore)
    return cut, *recipe.labels.validate(ids, name=other)


def _read(run: TaskRun[Source], item: int) -> tuple[Image, Mask]:
    image, mask = run.read(item)
    if image.ndim != 3 or image.shape[:2] != mask.shape:
        one, other = run.context.names(item)
        raise SourceError(
            f"{one}: needed an image (H, W, C) and a mask (H, W) of one size, "
            f"found {image.shape} and {mask.shape} ({other})"
        )
    return image, mask
