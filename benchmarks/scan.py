"""How does speed depend on workers, batch, sample and shard size, codec, and the end of an epoch?

    python benchmarks/scan.py --lines scan.jsonl
    python benchmarks/scan.py --scans workers codec --rounds 5
    python benchmarks/scan.py --scans boundary --levels fit --peers grain torch

The level read means arrays in the main process, every byte touched, globally shuffled, with files
in the page cache. Every point is measured in its own processes, and the points of a scan take turns
with each other and with ``np.take`` of the same bytes from RAM. Results are written at once as JSON
lines, which benchmarks/plot.py draws:

    python benchmarks/plot.py scan.jsonl --out plots
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from typing import Any

from compare.cell_process import exit_on_sigterm
from compare.command import add_places, parsed, places, say
from compare.registry import peers
from compare.scanning import Scanner
from compare.scans import boundary_work, scans
from machine import cores, load_average, machine

_AROUND = 64  # batches


def main() -> int:
    """Measure, and write the results."""
    options = _options()
    exit_on_sigterm()
    nbytes = options.mib << 20
    chosen = [
        peer
        for peer in peers().values()
        if any(part.lower() in peer.name.lower() for part in options.peers)
        and not (peer.limit or peer.ours)
    ]
    with places(options) as (folder, note):
        note({"about": _about(options)})
        scanner = Scanner(
            folder, images=options.images, masks=options.masks, rounds=options.rounds,
            seconds=options.seconds, cores=cores(), note=note, say=say,
        )  # fmt: skip
        for name, points in scans(nbytes).items():
            if name.split()[0] in options.scans:
                scanner.scan(name, points)
        if "boundary" in options.scans:
            scanner.boundary(boundary_work(nbytes, _AROUND), options.levels, chosen, _AROUND)
    return 0


def _options() -> argparse.Namespace:
    names = [name.split()[0] for name in scans(1 << 20)] + ["boundary"]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--scans",
        nargs="+",
        choices=names,
        default=names,
        metavar="NAME",
        help=f"scans to measure: {', '.join(names)} (default: all)",
    )
    parser.add_argument(
        "--levels",
        nargs="+",
        choices=("read", "fit"),
        default=["read", "fit"],
        metavar="NAME",
        help="levels of the scan boundary: read, fit (default: both)",
    )
    parser.add_argument(
        "--peers",
        nargs="+",
        default=[],
        metavar="PART",
        help="also measure peers at the boundary whose names contain one of these parts",
    )
    parser.add_argument("--mib", type=int, default=512, help="MiB of all samples together (512)")
    parser.add_argument("--rounds", type=int, default=3, help="number of turns per point (3)")
    parser.add_argument("--seconds", type=float, default=1.0, help="least seconds of a turn (1)")
    add_places(parser, lines="scan.jsonl")
    return parsed(parser)


def _about(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "command": shlex.join(["python", *sys.argv]),
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "load_before": load_average(),
        "effort": (
            f"{options.rounds} rounds in which all take turns, each turn in a fresh process, for "
            f"at least {options.seconds:g} s after an epoch that warms up"
        ),
        "pictures": options.images or "made pictures of 1/f² noise",
    }


if __name__ == "__main__":
    sys.exit(main())
