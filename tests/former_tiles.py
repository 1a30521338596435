"""Splits of overlapping tiles, as earlier versions packed them by ``--fit tile --overlap``.

Nothing writes them any more, and yet they open, verify, repack and stitch. Their tiles are cut
here, packed as whole samples, and described by zarr-python as those versions did.
"""

from __future__ import annotations

import itertools
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from zarrfeed_convert import Header, Source, convert

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray


def origins(size: Sequence[int], tile: Sequence[int], overlap: int) -> list[tuple[int, ...]]:
    """Return where tiles begin: every tile less its overlap, and the last ones at the border."""
    ends = [max(0, old - new) for old, new in zip(size, tile, strict=True)]
    along = [[*range(0, end, new - overlap), end] for end, new in zip(ends, tile, strict=True)]
    return [*itertools.product(*along)]


class CutSource(Source):
    """The tiles of another source's samples, padded at the far borders."""

    def __init__(self, source: Source, tile: tuple[int, ...], overlap: int, fills: Any) -> None:
        self.source, self.tile, self.fills = source, tile, fills
        self.fields, self.classes, self.ignore = source.fields, source.classes, source.ignore
        self.sizes = [source.probe(item).size for item in range(len(source.keys))]
        self.places = [
            (item, origin)
            for item, size in enumerate(self.sizes)
            for origin in origins(size, tile, overlap)
        ]
        self._last: tuple[int, tuple[NDArray[Any], ...]] | None = None

    @property
    def keys(self) -> list[str]:
        names = self.source.keys
        return [f"{names[item]}#{','.join(map(str, origin))}" for item, origin in self.places]

    def describe(self) -> Any:
        return self.source.describe()

    def names(self, sample: int) -> tuple[str, ...]:
        return self.source.names(self.places[sample][0])

    def probe(self, sample: int) -> Header:
        header = self.source.probe(self.places[sample][0])
        axes = len(self.tile)
        return Header(
            {
                name: ((*self.tile, *array.shape[axes:]), array.dtype)
                for name, array in header.arrays.items()
            },
            mask_colors=header.mask_colors,
        )

    def read(self, sample: int) -> tuple[NDArray[Any], ...]:
        item, origin = self.places[sample]
        if self._last is None or self._last[0] != item:
            self._last = item, self.source.read(item)
        box = tuple(slice(at, at + new) for at, new in zip(origin, self.tile, strict=True))
        return tuple(
            self._padded(values[box], self.fills.get(field.role, 0))
            for field, values in zip(self.fields, self._last[1], strict=True)
        )

    def _padded(self, values: NDArray[Any], fill: float) -> NDArray[Any]:
        missing = [(0, new - old) for old, new in zip(values.shape, self.tile, strict=False)] + [
            (0, 0)
        ] * (values.ndim - len(self.tile))
        return np.pad(values, missing, constant_values=fill)


def pack_former_tiles(
    source: Source,
    out: Path | str,
    *,
    split: str,
    size: tuple[int, ...],
    overlap: int = 0,
    pad_value: float | None = None,
    ignore: int | None = None,
    **options: Any,
) -> None:
    """Write a split of tiles of the samples of a source; `options` are those of `convert`."""
    cut = CutSource(source, size, overlap, {"image": pad_value or 0, "mask": ignore or 0})
    convert(cut, out, split=split, ignore=ignore, **{"workers": 1, **options})
    folder = f"{out}/{split}"
    group = zarr.open_group(folder)
    stored = [bytes(row).rstrip(b"\0").decode() for row in group["key"][:]]
    place_of = dict(zip(cut.keys, cut.places, strict=True))
    items = sorted({item for item, _ in cut.places})
    names = np.array([source.keys[item].encode() for item in items])
    described = {
        "tile": np.array([(place_of[key][0], *place_of[key][1]) for key in stored], np.int64),
        "tile_source": names.view(np.uint8).reshape(len(items), -1),
        "tile_size": np.array([cut.sizes[item] for item in items], np.int64),
    }
    for name, values in described.items():
        always = {"write_empty_chunks": True}
        group.create_array(name, data=values, chunks=values.shape, config=always)
    path = f"{folder}/zarr.json"
    with open(path, encoding="utf-8") as file:
        metadata = json.load(file)
    packed = metadata["attributes"]["zarrfeed"]["packed"]
    packed["found"] = len(source.keys)
    packed["settings"] |= {"size": [*size], "fit": "tile", "overlap": overlap}
    if pad_value is not None:
        packed["settings"]["pad_value"] = float(pad_value)
    places = described["tile"]
    own = np.minimum(size, described["tile_size"][places[:, 0]] - places[:, 1:])
    inside, pixels = int(own.prod(axis=1).sum()), sum(map(math.prod, cut.sizes))
    padded = len(places) * math.prod(size) - inside
    packed["coverage"] = {"lost": 0, "repeated": inside - pixels, "padded": padded}
    with open(path, "w", encoding="utf-8") as file:
        json.dump(metadata, file)
