"""Which units have equal numbers, and how are groups of units told?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed_tools.report.facts import MOST_GROUPS, MOST_MEMBERS, Group, Grouping

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from zarrfeed_tools.report.population import Population


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Units in groups of at least two.

    Attributes
    ----------
    members
        (m,) int64: numbers of units, group after group, ascending in each.
    starts
        (g,) int64: where each group begins in `members`.
    """

    members: NDArray[np.int64]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        """Count the groups."""
        return len(self.starts)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of members of each group."""
        return np.diff(self.starts, append=len(self.members))

    def select(self, which: NDArray[np.bool_]) -> Groups:
        """Select some of the groups."""
        sizes = self.sizes[which]
        return Groups(self.members[np.repeat(which, self.sizes)], np.cumsum(sizes) - sizes)

    def varies(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Say of each group whether its members have different values.

        Parameters
        ----------
        values
            A value for every unit.
        """
        if not len(self):
            return np.zeros(0, np.bool_)
        here = values[self.members]
        low, high = (each.reduceat(here, self.starts) for each in (np.minimum, np.maximum))
        return np.asarray(low != high)


def equal_groups(values: NDArray[Any], numbers: NDArray[np.int64] | None = None) -> Groups:
    """Group units with equal values.

    Parameters
    ----------
    values
        (n,) values.
    numbers
        (n,) numbers of their units, ascending; 0 … n-1 by default.

    Examples
    --------
    >>> groups = equal_groups(np.array([7, 5, 7, 6, 5]))
    >>> groups.members.tolist(), groups.starts.tolist()
    ([1, 4, 0, 2], [0, 2])
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    new = np.ones(len(order), np.bool_)
    new[1:] = ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(new)
    groups = Groups(order if numbers is None else numbers[order], starts)
    return groups.select(groups.sizes > 1)


def grouping_of(
    groups: Groups,
    population: Population,
    what: Callable[[int, str], str],
    *,
    distances: NDArray[np.float64] | None = None,
    note: str = "",
) -> Grouping:
    """Tell of groups: how many there are, and what is in the first of them.

    Parameters
    ----------
    groups
        The groups.
    population
        All units.
    what
        Says what a group shares, from the number and the key of its first member.
    distances
        (g,) a distance for each group.
    note
        What was left out.
    """
    across = groups.varies(population.split_of(np.arange(len(population), dtype=np.int64)))
    sizes = groups.sizes
    # In the order of their first members, because hashes of names differ from run to run.
    shown = np.lexsort((groups.members[groups.starts], -sizes, ~across))[:MOST_GROUPS]
    told = []
    for place in shown.tolist():
        start = int(groups.starts[place])
        members = groups.members[start : start + int(sizes[place])]
        distance = None if distances is None else float(distances[place])
        told.append(_group_of(members, population, what, distance))
    count = int(np.count_nonzero(across))
    surplus = len(groups.members) - len(groups)
    return Grouping(len(groups) - count, count, surplus, tuple(told), note)


def _group_of(
    members: NDArray[np.int64],
    population: Population,
    what: Callable[[int, str], str],
    distance: float | None,
) -> Group:
    of_split = population.split_of(members)
    splits, first, counts = np.unique(of_split, return_index=True, return_counts=True)
    # One of each split, and the first of the others.
    others = np.setdiff1d(np.arange(min(len(members), MOST_MEMBERS)), first)
    chosen = np.sort(np.append(first, others[: max(0, MOST_MEMBERS - len(first))]))
    units = population.units(members[chosen].tolist())
    names = {
        population.splits[split].name: count
        for split, count in zip(splits.tolist(), counts.tolist(), strict=True)
    }
    return Group(len(members), names, units, what(int(members[0]), units[0].key), distance)
