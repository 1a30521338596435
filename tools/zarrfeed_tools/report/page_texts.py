"""The sentences of a page that need numbers. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed.spelling import plural
from zarrfeed_tools.report.charts import format_number
from zarrfeed_tools.report.notices import unit_of
from zarrfeed_tools.report.table_rows import channel_name

if TYPE_CHECKING:
    from zarrfeed_tools.report.distributions import Difference
    from zarrfeed_tools.report.facts import Report
    from zarrfeed_tools.report.sampled import Sampled


def about_store(report: Report) -> str:
    """Say how much there is."""
    counts: dict[str, int] = {}
    for split in report.splits:
        counts[split.unit] = counts.get(split.unit, 0) + split.units
    told = " and ".join(plural(count, unit) for unit, count in counts.items())
    classes = max((len(split.classes.rows) for split in report.splits if split.classes), default=0)
    named = f", {classes:,} class{'' if classes == 1 else 'es'}" if classes else ""
    return f"{told} in {plural(len(report.splits), 'split')}{named}"


def about_gallery(report: Report, sampled: Sampled) -> str:
    """Say which samples are shown."""
    unit = unit_of(report)
    total = sum(split.units for split in report.splits)
    shown = len({*sampled.choice.spread, *sampled.choice.of_classes})
    told = f"All {plural(total, unit)}." if shown == total else (
        f"{shown:,} of {plural(total, unit)}, evenly spread over the splits"
        f"{', and those with most pixels of each class' if sampled.choice.of_classes else ''}."
    )  # fmt: skip
    parts = [view.shown for view in sampled.views.values() if view.shown]
    return f"{told} Of volumes, the slice with most classes is shown." if parts else told


def about_intensities(sampled: Sampled, unit: str) -> str:
    """Say what intensities come from, and whether splits are alike."""
    seen = sampled.intensities
    samples = plural(len(sampled.choice.spread), unit)
    told = f"From pixels of {samples} that are evenly spread over the splits."
    if seen.left_out:
        told += (
            f" Of {seen.channels + seen.left_out} channels, the first {seen.channels} are shown."
        )
    if seen.compared and not seen.differences:
        told += f" {' and '.join(seen.compared)} do not differ more than chance explains."
    return told


def about_differences(sampled: Sampled) -> list[str]:
    """Say which splits differ in their intensities, and by how much."""
    seen = sampled.intensities
    pairs: dict[tuple[str, str], list[Difference]] = {}
    for each in seen.differences:
        pairs.setdefault(each.splits, []).append(each)
    told = []
    for (one, other), found in pairs.items():
        named = [
            f"{channel_name(each.channel, seen)} (medians {format_number(each.medians[0])} and "
            f"{format_number(each.medians[1])})"
            for each in found
        ]
        distance = max(each.distance for each in found)
        told.append(
            f"{one} and {other} differ in {', '.join(named)}. Their cumulated distributions are up "
            f"to {distance:.0%} apart, more than in any of 199 random divisions of the samples."
        )
    return told


def about_page(report: Report, sampled: Sampled) -> str:
    """Say what a page was made from."""
    return (
        f"Made by zarrfeed {report.version} from {report.store}. Tables come from what was counted "
        "when the store was packed; pictures and intensities from "
        f"{plural(len(sampled.views), unit_of(report))}."
    )
