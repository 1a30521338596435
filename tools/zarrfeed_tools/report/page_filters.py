"""How values are written into a page: the filters and tests of its template. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from zarrfeed.errors import printable
from zarrfeed.spelling import plural
from zarrfeed_convert import field_cells
from zarrfeed_tools.report.charts import bar, format_number, swatch
from zarrfeed_tools.report.choice import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Sequence

    from zarrfeed_convert import Cells, FieldFacts
    from zarrfeed_tools.report.facts import Unit

_LONGEST = 300  # letters of a text that are shown
_HEATS = 5  # shades of cells, but for none


def finalized(value: Any) -> Any:
    """Escape control characters of a text, and cut a long one. Jinja escapes HTML after this."""
    if isinstance(value, str) and not isinstance(value, Markup):
        value = printable(value)
        return value if len(value) <= _LONGEST else f"{value[:_LONGEST]}…"
    return value


def percent(share: float) -> str:
    """Write a share as a percentage, so that a little is not nothing.

    Examples
    --------
    >>> percent(0.0), percent(2e-6), percent(0.4821), percent(1.0)
    ('0%', '<0.1%', '48.2%', '100%')
    """
    if 0 < share < 0.001:
        return "<0.1%"
    written = f"{share:.1%}"
    return f"{share:.0%}" if share in (0, 1) else written


def heat(share: float) -> int:
    """Return the shade of a cell, from 0 for nothing to 5 for all.

    Examples
    --------
    >>> heat(0.0), heat(0.01), heat(0.5), heat(1.0)
    (0, 1, 3, 5)
    """
    return min(_HEATS, 1 + int(share * _HEATS)) if share > 0 else 0


def seen(units: Iterable[Unit], views: Container[Place]) -> list[tuple[Place, Unit]]:
    """Return the units that were looked at, with their places."""
    placed = [(Place(unit.split, unit.number), unit) for unit in units]
    return [(place, unit) for place, unit in placed if place in views]


def unseen(units: Iterable[Unit], views: Container[Place]) -> list[Unit]:
    """Return the units that were not looked at."""
    return [unit for unit in units if Place(unit.split, unit.number) not in views]


def telling(units: Sequence[Unit]) -> list[Unit]:
    """Return units in another order: one of each split first."""
    first = {unit.split: unit for unit in reversed(units)}
    return [
        *sorted(first.values(), key=units.index),
        *(u for u in units if u is not first[u.split]),
    ]


def _cells(fields: Iterable[FieldFacts], left_out: Container[str]) -> Cells:
    return field_cells([field for field in fields if field.name not in left_out])


def _pictured(units: Sequence[Unit], views: Container[Place]) -> bool:
    return bool(seen(units, views))


FILTERS: dict[str, Callable[..., Any]] = {
    "amount": plural,
    "bar": bar,
    "field_cells": _cells,
    "heat": heat,
    "number": format_number,
    "percent": percent,
    "seen": seen,
    "swatch": swatch,
    "telling": telling,
    "unseen": unseen,
}
TESTS: dict[str, Callable[..., Any]] = {"pictured": _pictured}
