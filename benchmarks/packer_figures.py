"""Does the packer meet its requirements on speed and memory?

    python benchmarks/packer_figures.py --images CAMVID/train --masks CAMVID/trainannot [--only …]

Everything that is compared takes turns in one run; the first round is a warm-up and dropped. The
verdict is on the median of the ratios within each round. Trust the ratios, not the absolute
figures.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from decoders import decoders
from figures import Figure, table
from machine import load_average, machine
from many_samples import many_samples
from packer_memory import packer_memory
from packing_speed import packing
from repacking import repacking
from workload import pack, warm

ROWS = ("packing", "decoders", "memory", "repack", "many")


def main() -> None:
    """Measure row by row, and print."""
    options = _options()
    load = load_average()
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        figures = [
            figure for row in options.only for figure in _measure(row, options, Path(scratch))
        ]
    if options.json:
        for line in ({"machine": machine(), "load_before": load}, *(f.to_json() for f in figures)):
            print(json.dumps(line))
    else:
        print(f"{machine()}; load average before: {load}\n")
        print(table(figures))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--images", required=True, help="folder of PNG pictures")
    parser.add_argument("--masks", required=True, help="folder of their masks")
    parser.add_argument("--classes", default="12", help="see `zarrfeed convert --classes` (12)")
    parser.add_argument("--scratch", help="folder for packed stores of 4 GB, which are removed")
    parser.add_argument("--only", nargs="+", choices=ROWS, default=ROWS, metavar="NAME",
                        help=f"rows to measure: {', '.join(ROWS)} (default: all)")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=5,
                        help="number of rounds, at least 2; the first is dropped (5)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON lines, not Markdown")
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error(f"--rounds must be at least 2, not {options.rounds}: the first is dropped")
    return options


def _measure(row: str, options: argparse.Namespace, scratch: Path) -> list[Figure]:
    data = options.images, options.masks, options.classes, scratch
    print(f"{row}: load average {load_average()}", file=sys.stderr)
    if row == "packing":
        return packing(*data, options.rounds)
    if row == "decoders":
        return decoders(options.images, scratch, options.rounds)
    if row == "memory":
        return packer_memory(*data)
    if row == "repack":
        work = pack(scratch, samples=4096, size=256, batch_size=32, images=options.images,
                    masks=options.masks)  # fmt: skip
        warm(work.raw)
        return repacking(work.raw, scratch, options.rounds)
    return many_samples(scratch, min(3, options.rounds), workers=2)


if __name__ == "__main__":
    main()
