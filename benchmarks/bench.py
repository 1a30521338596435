"""How fast are zarrfeed, its peers and the limits, on the same samples, in one run?

    make bench              everything: hours
    make bench QUICK=1      one smaller workload, one round, the nearest peers: under five minutes
    python benchmarks/bench.py --workloads tiles --levels fit --peers zarrfeed 'np.memmap'

Every cell of a table (a peer, a workload, a level) runs in its own processes, and peers take turns.
Results are written at once as JSON lines, from which tables, CSV and plots are made, at the end or
by `--report`.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from compare.cell_process import exit_on_sigterm
from compare.command import add_places, parsed, places, say
from compare.effort import FULL, QUICK, Effort, Table
from compare.registry import peers
from compare.report import report
from compare.rows import read_rows, write_csv
from compare.run import Bench
from compare.samples import origin_of
from compare.workloads import WORKLOADS, Workload
from machine import cores, load_average, machine

_QUICK_SAMPLES = {"tiles": 1024, "patches": 16_384, "thumbs": 65_536, "volumes": 8}
_LEVELS = ("read", "fit", "train")


def main() -> int:
    """Measure, write results and print a report; return 1 if nothing could be measured."""
    options = _options()
    exit_on_sigterm()
    if options.report:
        about, rows = read_rows(options.report)
    else:
        about, rows = _measure(options)
    text = report(about, rows)
    if options.csv:
        with options.csv.open("w", encoding="utf-8") as file:
            write_csv(rows, file)
    print(text)
    return 0 if any(row.batches_per_second for row in rows) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="fewer samples, one round, only the most promising setting of each peer, and in fit "
        "only peers that read at a quarter of zarrfeed's speed or more; only the workload tiles "
        "unless --workloads is given",
    )
    parser.add_argument(
        "--workloads",
        nargs="+",
        choices=WORKLOADS,
        metavar="NAME",
        help=f"workloads to measure: {', '.join(WORKLOADS)} (default: all)",
    )
    parser.add_argument(
        "--levels",
        nargs="+",
        choices=_LEVELS,
        default=["read", "fit"],
        metavar="NAME",
        help=f"levels to measure: {', '.join(_LEVELS)} (default: read and fit)",
    )
    parser.add_argument(
        "--cold", action="store_true", help="also read with the files dropped from the page cache"
    )
    parser.add_argument(
        "--peers",
        nargs="+",
        metavar="PART",
        help="only measure peers whose names contain one of these parts",
    )
    add_places(parser, lines="bench.jsonl")
    _add_effort(parser)
    _add_output(parser)
    options = parsed(parser)
    if options.list:
        for peer in peers().values():
            print(peer.name + (f" (not installed: {', '.join(peer.missing)})" * bool(peer.missing)))
        sys.exit(0)
    return options


def _add_effort(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rounds", type=int, help="number of turns of every peer, each in a new process"
    )
    parser.add_argument(
        "--settings",
        type=int,
        metavar="N",
        help="only try the N most promising settings of every peer (default: all)",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="time limit of one process; a peer that takes longer has failed (default: 600)",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--csv", type=Path, metavar="FILE", help="also write the rows as CSV")
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="measure nothing, but print the report of a file of JSON lines",
    )
    parser.add_argument("--list", action="store_true", help="list the peers and exit")


def _measure(options: argparse.Namespace) -> tuple[dict[str, Any], list[Any]]:
    tables = list(_tables(options))
    chosen = [
        peer
        for peer in peers().values()
        if not options.peers or any(part.lower() in peer.name.lower() for part in options.peers)
    ]
    effort = _effort(options)
    about = _about(options, tables, effort)
    rows: list[Any] = []
    with places(options) as (folder, note):
        note({"about": about})
        bench = Bench(
            folder, images=options.images, masks=options.masks, effort=effort,
            cores=cores(), note=note, say=say,
        )  # fmt: skip
        for table in tables:
            rows += bench.measure(table, chosen)
    return about, rows


def _tables(options: argparse.Namespace) -> list[Table]:
    names = options.workloads or (["tiles"] if options.quick else list(WORKLOADS))
    tables = []
    for name in names:
        work = WORKLOADS[name]
        if options.quick:
            work = work.with_samples(_QUICK_SAMPLES[name])
        tables += [Table(work, level, "warm") for level in options.levels]
        if options.cold:
            tables.append(Table(work, "read", "cold"))
    return tables


def _effort(options: argparse.Namespace) -> Effort:
    effort = QUICK if options.quick else FULL
    chosen = {
        name: value
        for name in ("rounds", "settings", "timeout")
        if (value := getattr(options, name)) is not None
    }
    return replace(effort, **chosen)


def _about(options: argparse.Namespace, tables: list[Table], effort: Effort) -> dict[str, Any]:
    works: dict[str, Workload] = {table.work.name: table.work for table in tables}
    return {
        "command": shlex.join(["python", *sys.argv]),
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "load_before": load_average(),
        "effort": (
            f"{effort.rounds} rounds in which all take turns, each turn in a fresh process, for at "
            f"least {effort.seconds:g} s after an epoch that warms up"
        ),
        "workloads": {name: work.to_json() for name, work in works.items()},
        "origins": {name: origin_of(work, options.images) for name, work in works.items()},
    }


if __name__ == "__main__":
    sys.exit(main())
