"""Plot the scans, the time of every batch around the end of an epoch, and the growth of costs."""

from __future__ import annotations

import csv
import statistics
from itertools import cycle
from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator
from matplotlib.transforms import blended_transform_factory

from compare.canvas import FAINT, INK, LIMIT, LINES, MARGIN, OURS, RULE, WIDTH, canvas, room, save
from compare.plots import LEVELS, LIMIT_PREFIX, grouped, machine_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from compare.scans import BoundaryRow, ScanRow

_AXES = {
    "workers": "workers",
    "batch size": "samples per batch",
    "sample size": "pixels of a side of the image (batches of about 8 MiB)",
    "shard size": "MiB per shard",
    "codec": "codec",
}
_LOGARITHMIC = {"batch size", "sample size", "shard size"}


def plot_scans(about: dict[str, Any], rows: Sequence[ScanRow], folder: Path) -> list[Path]:
    """Plot every scan: a line per kind of worker, and the limit."""
    made = []
    for name, points in grouped(rows, lambda row: row.scan):
        figure = _scan(name, points, about)
        made += save(figure, folder, f"scan-{name}")
    return made


def _scan(name: str, points: Sequence[ScanRow], about: dict[str, Any]) -> Any:
    sizes = dict.fromkeys(point.workload for point in points)
    figure, axes = canvas(
        3.4,
        title=f"zarrfeed's speed by {name}",
        about=next(iter(sizes)) if len(sizes) == 1 else _extent(points),
        note="Read in Python, every byte touched, fully shuffled, files in the page cache. Points: "
        f"median over the epochs; bars: half of the epochs lie between.\n{machine_line(about)}",
        legend=True,
    )
    ways = list(dict.fromkeys(point.way for point in points))
    ours = [way for way in ways if not way.startswith(LIMIT_PREFIX)]
    for way in ways:
        line = sorted((point for point in points if point.way == way), key=lambda p: p.place)
        if way in ours:
            number = ours.index(way)
            # Codecs have no order, so their points are side by side without a line.
            aside = 0.13 * (number - (len(ours) - 1) / 2) if name == "codec" else 0.0
            _line(axes, line, LINES[number], aside=aside, joined=name != "codec")
        else:
            _bound(axes, line)
    places = sorted({(point.place, point.at) for point in points})
    if name in _LOGARITHMIC:
        axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator([place for place, _ in places]))
    axes.xaxis.set_minor_locator(NullLocator())
    labels = dict(places)
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: labels.get(value, "").removesuffix(" MiB"))
    )
    axes.margins(x=0.06)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(_AXES[name])
    axes.set_ylabel("GB/s, decoded")
    axes.grid(axis="y")
    axes.tick_params(length=0)
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1.02), ncols=len(ways), borderaxespad=0, fontsize=9.5,
        handletextpad=0.5, columnspacing=1.6,
    )  # fmt: skip
    return figure


def _line(
    axes: Any, points: Sequence[ScanRow], style: tuple[str, str], *, aside: float, joined: bool
) -> None:
    colour, marker = style
    middle = [point.mb_per_second / 1e3 for point in points]
    below = [(point.mb_per_second - point.low) / 1e3 for point in points]
    above = [(point.high - point.mb_per_second) / 1e3 for point in points]
    axes.errorbar(
        [point.place + aside for point in points], middle, yerr=(below, above), color=colour,
        marker=marker, linestyle="-" if joined else "none", linewidth=1.8, markersize=6, capsize=3,
        elinewidth=1, label=points[0].way,
    )  # fmt: skip


def _bound(axes: Any, points: Sequence[ScanRow]) -> None:
    places = [point.place for point in points]
    low, high = ([getattr(point, name) / 1e3 for point in points] for name in ("low", "high"))
    axes.fill_between(places, low, high, color=LIMIT, alpha=0.18, linewidth=0)
    axes.plot(
        places, [point.mb_per_second / 1e3 for point in points], "--", color=LIMIT, linewidth=1.5,
        label=points[0].way,
    )  # fmt: skip


def _extent(points: Sequence[ScanRow]) -> str:
    first, last = (
        chosen(points, key=lambda point: point.place).workload.split(": ", 1)[1]
        for chosen in (min, max)
    )
    return f"from {first} to {last}"


def plot_boundaries(about: dict[str, Any], rows: Sequence[BoundaryRow], folder: Path) -> list[Path]:
    """Plot the time of every batch around the end of an epoch, one strip per way."""
    made = []
    for level, some in grouped(rows, lambda row: row.level):
        figure = _boundary(level, some, about)
        made += save(figure, folder, f"boundary-{level}")
    return made


def _boundary(level: str, rows: Sequence[BoundaryRow], about: dict[str, Any]) -> Any:
    strips = {
        (way, some[0].kind): [
            statistics.median(values) for values in zip(*(r.ms for r in some), strict=True)
        ]
        for way, some in grouped(rows, lambda row: row.way)
    }
    half = len(rows[0].ms) // 2
    order = sorted(strips, key=lambda strip: strips[strip][half])
    figure, every = canvas(
        0.72 * len(order),
        title=f"The end of an epoch: {LEVELS.get(level, level)}",
        about=rows[0].workload,
        note="Milliseconds from the end of one batch to that of the next (logarithmic): the last "
        f"{half} batches of an epoch and the first {half} of the next; median of "
        f"{len({row.turn for row in rows})} rounds.\n{machine_line(about)}",
        rows=len(order),
        left=room(way.removeprefix(LIMIT_PREFIX) for way, _ in order) + 0.5,
    )
    low, high = (chosen(map(chosen, strips.values())) for chosen in (min, max))
    for axes, strip in zip([every] if len(order) == 1 else every, order, strict=True):
        _strip(axes, strip, strips[strip], half)
        axes.set_ylim(low / 1.5, high * 2)
    last = every if len(order) == 1 else every[-1]
    last.set_xlabel("batches since the new epoch began")
    return figure


def _strip(axes: Any, strip: tuple[str, str], ms: Sequence[float], half: int) -> None:
    way, kind = strip
    colour = {"ours": OURS, "limit": FAINT}.get(kind, INK)
    beside = blended_transform_factory(axes.figure.transFigure, axes.transAxes)
    axes.axvline(-0.5, color=RULE, linewidth=1)
    axes.plot(range(-half, half), ms, color=colour, linewidth=1.2)
    axes.plot([0], [ms[half]], "o", color=colour, markersize=5)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(10, numticks=8))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} ms"))
    axes.grid(axis="y")
    axes.set_xlim(-half, half)
    axes.tick_params(length=0, labelsize=7.5, labelcolor=FAINT)
    axes.text(
        MARGIN / WIDTH, 0.62, way.removeprefix(LIMIT_PREFIX), transform=beside, va="center",
        color=colour, weight="bold" if kind == "ours" else "normal",
    )  # fmt: skip
    axes.text(
        MARGIN / WIDTH, 0.22,
        f"first batch {_ms(ms[half])}, others {_ms(statistics.median(ms))}",
        transform=beside, va="center", color=FAINT, size=8,
    )  # fmt: skip


def _ms(value: float) -> str:
    return f"{value:.0f} ms" if value >= 10 else f"{value:.2g} ms"


def plot_growth(path: Path, folder: Path) -> list[Path]:
    """Plot the results of benchmarks/growth.py."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    made = []
    for key, some in grouped(rows, lambda row: (row["question"], row["against"])):
        made += save(_growth(some), folder, "growth-" + "-".join(key))
    return made


def _growth(rows: Sequence[dict[str, str]]) -> Any:
    panels = grouped(rows, lambda row: (row["what"], row["unit"]))
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    figure, every = canvas(
        1.75 * len(panels),
        title=f"{rows[0]['question'].capitalize()}, against {rows[0]['against']}",
        about="measured by benchmarks/growth.py",
        note="Points: median of the rounds; bars: minimum and maximum.",
        rows=len(panels),
        legend=True,
    )
    axes = [every] if len(panels) == 1 else list(every)
    for one, ((what, unit), some) in zip(axes, panels, strict=True):
        _panel(one, some, variants)
        one.set_title(what, size=9.5, color=INK, pad=3)
        one.set_ylabel(unit)
    axes[-1].set_xlabel(rows[0]["against"])
    if all(float(row["at"]) > 0 for row in rows):
        axes[-1].set_xscale("log")
    handles = [
        Line2D([], [], color=colour, marker=marker, linewidth=1.8, label=variant)
        for variant, (colour, marker) in zip(variants, cycle(LINES), strict=False)
    ]
    axes[0].legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0, 1.13), ncols=len(variants),
        borderaxespad=0, fontsize=9.5, handletextpad=0.5, columnspacing=1.6,
    )  # fmt: skip
    return figure


def _panel(axes: Any, rows: Sequence[dict[str, str]], variants: list[str]) -> None:
    for variant, some in grouped(rows, lambda row: row["variant"]):
        colour, marker = LINES[variants.index(variant) % len(LINES)]
        line = sorted(some, key=lambda row: float(row["at"]))
        at, value, least, most = (
            [float(row[name]) for row in line] for name in ("at", "value", "least", "most")
        )
        below = [middle - low for middle, low in zip(value, least, strict=True)]
        above = [high - middle for middle, high in zip(value, most, strict=True)]
        axes.errorbar(
            at, value, yerr=(below, above), color=colour, marker=marker, linewidth=1.8,
            markersize=5, capsize=3, elinewidth=1,
        )  # fmt: skip
    values = [float(row["value"]) for row in rows]
    if 0 < 30 * min(values) < max(values):
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(bottom=0)
    axes.grid(axis="y")
    axes.tick_params(which="both", length=0)
