"""How fast are patches cut from volumes and large images?

    PYTHONPATH=PEERS python benchmarks/patches.py --folder DIR --rows raw peers tensorstore lz4
    python benchmarks/patches.py --folder DIR --rows forced fit state oriented --csv patches.csv

Workload V has 8 volumes of 96×340×440 int16, patches of 64×128×128, batches of 2; L has 40 images
of 1800×2400×3 uint8, patches of 512×512, batches of 8; both have masks with small lesions, and a
third of the patches is forced to contain one. The cases are made up (``patch_data.py``), and kept
in the folder (5 GB with the files of all peers). All files are in the page cache.

Every way of cutting patches has its own process. In every round, all ways of a row take turns; the
first round is a warm-up and dropped, and so is the beginning of every turn. Trust the ratios, not
the absolute figures. Peers that are not installed are named and skipped.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import children
import patch_data
from figures import Figure, quantity, ratio, table, write_csv
from machine import load_average, machine
from patch_peers import WAYS as PEERS
from patch_way import Ways
from trial import take_turns
from workload import warm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from patch_data import Data

SLICES = "limit: slices of arrays in RAM"
DECODED = "limit: Blosc-LZ4 of touched tiles decoded from RAM"
MEMMAP = "np.memmap of whole cases"
ONE = "zarrfeed, raw, 1 process"


class Row:
    """The ways of one row of requirements, on one workload.

    Parameters
    ----------
    data
        The workload.
    rounds, seconds
        Number of rounds, at least 2, and the duration of a turn.
    ways
        Names of the ways.
    twice
        Ways that are measured in two processes, too.

    Attributes
    ----------
    rates
        Patches per second in every round, by way; in two processes by ``{way}, 2 processes``.
    """

    def __init__(
        self,
        data: Data,
        rounds: int,
        seconds: float,
        ways: Sequence[str],
        twice: Sequence[str] = (),
    ) -> None:
        with Ways(data, ways, twice) as opened:
            for name, why in opened.skipped.items():
                print(f"{data.work.name}, {name}: not measured: {why}", file=sys.stderr)
            turns = {
                name: partial(opened.rate, name, seconds)
                for name in ways
                if name not in opened.skipped
            }
            turns |= {f"{name}, 2 processes": partial(opened.rate, name, seconds, 2)
                      for name in twice}  # fmt: skip
            self.rates = take_turns(turns, rounds)
        self._name = data.work.name

    def ratio(self, number: int, over: str, under: str, **more: object) -> Figure:
        """Return how many times as fast one way is as another."""
        over_rates, under_rates = self.rates[over], self.rates[under]
        return ratio(number, f"{self._name}: {over} / {under}", over_rates, under_rates, **more)

    def fastest(self, beginning: str) -> str | None:
        """Return the fastest way whose name begins so; None if none was measured."""
        found = [name for name in self.rates if name.startswith(beginning)]
        return max(found, key=lambda name: statistics.median(self.rates[name]), default=None)

    def quantities(self, number: int) -> list[Figure]:
        """Return the patches per second of every way."""
        return [
            quantity(number, f"{self._name}: {name}", "patches/s", rates)
            for name, rates in self.rates.items()
        ]


def raw(data: Data, rounds: int, seconds: float) -> Iterable[Figure]:
    """Row 1: raw tiles, relative to slicing arrays in RAM."""
    settings = [f"zarrfeed, raw, {name}" for name in ("no worker", "1 thread", "2 processes")]
    row = Row(data, rounds, seconds, [SLICES, ONE, *settings, MEMMAP])
    how = "the limit slices the boxes of the same draws, in one thread, into one aligned batch."
    yield row.ratio(1, ONE, SLICES, at_least=0.7, how=how)
    for name in (*settings, MEMMAP):
        yield row.ratio(1, name, SLICES)
    yield from row.quantities(1)


def peers(data: Data, rounds: int, seconds: float) -> Iterable[Figure]:
    """Row 2: raw tiles and one worker, relative to other loaders of medical images."""
    names = [name for name in PEERS if name.startswith(("nnU-Net", "MONAI", "TorchIO"))]
    row = Row(data, rounds, seconds, [ONE, *names])
    how = (
        "the fastest setting of each peer, by its median. nnU-Net reads float32, Blosc2 and LZ4HC; "
        "MONAI and TorchIO hold all cases in RAM, MONAI the places of all pixels, too."
    )
    needed = {"nnU-Net": 5, "MONAI CacheDataset": 30, "TorchIO Queue": 5}
    for peer, least in needed.items():
        if fastest := row.fastest(peer):
            yield row.ratio(2, ONE, fastest, at_least=least, how=how)
    yield from row.quantities(2)


def tensorstore(data: Data, rounds: int, seconds: float) -> Iterable[Figure]:
    """Row 3: raw tiles, relative to readers of Zarr on the same tiles."""
    names = [name for name in PEERS if name.startswith(("tensorstore", "zarr-python"))]
    row = Row(data, rounds, seconds, [ONE, SLICES, *names])
    how = (
        "a Zarr array per case and field, a file per tile, uncompressed; the fastest setting by "
        "its median. With its cache, tensorstore holds all tiles in RAM, and copies in two threads."
    )
    for least, start in ((2, "tensorstore"), (None, "tensorstore, batch"), (None, "zarr-python")):
        if fastest := row.fastest(start):
            yield row.ratio(3, ONE, fastest, at_least=least, how=how if least else "")
    yield from row.quantities(3)


def lz4(data: Data, rounds: int, seconds: float) -> Iterable[Figure]:
    """Row 4: LZ4 tiles, relative to decoding the tiles of the boxes."""
    one, two = (f"zarrfeed, lz4, {name}" for name in ("1 process", "2 processes"))
    row = Row(data, rounds, seconds, [DECODED, one, two], twice=[DECODED])
    how = (
        "the limit decodes each tile that a box of the same draws touches into one buffer, and "
        "copies nothing; two of it run in two processes."
    )
    yield row.ratio(4, two, f"{DECODED}, 2 processes", at_least=0.8, how=how)
    yield row.ratio(4, one, DECODED)
    yield from row.quantities(4)


def forced(data: Data, rounds: int, seconds: float) -> Iterable[Figure]:
    """Row 5: patches that must contain a lesion, relative to free ones."""
    free, every = f"{ONE}, no shares", f"{ONE}, all forced"
    row = Row(data, rounds, seconds, [free, every, ONE])
    how = "time of a patch; every patch is forced. The tile of the mask is read once more."
    yield row.ratio(5, free, every, at_most=1.3, how=how)
    yield row.ratio(5, free, ONE)
    yield from row.quantities(5)


def oriented(data: Data, rounds: int, seconds: float) -> Iterable[Figure]:
    """Row 8: flipped and turned patches, relative to plain ones."""
    flips, turns = f"{ONE}, flips", f"{ONE}, turns"
    row = Row(data, rounds, seconds, [ONE, flips, turns])
    for name in (flips, turns):
        yield row.ratio(8, ONE, name, how="time of a patch; half of the patches are flipped along "
                        "each axis, or three quarters are turned.")  # fmt: skip
    yield from row.quantities(8)


def fit(data: Data, rounds: int, seconds: float) -> Iterable[Figure]:
    """Row 6: ``fit`` of a model that does nothing, relative to one constant batch."""
    ways = ("constant", "1 process", "2 processes")
    turns = {way: partial(_fit_rate, way, data, seconds) for way in ways}
    rates = take_turns(turns, rounds)
    how = "every fit in its own process; an epoch's time is that to the beginning of the next."
    yield ratio(6, f"{data.work.name}: fit of a no-op model, raw, 1 process / one constant batch",
                rates["1 process"], rates["constant"], at_least=0.8, how=how)  # fmt: skip
    for way in ways:
        yield quantity(6, f"{data.work.name}: fit, {way}", "batches/s", rates[way])


def _fit_rate(way: str, data: Data, seconds: float) -> float:
    (found,) = children.run("patch_fit.py", way, str(seconds), data.to_json())
    return float(found["batches_per_second"])


def state(data: Data, rounds: int, seconds: float) -> Iterable[Figure]:  # noqa: ARG001
    """Row 7: memory and time of opening a million tiles with 20 classes."""
    found = [children.run("patch_state.py", data.folder)[0] for _ in range(rounds)]
    how = (
        "10,000 cases of 100 tiles; memory is USS after the first draws, less that before opening."
    )
    yield quantity(7, "sampling state of 10⁶ tiles × 20 classes", "MB",
                   [each["mb"] for each in found[1:]], at_most=100, how=how)  # fmt: skip
    yield quantity(7, "opening them, up to the first draws", "s",
                   [each["seconds"] for each in found[1:]], at_most=1)  # fmt: skip
    yield quantity(7, "opening them, CPU time", "s", [each["cpu"] for each in found[1:]])


_ROWS: dict[str, tuple[Callable[[Data, int, float], Iterable[Figure]], str]] = {
    "raw": (raw, "VL"),
    "peers": (peers, "V"),
    "tensorstore": (tensorstore, "VL"),
    "lz4": (lz4, "V"),
    "forced": (forced, "V"),
    "fit": (fit, "V"),
    "state": (state, "V"),
    "oriented": (oriented, "VL"),
}


def main() -> None:
    """Measure, and print the results."""
    options = _options()
    about = f"{machine()}; load average before: {load_average()}"
    figures: list[Figure] = []
    with ExitStack() as stack:
        folder = Path(options.folder or stack.enter_context(tempfile.TemporaryDirectory()))
        for work in (patch_data.V, patch_data.L):
            rows = [name for name in options.rows if work.name in _ROWS[name][1]]
            if not rows:
                continue
            data = patch_data.make(work, folder / work.name)
            for codec in ("raw", "lz4"):
                patch_data.pack(data, codec)
            warm(data.folder)
            for name in rows:
                began = time.perf_counter()
                figures += _ROWS[name][0](data, options.rounds, options.seconds)
                print(f"{name}, {work.name}: {time.perf_counter() - began:.0f} s; load average "
                      f"{load_average()}", file=sys.stderr)  # fmt: skip
    print(f"{about}; after: {load_average()}\n\n{table(figures)}")
    if options.csv:
        write_csv(figures, options.csv)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", nargs="+", choices=_ROWS, default=list(_ROWS), metavar="NAME",
                        help=f"what to measure: {', '.join(_ROWS)} (default: all)")  # fmt: skip
    parser.add_argument("--folder", type=Path, help="folder of the cases (default: temporary)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, the first dropped (5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="duration of a turn (1)")
    parser.add_argument("--csv", type=Path, help="file to write all figures to")
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error(f"--rounds must be at least 2, not {options.rounds}: the first is dropped")
    return options


if __name__ == "__main__":
    main()
