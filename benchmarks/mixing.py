"""What does it cost to mix two local stores, compared with one store of the same samples?

    python benchmarks/mixing.py [--rounds 15] [--seconds 0.5] [--json]

The samples are drawn: 256×256×3 and 256×256 uint8 in batches of 32, with a global shuffle and a
warm page cache. "One store" holds the samples of both others. All ways take turns in one run; the
first round is a warm-up and dropped. The verdict is on the median of the ratios within each round.
Trust the ratios, not the absolute figures.

CPU seconds are those of this process, which with "no worker" and "1 thread" does all the work. They
are measured because other programs of a busy machine affect them less. Without a worker, a turn
counts as its median batch, for the same reason.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from figures import Figure, ratio, table
from machine import load_average, machine
from trial import SETTINGS, take_turns
from workload import warm
from zarrfeed import FrontEnd, Mix
from zarrfeed_convert import convert

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SIZE, _SAMPLES, _BATCH = 256, 256, 32
_CLASSES = ["background", "cell", "border"]
_OTHERS = ["border", "background", "cell"]
_MEASURED = {name: SETTINGS[name] for name in ("no worker", "1 thread", "2 processes")}
_HOW = "two stores of 256 samples, weights 1 and 1, against one store of the 512"


class Cost(NamedTuple):
    """Seconds per batch: on the clock, and of the processor."""

    clock: float
    cpu: float


def main() -> None:
    """Draw, pack, measure, print."""
    options = _options()
    load = load_average()
    with tempfile.TemporaryDirectory(dir=options.cache) as folder:
        figures = _measure(Path(folder), options)
    if options.json:
        about = {"machine": machine(), "load_before": load, "rounds": options.rounds}
        for line in (about, *(figure.to_json() for figure in figures)):
            print(json.dumps(line))
        return
    print(f"{machine()}; load average before: {load}\n")
    print(table(figures))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=15, help="turns of each way, and a warm-up")
    parser.add_argument("--seconds", type=float, default=0.5, help="least duration of a turn")
    parser.add_argument("--only", nargs="*", choices=_MEASURED, help="settings (default: all)")
    parser.add_argument("--cache", help="folder for the stores (default: the system's)")
    parser.add_argument("--json", action="store_true", help="print JSON lines")
    return parser.parse_args()


def _measure(folder: Path, options: argparse.Namespace) -> list[Figure]:
    figures = []
    for codec in ("raw", "lz4"):
        stores = _pack(folder, codec)
        one = stores["one"]
        mixes = {
            "Mix": Mix({stores["first"]: 1, stores["second"]: 1}),
            "Mix, other ids": Mix({stores["first"]: 1, stores["other ids"]: 1}),
        }
        for setting, how in _MEASURED.items():
            if options.only and setting not in options.only:
                continue
            with_one = FrontEnd(one, _BATCH, drop_remainder=True, **how)
            mixed = {n: FrontEnd(m, _BATCH, drop_remainder=True, **how) for n, m in mixes.items()}
            ways = {
                name: partial(
                    _turn, _batches(sequence), options.seconds, median=setting == "no worker"
                )
                for name, sequence in {"one": with_one, **mixed}.items()
            }
            found = take_turns(ways, options.rounds + 1)
            for name in mixes:
                what = f"cost of {name} / one store, {codec}, {setting}"
                figures += _figures(what, found[name], found["one"], setting, name)
            for sequence in (with_one, *mixed.values()):
                sequence.close()
    return figures


def _figures(
    what: str, mixed: Sequence[Cost], one: Sequence[Cost], setting: str, name: str
) -> Iterator[Figure]:
    at_most = 1.05 if name == "Mix" else None
    how = _HOW if name == "Mix" else "half of the masks get other ids when they are read"
    yield ratio(1, what, [c.clock for c in mixed], [c.clock for c in one], at_most=at_most, how=how)
    if setting != "2 processes":
        yield ratio(1, f"{what}, CPU", [c.cpu for c in mixed], [c.cpu for c in one],
                    at_most=at_most, how=how)  # fmt: skip


def _batches(sequence: FrontEnd) -> Iterator[int]:
    while True:
        for _image, _mask in sequence:
            yield _BATCH


def _turn(batches: Iterator[int], seconds: float, *, median: bool) -> Cost:
    next(batches)  # an earlier turn has read it ahead
    marks = [(time.perf_counter(), time.process_time())]
    while marks[-1][0] < marks[0][0] + seconds:
        next(batches)
        marks.append((time.perf_counter(), time.process_time()))
    if not median:
        return Cost(*((np.array(marks[-1]) - marks[0]) / (len(marks) - 1)).tolist())
    return Cost(*np.median(np.diff(np.array(marks), axis=0), axis=0).tolist())


def _pack(folder: Path, codec: str) -> dict[str, Path]:
    rng = np.random.default_rng(0)
    samples = [_sample(rng) for _ in range(2 * _SAMPLES)]
    half = samples[_SAMPLES:]
    found = {}
    for name, chosen, classes in (
        ("one", samples, _CLASSES),
        ("first", samples[:_SAMPLES], _CLASSES),
        ("second", half, _CLASSES),
        ("other ids", half, _OTHERS),
    ):
        path = folder / f"{codec}-{name.replace(' ', '-')}.zarr"
        convert(chosen, path, split="train", classes=classes, codec=codec, workers=1, progress=None)
        found[name] = path / "train"
        warm(found[name])
    return found


def _sample(rng: np.random.Generator) -> tuple[Any, Any]:
    """Return blocks of one colour with a little noise, and a mask of such blocks."""
    coarse = rng.integers(0, 250, (_SIZE // 16, _SIZE // 16, 3), np.uint8)
    image = coarse.repeat(16, axis=0).repeat(16, axis=1)
    image += rng.integers(0, 3, image.shape, np.uint8)
    mask = rng.integers(0, 3, (_SIZE // 16, _SIZE // 16), np.uint8)
    return image, mask.repeat(16, axis=0).repeat(16, axis=1)


if __name__ == "__main__":
    main()
