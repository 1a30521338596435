"""Collect the facts of a dataset from its metadata and its descriptive arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed import __version__, list_splits, open_split
from zarrfeed_tools.inspection import inspect_split
from zarrfeed_tools.report.facts import MOST_SKIPPED, Report, Skipped, SplitReport

if TYPE_CHECKING:
    from pathlib import Path

    from zarrfeed import Split


def collect_facts(path: Path) -> Report:
    """Collect the facts of a dataset, or of one of its splits, without reading images or masks.

    Parameters
    ----------
    path
        A dataset, such as ``camvid.zarr``, or one of its splits.

    Raises
    ------
    StoreError
        `path` is neither, or is damaged.
    """
    names = list_splits(path)
    splits = [open_split(each) for each in ([path / name for name in names] or [path])]
    return Report(store=str(path), version=__version__, splits=tuple(map(_split_report, splits)))


def _split_report(split: Split) -> SplitReport:
    facts = inspect_split(split)
    skipped = facts.packed.get("skipped", ())
    return SplitReport(
        name=split.path.name,
        facts=facts,
        unit="sample" if facts.cases is None else "case",
        units=(facts.samples or 0) if facts.cases is None else facts.cases.cases,
        found=facts.packed.get("found"),
        skipped=tuple(Skipped(one["name"], one["why"]) for one in skipped[:MOST_SKIPPED]),
        skipped_count=len(skipped),
    )
