"""Rows of the report. The legends of their fields explain the columns of the CSV."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


def _column(legend: str) -> Any:
    return field(metadata={"legend": legend})


@dataclass(frozen=True, slots=True)
class Row:
    """One measured number."""

    question: str = _column("the question, a module of benchmarks/growth")
    variant: str = _column("the variant that was measured")
    what: str = _column("what was measured")
    against: str = _column("the name of the quantity that grows")
    at: int = _column("the value of that quantity")
    value: float = _column("the median over the rounds, unless `what` says otherwise")
    least: float = _column("… the minimum")
    most: float = _column("… the maximum")
    rounds: int = _column("the number of rounds")
    unit: str = _column("the unit of value, least and most")

    @classmethod
    def of(cls, found: Sequence[float], **known: Any) -> Row:
        """Make a row from the results of all rounds."""
        return cls(
            value=statistics.median(found),
            least=min(found),
            most=max(found),
            rounds=len(found),
            **known,
        )
