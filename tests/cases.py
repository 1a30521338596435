"""Sources of cases, and how a stored case is put together, with the arithmetic written out."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from case_stores import random_case
from zarrfeed.errors import SourceError
from zarrfeed_convert import Header, Source
from zarrfeed_convert.source import IMAGES_ONLY, PAIR, Field

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class CaseArrays(Source):
    """Cases of any size in memory: name → arrays by field, read in windows or as a whole."""

    cases: dict[str, dict[str, Any]]
    in_windows: bool = True
    affines: dict[str, Any] = field(default_factory=dict)
    bad: frozenset[str] = frozenset()
    roles: tuple[Field, ...] = ()
    systems: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        first = next(iter(self.cases.values()))
        self.fields = self.roles or (PAIR if "mask" in first else IMAGES_ONLY)

    @property
    def keys(self):
        return [*self.cases]

    def describe(self):
        return {"kind": "cases in memory"}

    def probe(self, sample):
        key = self.keys[sample]
        affine = self.affines.get(key)
        arrays = {
            name: (values.shape, None if name == "mask" else str(values.dtype))
            for name, values in self.cases[key].items()
        }
        affine = None if affine is None else tuple(map(tuple, affine))
        return Header(arrays, affine=affine, crs=self.systems.get(key, ""))

    def read(self, sample):
        if self.keys[sample] in self.bad:
            raise SourceError(f"{self.keys[sample]}: is damaged")
        return tuple(self.cases[self.keys[sample]].values())

    def reads_windows(self, sample):
        return self.in_windows


def pair(size, seed=0, *, channels=3, dtype="uint8", classes=3):
    """Return an image and a mask of a size, of random values."""
    return random_case(size, dtype, channels, seed, classes)


def stored_arrays(split: Path):
    """Return all arrays of a split, read by zarr-python."""
    return {name: array[:] for name, array in zarr.open_group(str(split), mode="r").arrays()}


def put_together(split, key: str, name: str = "image"):
    """Return a stored case of a split, or of its `stored_arrays`."""
    size, tiles = _stored(split, key, name)
    first = tiles[0][1]
    whole = np.zeros((*size, *first.shape[len(size) :]), first.dtype)
    for window, tile in tiles:
        whole[window] = tile[_own(window)]
    return whole


def padding(split: Path, key: str, name: str):
    """Return the values of a stored case's tiles beyond its borders, read by zarr-python."""
    beyond = []
    for window, tile in _stored(split, key, name)[1]:
        inside = np.zeros(tile.shape[: len(window)], np.bool_)
        inside[_own(window)] = True
        beyond.append(tile[~inside])
    return np.concatenate(beyond)


def _stored(split, key: str, name: str):
    """Return the size of a stored case, and the window and the values of each of its tiles."""
    found = split if isinstance(split, dict) else zarr.open_group(str(split), mode="r")
    keys = [bytes(row).rstrip(b"\0").decode() for row in found["case_key"][:]]
    case = keys.index(key)
    size, row = found["case_size"][case].tolist(), int(found["case_first_tile"][case])
    along = [
        [slice(at, min(at + step, extent)) for at in range(0, extent, step)]
        for extent, step in zip(size, found[name].shape[1:], strict=False)
    ]
    windows = list(itertools.product(*along))
    tiles = found[name][row : row + len(windows)]
    return size, list(zip(windows, tiles, strict=True))


def _own(window):
    """Return where the pixels of a window are in its tile, the rest of which is padding."""
    return tuple(slice(0, along.stop - along.start) for along in window)
