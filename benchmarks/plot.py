"""Plot results as PNG and SVG.

    python benchmarks/bench.py --lines bench.jsonl
    python benchmarks/scan.py --lines scan.jsonl
    python benchmarks/plot.py bench.jsonl scan.jsonl --out plots

Takes any number of files of JSON lines, and CSV files of benchmarks/growth.py. The same results
give the same files, byte for byte, with the same version of matplotlib.
"""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

from compare.rows import read_rows
from compare.scans import read_scans


def main() -> int:
    """Write the plots; return 1 if there was nothing to plot."""
    options = _options()
    if find_spec("matplotlib") is None:
        sys.exit("plots need matplotlib: pip install matplotlib, or make bench-plots")
    from compare.plots import plot_bars
    from compare.scan_plots import plot_boundaries, plot_growth, plot_scans

    made: list[Path] = []
    for path in options.files:
        if path.suffix == ".csv":
            made += plot_growth(path, options.out)
            continue
        about, rows = read_rows(path)
        _, points, boundaries = read_scans(path)
        made += plot_bars(about, rows, options.out)
        made += plot_scans(about, points, options.out)
        made += plot_boundaries(about, boundaries, options.out)
    print(*made, sep="\n")
    return 0 if made else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="JSON lines of bench.py or scan.py, or CSV of growth.py",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("plots"), metavar="FOLDER", help="output folder (plots)"
    )
    options = parser.parse_args()
    for path in options.files:
        if not path.is_file():
            parser.error(f"no such file: {path}; bench.py and scan.py write one (--lines)")
    return options


if __name__ == "__main__":
    sys.exit(main())
