"""Plot the comparison: bars sorted by speed, for every workload and level."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.ticker import FuncFormatter

from compare.canvas import FAINT, INK, LIMIT, OURS, PEER, WRONG, canvas, room, save
from compare.workloads import Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from compare.rows import Row

LEVELS = {
    "read": "read in Python, every byte touched",
    "fit": "Keras fit, a model that does nothing",
    "train": "Keras fit, a small U-Net",
}
LIMIT_PREFIX = "limit: "
_COLOURS = {"ours": OURS, "peer": PEER, "limit": "white"}


def plot_bars(about: dict[str, Any], rows: Sequence[Row], folder: Path) -> list[Path]:
    """Plot bars for every workload, level and state, without peers that were not measured."""
    made = []
    measured = [row for row in rows if row.batches_per_second]
    for key, table in grouped(measured, lambda row: (row.workload, row.level, row.state)):
        work = Workload.from_json(about["workloads"][key[0]])
        figure = _bars(table, work, about)
        made += save(figure, folder, "-".join(key))
    return made


def _bars(table: Sequence[Row], work: Workload, about: dict[str, Any]) -> Any:
    table = sorted(table, key=lambda row: row.batches_per_second or 0.0)
    level, state = table[0].level, table[0].state
    figure, axes = canvas(
        0.31 * len(table) + 0.2,
        title=f"{work.name}: {LEVELS.get(level, level)}, {state}",
        about=work.label,
        note="Bars: median over the epochs; whiskers: slowest and fastest epoch. Hatched: a bound, "
        f"which cannot train.\n{machine_line(about)}",
        left=room(row.peer.removeprefix(LIMIT_PREFIX) for row in table),
    )
    # The bar of a bound far beyond all peers is cut, because it would make the others small.
    rivals = [row for row in table if row.kind != "limit"] or table
    end = 1.25 * max(row.most or 0.0 for row in rivals)
    for place, row in enumerate(table):
        _bar(axes, place, row, end)
    axes.set_yticks(range(len(table)), [row.peer.removeprefix(LIMIT_PREFIX) for row in table])
    for label, row in zip(axes.get_yticklabels(), table, strict=True):
        label.set_weight("bold" if row.kind == "ours" else "normal")
        label.set_color({"ours": OURS, "limit": FAINT}.get(row.kind, INK))
    axes.set_ylim(-0.6, len(table) - 0.4)
    axes.set_xlim(0, end)
    axes.set_xlabel("batches per second")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    axes.tick_params(length=0)
    return figure


def _bar(axes: Any, place: int, row: Row, end: float) -> None:
    rate = row.batches_per_second or 0.0
    low, high = row.least or rate, row.most or rate
    limit = row.kind == "limit"
    axes.barh(
        place, rate, height=0.68, color=_COLOURS[row.kind],
        edgecolor=LIMIT if limit else "none", hatch="////" if limit else None, linewidth=0.8,
    )  # fmt: skip
    axes.hlines(place, low, high, color=INK, linewidth=1.1)
    axes.vlines([low, high], place - 0.13, place + 0.13, color=INK, linewidth=1.1)
    text = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
    beyond = max(rate, high) > 0.93 * end
    axes.text(
        0.99 * end if beyond else max(rate, high) + 0.012 * end,
        place,
        (text + " →" * beyond) + "  repeats or loses samples" * bool(row.wrong),
        ha="right" if beyond else "left",
        va="center",
        color=WRONG if row.wrong else INK,
        weight="bold" if row.kind == "ours" else "normal",
        size=9,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5} if beyond else None,
    )


def machine_line(about: dict[str, Any]) -> str:
    """Return the machine, the version of zarrfeed and the date. The report lists all packages."""
    parts = about["machine"].split(", ")
    ours = [part for part in parts[4:] if part.startswith(("zarrfeed ", "commit "))]
    return ", ".join([*parts[:4], *ours]) + f"; {about['date']}"


def grouped(rows: Iterable[Any], key: Callable[[Any], Any]) -> list[tuple[Any, list[Any]]]:
    """Group rows by a key, in the order of first appearance."""
    found: dict[Any, list[Any]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return list(found.items())
