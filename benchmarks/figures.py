"""Figures: numbers with their requirement and how they were measured."""

from __future__ import annotations

import csv
import json
import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of the report.

    Attributes
    ----------
    row
        Number of the row of requirements to which it belongs.
    what
        What was measured.
    unit
        ``ratio``, or the unit of a quantity.
    found
        The number to judge. For a ratio, the median of the ratios within each round, unless `how`
        says otherwise.
    of_medians
        The ratio of the medians over the rounds, for comparison; None for a quantity.
    rounds
        The number in every round that counts.
    at_least, at_most
        The requirement; both None if there is none.
    how
        What a reader must know to judge the number.
    """

    row: int
    what: str
    unit: str
    found: float
    of_medians: float | None
    rounds: tuple[float, ...]
    at_least: float | None = None
    at_most: float | None = None
    how: str = ""

    @property
    def required(self) -> str:
        """The requirement as short text; empty if there is none."""
        if self.at_least is not None:
            return f"≥ {self.at_least:.3g}"
        return "" if self.at_most is None else f"≤ {self.at_most:.3g}"

    @property
    def reached(self) -> bool | None:
        """Whether the requirement is met; None if there is none."""
        if self.at_least is not None:
            return self.found >= self.at_least
        return None if self.at_most is None else self.found <= self.at_most

    def to_json(self) -> dict[str, Any]:
        """Return a dict that fits JSON, including the verdict."""
        return {**asdict(self), "reached": self.reached}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Figure:
        """Make a figure from the return value of :meth:`to_json`."""
        values = {name: value for name, value in found.items() if name != "reached"}
        return cls(**{**values, "rounds": tuple(values["rounds"])})


def ratio(
    row: int, what: str, over: Sequence[float], under: Sequence[float], **more: Any
) -> Figure:
    """Make the ratio of two quantities that were measured in the same rounds."""
    rounds = tuple(a / b for a, b in zip(over, under, strict=True))
    medians = statistics.median(over) / statistics.median(under)
    return Figure(row, what, "ratio", statistics.median(rounds), medians, rounds, **more)


def quantity(row: int, what: str, unit: str, rounds: Sequence[float], **more: Any) -> Figure:
    """Make a quantity, summarised by its median over the rounds."""
    return Figure(row, what, unit, statistics.median(rounds), None, tuple(rounds), **more)


def largest(row: int, what: str, unit: str, rounds: Sequence[float], **more: Any) -> Figure:
    """Make a quantity, summarised by its largest value, for things that must never happen."""
    return Figure(row, what, unit, max(rounds), None, tuple(rounds), **more)


def table(figures: Iterable[Figure]) -> str:
    """Return figures as Markdown: first those with a requirement, then the others."""
    figures = sorted(figures, key=lambda figure: figure.row)
    judged = [figure for figure in figures if figure.required]
    beside = [figure for figure in figures if not figure.required]
    lines = [
        "| row | figure | found | of the medians | rounds, least – most | required | reached |",
        "|---:|---|---:|---:|---:|---:|---|",
        *(
            f"| {figure.row} | {figure.what} | **{_with_unit(figure)}** | {_medians(figure)} | "
            f"{_spread(figure)} | {figure.required} | {'yes' if figure.reached else 'NO'} |"
            for figure in judged
        ),
        "",
        "Without a requirement:",
        "",
        "| row | figure | found | of the medians | rounds, least – most |",
        "|---:|---|---:|---:|---:|",
        *(
            f"| {figure.row} | {figure.what} | {_with_unit(figure)} | {_medians(figure)} | "
            f"{_spread(figure)} |"
            for figure in beside
        ),
        "",
        *_notes(figures),
    ]
    return "\n".join(lines)


def write_csv(figures: Sequence[Figure], path: Path) -> None:
    """Write a line of CSV per figure."""
    with path.open("w", newline="") as file:
        rows = [{**figure.to_json(), "rounds": json.dumps(figure.rounds)} for figure in figures]
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _notes(figures: Sequence[Figure]) -> list[str]:
    """Return the remarks on every row, each once."""
    notes = dict.fromkeys((figure.row, figure.how) for figure in figures if figure.how)
    return [f"- Row {row}: {how}" for row, how in notes]


def _with_unit(figure: Figure) -> str:
    return _short(figure.found) + ("" if figure.unit == "ratio" else f" {figure.unit}")


def _medians(figure: Figure) -> str:
    return "" if figure.of_medians is None else _short(figure.of_medians)


def _spread(figure: Figure) -> str:
    return f"{_short(min(figure.rounds))} – {_short(max(figure.rounds))}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
