"""Which images look alike, by a hash of 64 bits that was stored of every sample?

See :mod:`zarrfeed_tools.report.hash_links` for when images do, and which are not compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.spelling import plural
from zarrfeed.store.schema import DHASH
from zarrfeed_tools.report.groups import Groups, equal_groups, grouping_of
from zarrfeed_tools.report.hash_links import Links, Tiles, case_links, sample_links
from zarrfeed_tools.report.linked import components

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed_tools.report.facts import Grouping
    from zarrfeed_tools.report.population import Population
    from zarrfeed_tools.report.units import Units

    Words = NDArray[np.uint64]


def find_near_duplicates(
    population: Population, digests: NDArray[np.uint64] | None
) -> Grouping | None:
    """Find groups of units whose images look alike, but which are not all exact duplicates.

    Parameters
    ----------
    population
        All units.
    digests
        (n,) digest of the content of each unit, 0 where it is unknown; None if all are.

    Returns
    -------
    Grouping or None
        None if no split has hashes.
    """
    hashed = [units.lacks(DHASH) is None for units in population.splits]
    if not any(hashed):
        return None
    shown = np.zeros(len(population), np.uint64)
    of_samples = _sample_links(_chosen(population, hashed, cases=False), shown)
    of_cases = case_links(_tiles_of(_chosen(population, hashed, cases=True), shown))
    first, second, distance = (
        np.concatenate([getattr(of_samples, name), getattr(of_cases, name)])
        for name in ("first", "second", "distance")
    )
    labels = components(len(population), first, second)
    linked = np.union1d(first, second)
    groups = equal_groups(labels[linked], linked)
    if digests is not None:
        known = digests != 0
        groups = groups.select(groups.varies(digests) | ~_all(groups, known))
    largest = np.zeros(len(population))
    np.maximum.at(largest, labels[first], distance)
    notes = []
    plain = of_samples.plain + of_cases.plain
    if plain:
        notes.append(
            f"{plural(plain, 'image')} without structure, such as a constant one, "
            f"{'was' if plain == 1 else 'were'} not compared"
        )
    if not (of_samples.complete and of_cases.complete):
        notes.append("very many images look alike; the search ended early, and groups are missing")
    return grouping_of(
        groups,
        population,
        lambda number, _: f"{int(shown[number]):016x}",
        distances=largest[labels[groups.members[groups.starts]]] if len(groups) else np.zeros(0),
        note="; ".join(notes),
    )


def _all(groups: Groups, which: NDArray[np.bool_]) -> NDArray[np.bool_]:
    if not len(groups):
        return np.zeros(0, np.bool_)
    return np.logical_and.reduceat(which[groups.members], groups.starts)


def _read(units: Units) -> Words:
    parts = [values.astype(np.uint64, copy=False) for _, values in units.blocks(DHASH)]
    return np.concatenate(parts)


def _chosen(population: Population, hashed: list[bool], *, cases: bool) -> list[tuple[int, Units]]:
    """Return the splits of samples, or those of cases, that have hashes, and their first units."""
    return [
        (first, units)
        for units, first, known in zip(
            population.splits, population.firsts.tolist(), hashed, strict=True
        )
        if known and (units.table is not None) == cases
    ]


def _sample_links(parts: list[tuple[int, Units]], shown: Words) -> Links:
    """Link samples, and note the hash of each."""
    hashes, numbers = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for first, units in parts:
        hashes.append(_read(units))
        numbers.append(first + np.arange(len(units), dtype=np.int64))
        shown[numbers[-1]] = hashes[-1]
    return sample_links(np.concatenate(hashes), np.concatenate(numbers))


def _tiles_of(parts: list[tuple[int, Units]], shown: Words) -> Tiles:
    """Read the hashes of the tiles of all cases, and note that of the first of each."""
    hashes, numbers = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    counts, grids = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    known: dict[tuple[int, ...], int] = {}
    for first, units in parts:
        table = units.table
        assert table is not None, "of cases"
        hashes.append(_read(units))
        numbers.append(first + np.arange(len(table), dtype=np.int64))
        shown[numbers[-1]] = hashes[-1][table.first_tile]
        counts.append(np.diff(table.first_tile, append=units.rows))
        along = -(-table.sizes // np.array(table.tile))
        distinct, which = np.unique(along, axis=0, return_inverse=True)
        labels = [
            known.setdefault((*table.tile, *grid), len(known))
            for grid in map(tuple, distinct.tolist())
        ]
        grids.append(np.array(labels, np.int64)[which.reshape(-1)])
    count, grid = np.concatenate(counts), np.concatenate(grids)
    return Tiles(np.concatenate(hashes), count, grid, np.concatenate(numbers))
