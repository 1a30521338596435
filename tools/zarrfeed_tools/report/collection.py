"""Collect the facts of a dataset from its metadata and its descriptive arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zarrfeed import __version__
from zarrfeed.machine_memory import enough_memory
from zarrfeed.store.address import remote_url
from zarrfeed_tools.inspection import inspect_split
from zarrfeed_tools.remote_options import RemoteOptions
from zarrfeed_tools.report.contents import digests_of, image_sums_of
from zarrfeed_tools.report.facts import Report
from zarrfeed_tools.report.groups import equal_groups, grouping_of
from zarrfeed_tools.report.leakage import find_leakage
from zarrfeed_tools.report.near_duplicates import find_near_duplicates
from zarrfeed_tools.report.population import Population
from zarrfeed_tools.report.split_report import report_of_split
from zarrfeed_tools.report.units import units_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from zarrfeed import Split
    from zarrfeed_tools.inspection import SplitFacts
    from zarrfeed_tools.report.facts import Grouping, SplitReport


def collect_facts(
    path: Path, *, quick: bool = False, remote: RemoteOptions | None = None
) -> Report:
    """Collect the facts of a dataset, or of one of its splits, without reading images or masks.

    Parameters
    ----------
    path
        A dataset, such as ``camvid.zarr``, or one of its splits.
    quick
        Whether to leave out what takes longest: near duplicates, and class tables with the units
        whose shares are far outside.
    remote
        How an address is read.

    Raises
    ------
    StoreError
        `path` is neither, or an array is damaged.
    ReadError
        A file of a descriptive array is missing or damaged.
    """
    splits = (remote or RemoteOptions()).splits(path)
    facts = [inspect_split(split) for split in splits]
    with enough_memory(path, f"the facts of {sum(each.samples or 0 for each in facts):,} samples"):
        return _report_on(splits, facts, remote_url(path) or str(path), quick=quick)


def _report_on(
    splits: Sequence[Split], facts: Sequence[SplitFacts], store: str, *, quick: bool
) -> Report:
    units = tuple(units_of(split, each) for split, each in zip(splits, facts, strict=True))
    reports = [
        report_of_split(one, each, quick=quick) for one, each in zip(units, facts, strict=True)
    ]
    population = Population(units)
    digests = _digests(population, reports)
    return Report(
        store=store,
        version=__version__,
        splits=tuple(reports),
        duplicates=None if digests is None else _duplicates(population, digests),
        same_image=None if digests is None else _same_image(population, reports, digests),
        near_duplicates=None if quick else find_near_duplicates(population, digests),
        leakage=find_leakage(population, digests),
    )


def _digests(population: Population, reports: Sequence[SplitReport]) -> NDArray[np.uint64] | None:
    """Return the digest of every unit, 0 where it is unknown; None if all are."""
    known = [report.name for report in reports if "duplicates" not in report.unknown]
    if not known:
        return None
    return np.concatenate(
        [
            digests_of(units) if units.name in known else np.zeros(len(units), np.uint64)
            for units in population.splits
        ]
    )


def _duplicates(population: Population, digests: NDArray[np.uint64]) -> Grouping:
    known = np.flatnonzero(digests)
    groups = equal_groups(digests[known], known)
    return grouping_of(groups, population, lambda number, _: f"{int(digests[number]):016x}")


def _same_image(
    population: Population, reports: Sequence[SplitReport], digests: NDArray[np.uint64]
) -> Grouping | None:
    """Group units whose images are equal, but whose digests are not."""
    numbers = np.zeros(len(population), np.uint64)
    telling = np.zeros(len(population), np.bool_)
    known = False
    for units, report, first in zip(
        population.splits, reports, population.firsts.tolist(), strict=True
    ):
        if "same-image" not in report.unknown:
            some = slice(first, first + len(units))
            numbers[some], telling[some] = image_sums_of(units)
            known = True
    if not known:
        return None
    which = np.flatnonzero(telling)
    groups = equal_groups(numbers[which], which)
    groups = groups.select(groups.varies(digests))
    return grouping_of(groups, population, lambda number, _: f"{int(numbers[number]):016x}")
