"""How fast is a box of a case read, and how fast are cases found?

    python benchmarks/case_boxes.py
    python benchmarks/case_boxes.py --boxes 300 --scratch /mnt/disk

Boxes at random places of random cases are read by ``open_case(...)[box]`` and, in turn, copied out
of an ``np.memmap`` of the whole case. All files are in the page cache. A run needs 700 MB of disk
and half a minute.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from figures import Figure, quantity, ratio, table
from machine import load_average, machine
from zarrfeed import open_case, open_cases
from zarrfeed_convert import Header, Source, convert

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_CASES = 100_000


@dataclass(frozen=True, slots=True)
class Work:
    """Cases and boxes.

    Attributes
    ----------
    name
        Name for the report.
    size
        Size of the cases, with channels.
    cases
        Number of cases.
    dtype
        Data type of the images.
    box
        Size of a box in pixels; every channel is read.
    tile
        Size of a tile in pixels, or "auto".
    """

    name: str
    size: tuple[int, ...]
    cases: int
    dtype: str
    box: tuple[int, ...]
    tile: tuple[int, ...] | str


_VOLUMES = ((96, 340, 440, 1), 8, "int16", (64, 128, 128))
_IMAGES = ((1800, 2400, 3), 40, "uint8", (512, 512))
WORKS = (
    Work("volumes, tiles 64×64×64", *_VOLUMES, tile=(64, 64, 64)),
    Work("volumes, tiles auto", *_VOLUMES, tile="auto"),
    Work("images, tiles 256×256", *_IMAGES, tile=(256, 256)),
    Work("images, tiles auto", *_IMAGES, tile="auto"),
)


class RandomCases(Source):
    """Cases of random pixels, each read from its own memory-mapped file."""

    def __init__(self, work: Work, folder: Path) -> None:
        self.fields = Source.fields[:1]
        self._work = work
        self._paths = [folder / f"{case}.npy" for case in range(work.cases)]
        rng = np.random.default_rng(0)
        for path in self._paths:
            values = rng.integers(0, 256, work.size, np.uint8)
            np.save(path, values.astype(work.dtype))

    @property
    def keys(self) -> Sequence[str]:
        """Names of the cases."""
        return [path.stem for path in self._paths]

    def describe(self) -> dict[str, Any]:
        """Describe the source."""
        return {"kind": "random cases"}

    def probe(self, sample: int) -> Header:  # noqa: ARG002 - all are alike
        """Return the header of a case."""
        return Header.of_pair(self._work.size, self._work.dtype, None)

    def read(self, sample: int) -> tuple[np.ndarray[Any, Any], ...]:
        """Map a case."""
        return (np.load(self._paths[sample], mmap_mode="r"),)


def box_figures(work: Work, folder: Path, boxes: int, row: int) -> Iterator[Figure]:
    """Time the same boxes of tiles and of memory-mapped cases."""
    folder.mkdir()
    source = RandomCases(work, folder)
    convert(source, folder / "o.zarr", split="s", tile=work.tile, codec="raw", workers=1)
    cases = open_cases(folder / "o.zarr/s")
    whole = {key: source.read(number)[0] for number, key in enumerate(source.keys)}
    for key in source.keys:
        assert np.array_equal(cases[key], whole[key])
    rng = np.random.default_rng(1)
    ours, theirs = [], []
    for _ in range(boxes):
        key = str(rng.choice(source.keys))
        case = open_case(cases.split, key) if not ours else cases[key]
        origin = [
            int(rng.integers(0, n - b + 1)) for n, b in zip(work.size, work.box, strict=False)
        ]
        box = tuple(slice(at, at + n) for at, n in zip(origin, work.box, strict=True))
        began = time.perf_counter()
        found = case[box]
        between = time.perf_counter()
        right = np.array(whole[key][box])
        ended = time.perf_counter()
        ours.append(between - began)
        theirs.append(ended - between)
        assert np.array_equal(found, right)
        del found, right
    warm = slice(boxes // 10, None)  # the first boxes map the files
    said = f"boxes {'×'.join(map(str, work.box))} of {work.cases} cases {work.size} {work.dtype}"
    tile = "×".join(map(str, cases.tile_size))
    yield ratio(row, f"{work.name}: open_case(…)[box] / np.memmap", theirs[warm], ours[warm],
                at_least=0.5, how=f"{said}, tiles {tile}; speed, {boxes - boxes // 10} boxes.",
               )  # fmt: skip
    for name, seconds in (("open_case(…)[box]", ours), ("np.memmap", theirs)):
        yield quantity(row, f"{work.name}: {name}", "µs", [1e6 * s for s in seconds[warm]])


def finding_figures(folder: Path, row: int) -> Iterator[Figure]:
    """Time opening a split of many cases, and finding cases in it."""
    path = folder / "many.zarr"
    keys = _write_many(path)
    rng = np.random.default_rng(0)
    opening, alone, first, later = [], [], [], []
    for _ in range(21):
        began, busy = time.perf_counter(), time.process_time()
        cases = open_cases(path)
        opened = time.perf_counter()
        alone.append(1e3 * (time.process_time() - busy))
        assert cases[keys[17]].key == keys[17]
        ended = time.perf_counter()
        opening.append(1e3 * (opened - began))
        first.append(1e3 * (ended - opened))
        for number in rng.integers(0, len(keys), 100):
            began = time.perf_counter()
            cases[keys[number]]
            later.append(1e3 * (time.perf_counter() - began))
    how = f"{len(keys):,} cases of 1 to 9 tiles, {cases.split.tiles:,} in all."
    yield quantity(row, "opening a split of many cases", "ms", opening[1:], at_most=50, how=how)
    yield quantity(row, "finding a case by key", "ms", later[100:], at_most=1, how=how)
    yield quantity(row, "opening a split of many cases, CPU time", "ms", alone[1:])
    yield quantity(row, "finding the first case by key", "ms", first[1:])


def _write_many(path: Path) -> list[str]:
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 13, (_CASES, 2))  # 1 to 3 tiles along each axis
    tiles = (-(-sizes // 4)).prod(axis=1)
    keys = [f"folder/image_{case:06}.png" for case in range(_CASES)]
    stored = np.array([key.encode() for key in keys]).view(np.uint8).reshape(_CASES, -1)
    group = zarr.open_group(str(path), mode="w")
    image = np.zeros((tiles.sum(), 4, 4, 1), np.uint8)
    arrays = {
        "image": image,
        "case_key": stored,
        "case_size": sizes,
        "case_first_tile": np.cumsum(tiles) - tiles,
        "case_spacing": np.ones((_CASES, 2)),
    }
    for name, values in arrays.items():
        group.create_array(name, data=values, chunks=(min(1 << 16, len(values)), *values.shape[1:]))
    return keys


def main() -> None:
    """Measure, and print the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--boxes", type=int, default=500, help="boxes of each kind (default: 500)")
    parser.add_argument("--scratch", type=Path, help="folder for the data (default: temporary)")
    options = parser.parse_args()
    about = f"{machine()}; load average before: {load_average()}"
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        figures = list(
            itertools.chain(
                *(
                    box_figures(work, Path(scratch) / str(row), options.boxes, row)
                    for row, work in enumerate(WORKS, 1)
                ),
                finding_figures(Path(scratch), len(WORKS) + 1),
            )
        )
    print(f"{about}\n\n{table(figures)}")


if __name__ == "__main__":
    main()
