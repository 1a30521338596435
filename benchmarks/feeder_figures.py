"""Does the feeder meet its requirements on speed, start-up time and memory?

    python benchmarks/feeder_figures.py --images DIR --masks DIR [--cache DIR] [--only raw lz4 …]

The workload is 4096 × (256×256×3 + 256×256) uint8 in batches of 32, with a global shuffle and a
warm page cache: random crops of your pictures and masks, or of drawn cells. Everything that is
compared takes turns in one run; the first round is a warm-up and dropped. The verdict is on the
median of the ratios within each round. Trust the ratios, not the absolute figures.

Every row runs in its own process. Prints Markdown, or with ``--json`` one line about the machine
and one per figure.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import children
from figures import Figure, table
from machine import load_average, machine
from trial import Trial
from workload import pack, warm

# The module and the function that measure each row. Modules are imported in the row's own process,
# because most of them import TensorFlow.
ROWS = {
    "raw": ("reading", "raw_store"),
    "lz4": ("reading", "lz4_store"),
    "fit": ("fitting", "against_constant"),
    "fit-in-ram": ("fitting", "against_memory"),
    "busy-transform": ("reading", "busy_transform"),
    "epoch-boundary": ("reading", "epoch_boundary"),
    "parent-cpu": ("reading", "parent_cpu"),
    "first-batch": ("first_batch", "first_batch"),
    "worker-memory": ("worker_memory", "worker_memory"),
    "growth": ("worker_memory", "growth"),
}


def main() -> int:
    """Pack, measure row by row, print; return 1 if a row could not be measured."""
    options = _options()
    if options.child:
        _measure_here(*options.child)
        return 0
    load = load_average()
    with ExitStack() as stack:
        folder = options.cache or stack.enter_context(tempfile.TemporaryDirectory())
        trial = _trial(Path(folder), options)
        figures, failed = _measure(trial, options.only)
    if options.json:
        about = {"machine": machine(), "load_before": load, "trial": json.loads(trial.to_json())}
        for line in (about, *(figure.to_json() for figure in figures)):
            print(json.dumps(line))
    else:
        print(f"{_heading(trial)}\n\n{machine()}; load average before: {load}\n")
        print(table(figures))
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--images", help="folder of pictures (default: drawn cells)")
    parser.add_argument("--masks", help="folder of their masks with the same names")
    parser.add_argument("--cache", type=Path, help="folder in which to keep the packed stores")
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), metavar="NAME",
                        help=f"rows to measure: {', '.join(ROWS)} (default: all)")  # fmt: skip
    parser.add_argument("--samples", type=int, default=4096, help="number of samples (4096)")
    parser.add_argument("--size", type=int, default=256, help="height and width in pixels (256)")
    parser.add_argument("--batch-size", type=int, default=32, help="samples per batch (32)")
    parser.add_argument("--rounds", type=int, default=5,
                        help="number of rounds, at least 2; the first is dropped (5)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON lines, not Markdown")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)  # a row, in its own process
    options = parser.parse_args()
    if (options.images is None) != (options.masks is None):
        parser.error("--images and --masks belong together")
    if options.rounds < 2:
        parser.error(f"--rounds must be at least 2, not {options.rounds}: the first is dropped")
    if options.samples < 4 * options.batch_size:
        parser.error(f"--samples must make at least 4 batches of {options.batch_size}")
    return options


def _trial(folder: Path, options: argparse.Namespace) -> Trial:
    folder.mkdir(parents=True, exist_ok=True)
    workload = pack(
        folder.resolve(),  # rows run in their own processes
        samples=options.samples,
        size=options.size,
        batch_size=options.batch_size,
        images=options.images,
        masks=options.masks,
    )
    warm(workload.raw, workload.lz4, workload.small)
    return Trial(workload, options.rounds)


def _measure(trial: Trial, names: list[str]) -> tuple[list[Figure], list[str]]:
    """Measure every row in its own process; return the figures and the names of failed rows."""
    figures: list[Figure] = []
    failed: list[str] = []
    for name in names:
        began = time.perf_counter()
        try:
            found = children.run("feeder_figures.py", "--child", name, trial.to_json())
        except RuntimeError as error:
            failed.append(name)
            print(f"{name}: not measured: {error}", file=sys.stderr)
            continue
        figures += [Figure.from_json(line) for line in found]
        seconds = time.perf_counter() - began
        print(f"{name}: {seconds:.0f} s; load average {load_average()}", file=sys.stderr)
    return figures, failed


def _measure_here(name: str, trial: str) -> None:
    """Measure one row in this process."""
    module, function = ROWS[name]
    for figure in getattr(importlib.import_module(module), function)(Trial.from_json(trial)):
        print(json.dumps(figure.to_json()))


def _heading(trial: Trial) -> str:
    work = trial.workload
    return (
        f"{work.samples} samples of {work.size}×{work.size}×3 + {work.size}×{work.size} uint8, "
        f"batches of {work.batch_size}, full shuffle, page cache warm: {work.origin}; "
        f"{trial.rounds} rounds, the first dropped"
    )


if __name__ == "__main__":
    sys.exit(main())
