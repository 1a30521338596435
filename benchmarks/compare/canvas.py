"""The common style of all plots, and how they are saved."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

WIDTH = 9.0  # inches at 100 dots per inch, about the width of a README
INK, FAINT, RULE = "#222222", "#666666", "#dddddd"
OURS, PEER, LIMIT = "#0072b2", "#a7b3bf", "#8c8c8c"
WRONG = "#d55e00"
# The palette of Okabe and Ito, which colour-blind readers can distinguish, with different markers.
LINES = (("#0072b2", "o"), ("#d55e00", "s"), ("#009e73", "^"), ("#cc79a7", "D"), ("#e69f00", "v"))

_STYLE = {
    "figure.dpi": 100,
    "font.family": "DejaVu Sans",  # part of matplotlib, and thus available everywhere
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": RULE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "xtick.color": FAINT,
    "ytick.color": INK,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "svg.hashsalt": "zarrfeed",  # so that the same plot gives the same file
}
MARGIN = 0.15  # left margin in inches
_TITLE, _LINE, _NOTE = 0.32, 0.20, 0.15  # height of a line of text in inches


def canvas(
    height: float,
    *,
    title: str,
    about: str,
    note: str,
    rows: int = 1,
    left: float = 0.9,
    legend: bool = False,
) -> tuple[Any, Any]:
    """Create a figure.

    Parameters
    ----------
    height
        Height of the axes in inches.
    title, about
        The title, and a smaller line below it on what was measured.
    note
        Text below the axes: how to read the figure, and the machine.
    rows
        Number of axes, one below the other.
    left
        Space left of the axes in inches.
    legend
        Whether to leave space for a legend above the axes.

    Returns
    -------
    Figure, Axes or array of Axes
    """
    plt.rcParams.update(_STYLE)
    abouts = textwrap.wrap(about, 118)
    notes = [line for part in note.splitlines() for line in textwrap.wrap(part, 172)]
    above = 0.15 + _TITLE + _LINE * len(abouts) + (0.42 if legend else 0.12)
    below = 0.62 + _NOTE * len(notes)
    total = above + height + below
    figure, axes = plt.subplots(rows, 1, figsize=(WIDTH, total), sharex=True)
    figure.subplots_adjust(
        left=left / WIDTH, right=1 - 0.3 / WIDTH, top=1 - above / total, bottom=below / total,
        hspace=0.35,
    )  # fmt: skip
    x = MARGIN / WIDTH
    figure.text(x, 1 - 0.15 / total, title, size=13, weight="bold", va="top")
    figure.text(x, 1 - (0.15 + _TITLE) / total, "\n".join(abouts), size=9.5, color=FAINT, va="top")
    figure.text(x, 0.08 / total, "\n".join(notes), size=7.5, color=FAINT, va="bottom")
    return figure, axes


def room(names: Iterable[str]) -> float:
    """Estimate the width of the longest of some names in inches, at 10 points."""
    return 0.25 + 0.082 * max(map(len, names))


def save(figure: Any, folder: Path, name: str) -> list[Path]:
    """Write a figure as PNG and as SVG, without a date.

    Returns
    -------
    list of Path
        The two files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    png, svg = folder / f"{stem}.png", folder / f"{stem}.svg"
    figure.savefig(png, metadata={"Software": None})
    figure.savefig(svg, metadata={"Date": None, "Creator": None})
    # Matplotlib leaves spaces at the ends of lines.
    lines = svg.read_text("utf-8").splitlines()
    svg.write_text("\n".join(line.rstrip() for line in lines) + "\n", "utf-8")
    plt.close(figure)
    return [png, svg]
