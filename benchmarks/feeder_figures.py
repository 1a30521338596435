"""Is the feeder as fast, as quick to start and as small as it has to be?

    python benchmarks/feeder_figures.py --images DIR --masks DIR [--cache DIR] [--only raw lz4 …]

The workload is 4096 × (256×256×3 + 256×256) uint8 in batches of 32, full global shuffle, page cache
warm: random crops of pictures and masks of yours, or of drawn cells. What is compared is measured
in one run, taking turns; the first round warms up and is dropped. The verdict is on the median of
the ratios within each round. Trust the ratios, not the absolute figures.

Every row runs in a process of its own. Prints Markdown, or with ``--json`` a line about the machine
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

# Row → the module and the function that measure it; modules are imported in the row's own process,
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
    """Pack, measure row by row, print; 1 where a row could not be measured."""
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
    parser.add_argument("--images", help="folder of pictures; drawn cells without it")
    parser.add_argument("--masks", help="folder of their masks, of the same names")
    parser.add_argument("--cache", type=Path, help="folder that keeps the packed stores")
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), metavar="NAME",
                        help=f"rows to measure: {', '.join(ROWS)}")  # fmt: skip
    parser.add_argument("--samples", type=int, default=4096)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5, help="the first is dropped; at least 2")
    parser.add_argument("--json", action="store_true")
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
        folder.resolve(),  # rows run in processes of their own
        samples=options.samples,
        size=options.size,
        batch_size=options.batch_size,
        images=options.images,
        masks=options.masks,
    )
    warm(workload.raw, workload.lz4, workload.small)
    return Trial(workload, options.rounds)


def _measure(trial: Trial, names: list[str]) -> tuple[list[Figure], list[str]]:
    """Measure rows, each in a process of its own; also the names of those that failed."""
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
    """Be the process of one row."""
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
