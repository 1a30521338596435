"""What is a figure: a number, what it had to be, and how it was come by."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of the report.

    Attributes
    ----------
    row
        The row of the requirements that it belongs to.
    what
        Was measured.
    unit
        ``ratio``, or that of a quantity.
    found
        What is judged: the median over the rounds of the ratio within each, unless `how` says
        otherwise.
    of_medians
        The ratio of the two medians over the rounds: another look at the same rounds. None for a
        quantity.
    rounds
        The number in every round that counted.
    at_least, at_most
        The requirement; both None for a figure that only stands beside others.
    how
        What a reader must know to judge it.
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
        """The requirement in a few signs; empty where there is none."""
        if self.at_least is not None:
            return f"≥ {self.at_least:.3g}"
        return "" if self.at_most is None else f"≤ {self.at_most:.3g}"

    @property
    def reached(self) -> bool | None:
        """Whether it is what it had to be; None where nothing was required."""
        if self.at_least is not None:
            return self.found >= self.at_least
        return None if self.at_most is None else self.found <= self.at_most

    def to_json(self) -> dict[str, Any]:
        """Give it as plain values, the verdict included."""
        return {**asdict(self), "reached": self.reached}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Figure:
        """Take what :meth:`to_json` gave."""
        values = {name: value for name, value in found.items() if name != "reached"}
        return cls(**{**values, "rounds": tuple(values["rounds"])})


def ratio(
    row: int, what: str, over: Sequence[float], under: Sequence[float], **more: Any
) -> Figure:
    """Compare two ways that took turns: round by round, and their medians."""
    rounds = tuple(a / b for a, b in zip(over, under, strict=True))
    medians = statistics.median(over) / statistics.median(under)
    return Figure(row, what, "ratio", statistics.median(rounds), medians, rounds, **more)


def quantity(row: int, what: str, unit: str, rounds: Sequence[float], **more: Any) -> Figure:
    """Sum up a quantity by its median over the rounds."""
    return Figure(row, what, unit, statistics.median(rounds), None, tuple(rounds), **more)


def largest(row: int, what: str, unit: str, rounds: Sequence[float], **more: Any) -> Figure:
    """Sum up a quantity by its largest value: for what must never happen."""
    return Figure(row, what, unit, max(rounds), None, tuple(rounds), **more)


def table(figures: Iterable[Figure]) -> str:
    """Lay figures out as Markdown: first what was required, then what stands beside it."""
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
        "Beside them, nothing required:",
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


def _notes(figures: Sequence[Figure]) -> list[str]:
    """Say once per row what a reader must know."""
    said = dict.fromkeys((figure.row, figure.how) for figure in figures if figure.how)
    return [f"- Row {row}: {how}" for row, how in said]


def _with_unit(figure: Figure) -> str:
    return _short(figure.found) + ("" if figure.unit == "ratio" else f" {figure.unit}")


def _medians(figure: Figure) -> str:
    return "" if figure.of_medians is None else _short(figure.of_medians)


def _spread(figure: Figure) -> str:
    return f"{_short(min(figure.rounds))} – {_short(max(figure.rounds))}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
