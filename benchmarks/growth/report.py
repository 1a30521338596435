"""Write rows as Markdown and as CSV."""

from __future__ import annotations

import csv
from dataclasses import asdict, fields
from typing import TYPE_CHECKING

from growth.row import Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO


def legend() -> str:
    """Return the legend of the CSV's columns."""
    return "\n".join(f"{column.name}: {column.metadata['legend']}" for column in fields(Row))


def write_csv(rows: Iterable[Row], file: TextIO) -> None:
    """Write rows as CSV."""
    writer = csv.DictWriter(file, [column.name for column in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)


def tables(rows: Sequence[Row]) -> str:
    """Return one table per question and growing quantity, with one column per point."""
    kinds = dict.fromkeys((row.question, row.against) for row in rows)
    return "\n\n".join(
        _table([row for row in rows if (row.question, row.against) == kind], kind[1])
        for kind in kinds
    )


def _table(rows: Sequence[Row], against: str) -> str:
    points = sorted({row.at for row in rows})
    found = {(row.variant, row.what, row.unit, row.at): row.value for row in rows}
    lines = [
        f"| | {against} | " + " | ".join(f"{point:,}" for point in points) + " |",
        "|---|---|" + "---:|" * len(points),
    ]
    for variant, what, unit in dict.fromkeys((row.variant, row.what, row.unit) for row in rows):
        values = (found.get((variant, what, unit, point)) for point in points)
        cells = " | ".join("" if value is None else _short(value) for value in values)
        lines.append(f"| {variant} | {what}, {unit} | {cells} |")
    return "\n".join(lines)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
