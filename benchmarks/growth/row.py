"""What is one line of the report? Its fields' legends are those of the CSV."""

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
    """One number, and what it was measured at."""

    question: str = _column("which file of benchmarks/growth asked")
    variant: str = _column("the way that was taken")
    what: str = _column("was measured")
    against: str = _column("the name of what grows")
    at: int = _column("how much of it there was")
    value: float = _column("the median of the rounds, unless `what` says otherwise")
    least: float = _column("… the least of them")
    most: float = _column("… the most of them")
    rounds: int = _column("how many there were")
    unit: str = _column("of value, least and most")

    @classmethod
    def of(cls, found: Sequence[float], **known: Any) -> Row:
        """Sum up what was found in all rounds by its median."""
        return cls(
            value=statistics.median(found),
            least=min(found),
            most=max(found),
            rounds=len(found),
            **known,
        )
