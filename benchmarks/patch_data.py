"""Cases with small lesions, made up: the workloads V (volumes) and L (large images).

Every case is written as a pair of ``.npy`` files, which is what `np.memmap` reads, and packed raw
and as LZ4. The same numbers are made on every machine.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from zarrfeed_convert import Header, Source, convert

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

CLASSES = ("background", "organ", "lesion")
LESION = 2
_LESIONS = 6  # of each case
_COARSE = 16  # pixels between the numbers of the smooth part of an image


@dataclass(frozen=True, slots=True)
class Work:
    """Cases, and the patches to cut from them.

    Attributes
    ----------
    name
        Name for the report.
    size, channels
        Size of the cases in pixels, and their number of channels.
    cases
        Number of cases.
    dtype
        Data type of the images. Masks are uint8.
    patch, batch_size
        Size of a patch in pixels, and patches per batch.
    tile
        Size of a tile in pixels.
    share
        Share of the patches that contain a lesion.
    """

    name: str
    size: tuple[int, ...]
    channels: int
    cases: int
    dtype: str
    patch: tuple[int, ...]
    batch_size: int
    tile: tuple[int, ...]
    share: float = 1 / 3

    @property
    def keys(self) -> list[str]:
        """Names of the cases."""
        return [f"case_{case:03}" for case in range(self.cases)]

    @property
    def cases_about(self) -> str:
        """The cases in words."""
        return f"{self.cases} × ({_times((*self.size, self.channels))} {self.dtype} + uint8 mask)"

    @property
    def about(self) -> str:
        """The workload in words."""
        return (
            f"{self.cases_about}, patches {_times(self.patch)}, batches of {self.batch_size}, "
            f"tiles {_times(self.tile)}"
        )

    @classmethod
    def of(cls, values: dict[str, Any]) -> Work:
        """Make a workload from the values of its JSON."""
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


V = Work("V", (96, 340, 440), 1, 8, "int16", (64, 128, 128), 2, (64, 64, 64))
L = Work("L", (1800, 2400), 3, 40, "uint8", (512, 512), 8, (256, 256))


@dataclass(frozen=True)
class Data:
    """Where a workload's files are.

    Attributes
    ----------
    work
        The workload.
    folder
        Folder of its files.
    """

    work: Work
    folder: str

    @cached_property
    def paths(self) -> list[tuple[Path, Path]]:
        """Image and mask of each case."""
        folder = Path(self.folder)
        return [(folder / f"{key}.npy", folder / f"{key}_mask.npy") for key in self.work.keys]

    def arrays(self, *, in_memory: bool) -> list[tuple[np.ndarray, np.ndarray]]:
        """Load all cases, or map them into memory."""
        mode = None if in_memory else "r"
        return [tuple(np.load(path, mmap_mode=mode) for path in pair) for pair in self.paths]  # type: ignore[misc]

    def store(self, codec: str, tile: tuple[int, ...] | None = None) -> str:
        """Return the path of a packed split."""
        return f"{self.folder}/{codec}-{_times(tile or self.work.tile)}.zarr/train"

    def to_json(self) -> str:
        """Return the data as JSON for a child process."""
        return json.dumps({"work": asdict(self.work), "folder": self.folder})

    @classmethod
    def from_json(cls, text: str) -> Data:
        """Make data from the return value of :meth:`to_json`."""
        found = json.loads(text)
        return cls(Work.of(found["work"]), found["folder"])


# Makes batches for ever, and yields the number of patches in each.
Way: TypeAlias = "Callable[[Data], Iterator[int]]"


class Cases(Source):
    """The cases of a workload, read from their files."""

    def __init__(self, data: Data) -> None:
        self._data = data

    @property
    def keys(self) -> Sequence[str]:
        """Names of the cases."""
        return self._data.work.keys

    def describe(self) -> dict[str, Any]:
        """Describe the source."""
        return {"kind": "cases of a benchmark", "cases": self._data.work.cases_about}

    def probe(self, sample: int) -> Header:  # noqa: ARG002 - all are alike
        """Return the header of a case."""
        work = self._data.work
        return Header.of_pair((*work.size, work.channels), work.dtype, work.size)

    def read(self, sample: int) -> tuple[np.ndarray, np.ndarray]:
        """Map a case."""
        image, mask = (np.load(path, mmap_mode="r") for path in self._data.paths[sample])
        return image, mask


def make(work: Work, folder: Path) -> Data:
    """Write the cases of a workload, unless the folder already has them."""
    folder.mkdir(parents=True, exist_ok=True)
    data = Data(work, str(folder.resolve()))
    for number, paths in enumerate(data.paths):
        if paths[1].exists():
            continue
        for path, array in zip(paths, case(work, number), strict=True):
            aside = path.with_suffix(".aside.npy")
            np.save(aside, array)
            aside.replace(path)
    return data


def pack(data: Data, codec: str, tile: tuple[int, ...] | None = None) -> str:
    """Pack the cases, unless they are packed already, and return the path of the split."""
    store = Path(data.store(codec, tile))
    convert(Cases(data), store.parent, split=store.name, classes=list(CLASSES),
            tile=tile or data.work.tile, codec=codec)  # fmt: skip
    return str(store)


def case(work: Work, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Make a case: an organ with a few small lesions in front of an even background.

    Returns
    -------
    image
        (*size, channels) array. Grey values of the organ are smooth, with noise.
    mask
        (*size) uint8.
    """
    rng = np.random.default_rng((7, number))
    mask = np.zeros(work.size, np.uint8)
    _ball(mask, np.array(work.size) / 2, np.array(work.size) * 0.4, 1)
    for _ in range(_LESIONS):
        middle = np.array(work.size) * rng.uniform(0.35, 0.65, len(work.size))
        _ball(mask, middle, rng.uniform(3, 9, len(work.size)), LESION)
    image = np.empty((*work.size, work.channels), work.dtype)
    levels, noise = ((60, 25), 12) if work.dtype == "int16" else ((120, 40), 6)
    for channel in range(work.channels):
        grey = _smooth(work.size, rng) * levels[1] + levels[0] + 40 * (mask == LESION)
        grey = np.where(mask > 0, grey, 20) + noise * rng.standard_normal(work.size, np.float32)
        image[..., channel] = np.clip(grey, 0, 255)
    return image, mask


def _ball(mask: np.ndarray, middle: np.ndarray, radius: np.ndarray, value: int) -> None:
    """Set an ellipsoid to a value."""
    first = np.maximum(0, np.floor(middle - radius)).astype(int)
    last = np.minimum(mask.shape, np.ceil(middle + radius) + 1).astype(int)
    axes = np.ogrid[tuple(map(slice, first, last))]
    apart = sum(((a - m) / r) ** 2 for a, m, r in zip(axes, middle, radius, strict=True))
    mask[tuple(map(slice, first, last))][apart <= 1] = value


def _smooth(size: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Make smooth values with mean 0: a coarse grid of random numbers, interpolated."""
    values = rng.standard_normal([extent // _COARSE + 2 for extent in size], np.float32)
    for axis, extent in enumerate(size):
        at = np.arange(extent, dtype=np.float32) / _COARSE
        low = at.astype(int)
        part = (at - low).reshape([-1 if a == axis else 1 for a in range(len(size))])
        values = np.take(values, low, axis) * (1 - part) + np.take(values, low + 1, axis) * part
    return values


def _times(size: Sequence[int]) -> str:
    return "×".join(map(str, size))
