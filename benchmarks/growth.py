"""How do costs grow with samples, shards, the bytes of a sample, and ranks?

    python benchmarks/growth.py --csv benchmarks/results/growth.csv
    python benchmarks/growth.py --quick --only opening orders

Every question has its file in benchmarks/growth. A run needs Linux, 1 GB of disk and about 10
minutes.

Two things are simulated. The store of up to 10^8 samples of 28×28 has only one real shard file per
field (336,000 samples, raw), with up to 298 names as hard links. Files to open, indexes to parse,
metadata and ids are those of 10^8 samples, but the page cache needs to hold only one shard. Ranks
are simulated, too: one process computes the shares of all ranks, one after the other.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from growth.billion import billion
from growth.opening import opening
from growth.orders import orders
from growth.quality import quality
from growth.ranks import ranks
from growth.report import legend, tables, write_csv
from growth.throughput import against_bytes, against_shards
from machine import load_average, machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from growth.row import Row


def main() -> None:
    """Measure, and print the results."""
    options = _options()
    about = f"{machine()}; load average before: {load_average()}"
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        questions = _questions(Path(folder))
        rows = []
        for name in options.only or questions:
            for row in questions[name](quick=options.quick):
                print(f"{row.question}: {row.variant}, {row.at}: {row.value:.4g}", file=sys.stderr)
                rows.append(row)
    if options.csv:
        options.csv.parent.mkdir(parents=True, exist_ok=True)
        with options.csv.open("w", encoding="utf-8") as file:
            write_csv(rows, file)
    if options.json:
        print(json.dumps({"machine": about, "rows": [asdict(row) for row in rows]}))
    else:
        print(f"{about}\n\n{tables(rows)}")


def _questions(scratch: Path) -> dict[str, Callable[..., Iterator[Row]]]:
    return {
        "opening": partial(opening, scratch),
        "orders": orders,
        "shards": partial(against_shards, scratch),
        "bytes": partial(against_bytes, scratch),
        "ranks": ranks,
        "billion": billion,
        "quality": quality,
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"columns of the CSV:\n{legend()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds and keys")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", choices=_questions(Path()),
        help=f"questions to measure: {', '.join(_questions(Path()))} (default: all)",
    )  # fmt: skip
    parser.add_argument("--scratch", type=Path, help="folder for stores, which are removed again")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="also write the rows as CSV")
    parser.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
    return parser.parse_args()


if __name__ == "__main__":
    main()
