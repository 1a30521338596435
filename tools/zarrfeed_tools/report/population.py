"""The units of all splits of a dataset, numbered one after the other.

Splits follow each other in the order of their names. Number i is unit ``i - first`` of the split
whose units begin at ``first``.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed_tools.report.facts import MOST_UNITS, Finding, Unit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from zarrfeed_tools.report.units import Units


@dataclass(frozen=True, slots=True)
class Population:
    """The units of several splits.

    Attributes
    ----------
    splits
        The units of each.
    """

    splits: tuple[Units, ...]

    def __len__(self) -> int:
        """Count all units."""
        return sum(map(len, self.splits))

    @property
    def firsts(self) -> NDArray[np.int64]:
        """Number of the first unit of each split, (S,) int64."""
        counts = np.array([len(split) for split in self.splits], np.int64)
        return np.cumsum(counts) - counts

    def split_of(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the index of the split of each of some units."""
        return np.searchsorted(self.firsts, numbers, side="right") - 1

    def units(
        self, numbers: Sequence[int], reasons: Mapping[int, str] | None = None
    ) -> tuple[Unit, ...]:
        """Name some units, given by their numbers.

        Parameters
        ----------
        numbers
            Numbers of units.
        reasons
            Number → what was found.
        """
        places = self.split_of(np.array(numbers, np.int64)).tolist()
        firsts = self.firsts.tolist()
        asked: dict[int, list[int]] = defaultdict(list)
        for number, place in zip(numbers, places, strict=True):
            asked[place].append(number - firsts[place])
        keys = {
            (place, own): key
            for place, some in asked.items()
            for own, key in zip(some, self.splits[place].keys(some), strict=True)
        }
        return tuple(
            Unit(
                self.splits[place].name,
                number - firsts[place],
                keys[place, number - firsts[place]],
                (reasons or {}).get(number, ""),
            )
            for number, place in zip(numbers, places, strict=True)
        )


def finding_of(units: Units, numbers: NDArray[np.int64], reasons: Sequence[str] = ()) -> Finding:
    """Return a finding about some units of one split.

    Parameters
    ----------
    units
        The units of the split.
    numbers
        Numbers of those that were found, the most important first.
    reasons
        What was found about each of the first :data:`MOST_UNITS`; nothing by default.
    """
    first: list[int] = numbers[:MOST_UNITS].tolist()
    said = dict(zip(first, reasons, strict=True)) if reasons else None
    return Finding(len(numbers), Population((units,)).units(first, said))
