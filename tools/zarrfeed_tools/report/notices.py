"""What deserves a look? The findings of a report in a sentence each, the worst first. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from zarrfeed.errors import how_to_install
from zarrfeed.spelling import few, plural
from zarrfeed_tools.report.relabelled import unconfirmed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zarrfeed_tools.report.facts import Finding, Grouping, Report, SplitReport
    from zarrfeed_tools.report.sampled import Sampled


@dataclass(frozen=True, slots=True)
class Notice:
    """A finding that deserves a look.

    Attributes
    ----------
    level
        ``bad`` for what makes scores wrong, ``look`` for what may be intended.
    what
        What was found, with its number.
    why
        What it means, and what to do.
    anchor
        The section of the page that shows it.
    """

    level: Literal["bad", "look"]
    what: str
    why: str
    anchor: str


def notices_of(report: Report, sampled: Sampled) -> list[Notice]:
    """Return the findings that deserve a look, the worst first.

    Parameters
    ----------
    report
        What is known without pixels.
    sampled
        What was seen of some samples.
    """
    found = [
        *_of_groups(report, sampled),
        *_of_splits(report),
        *_of_samples(sampled, unit_of(report)),
    ]
    return sorted(found, key=lambda notice: notice.level != "bad")  # stable


def unit_of(report: Report) -> str:
    """Return what the report counts: ``case`` if every split has cases, else ``sample``."""
    units = {split.unit for split in report.splits}
    return "case" if units == {"case"} else "sample"


def _of_groups(report: Report, sampled: Sampled) -> Iterator[Notice]:
    unit = unit_of(report)
    if report.leakage is not None and report.leakage.count:
        same, alike = report.leakage.same_keys, report.leakage.same_prefixes
        counts = [
            plural(grouping.count, noun)
            for grouping, noun in ((same, "name"), (alike, "common beginning"))
            if grouping.count
        ]
        yield Notice(
            "bad", f"Leakage: {' and '.join(counts)} in several splits",
            "Probably the same subject or scene is trained on and scored, which makes scores too "
            "good. Keep each in one split.",
            "leakage",
        )  # fmt: skip
    yield from _of_copies(
        report.duplicates, unit, "exact duplicates", "duplicates",
        "They count several times in training. Keep one of each.",
    )  # fmt: skip
    yield from _of_copies(
        report.near_duplicates, unit, "near duplicates", "near-duplicates",
        "Frames of one video, crops, or the same image saved twice. Keep them in one split.",
    )  # fmt: skip
    if sampled.relabelled:
        yield Notice(
            "bad", f"{plural(len(sampled.relabelled), 'image')} with several masks",
            "At most one of the masks is right.", "relabelled",
        )  # fmt: skip


def _of_copies(
    grouping: Grouping | None, unit: str, what: str, anchor: str, why: str
) -> Iterator[Notice]:
    if grouping is None:
        return
    if grouping.across:
        yield Notice(
            "bad", f"{plural(grouping.across, 'group')} of {what} across splits",
            "A model that has seen an image in training is scored on it, which makes scores too "
            "good. Keep each group in one split.",
            anchor,
        )  # fmt: skip
    if grouping.within:
        surplus = plural(grouping.surplus, unit)
        yield Notice(
            "look", f"{plural(grouping.within, 'group')} of {what} within a split",
            f"{surplus} could go, all but one of each group. {why}", anchor,
        )  # fmt: skip


def _of_splits(report: Report) -> Iterator[Notice]:
    for split in report.splits:
        units = f"{split.unit}s"
        for finding, level, what, why in _findings(split):
            if finding is not None and finding.count:
                yield Notice(
                    level,
                    f"{split.name}: {plural(finding.count, split.unit)} {what}",
                    why,
                    "suspicious",
                )
        missing = [row.name for row in split.classes.rows if not row.units] if split.classes else []
        if missing:
            yield Notice(
                "look",
                f"{split.name}: no {split.unit} has {few(missing, shown=5)}",
                "A class that a split lacks is neither learned nor scored there.",
                "classes",
            )
        if split.skipped_count:
            yield Notice(
                "look", f"{split.name}: {plural(split.skipped_count, 'input')} skipped",
                f"When packing; the store has fewer {units} than its source.", "skipped",
            )  # fmt: skip


def _findings(
    split: SplitReport,
) -> Iterator[tuple[Finding | None, Literal["bad", "look"], str, str]]:
    yield (
        split.not_finite, "bad", "with NaN or infinite values",
        "One such value makes the loss NaN. Replace them before training.",
    )  # fmt: skip
    yield (
        split.constant, "look", "whose image has one value",
        "A black frame or a failed export teaches nothing.",
    )  # fmt: skip
    if split.masks is not None:
        empty = "There is nothing to learn from, unless such images are meant to be seen."
        yield split.masks.background, "look", "of background alone", empty
        yield split.masks.ignored, "look", "whose pixels are all ignored", empty
        yield split.masks.no_class, "look", "without any class", empty
        yield (
            split.masks.one_class, "look", "with one class on every pixel",
            "Often a mask that was filled by mistake.",
        )  # fmt: skip
    yield (
        split.class_shares, "look", "in which the share of a class is far outside",
        "Often another zoom, or a mask that was filled or left out by mistake.",
    )  # fmt: skip


def _of_samples(sampled: Sampled, unit: str) -> Iterator[Notice]:
    unreadable = len(sampled.unreadable)
    looked = plural(len(sampled.views), unit)
    if unreadable or sampled.unread:
        splits = f", and no image of {few(sampled.unread)}" if sampled.unread else ""
        yield Notice(
            "bad", f"{plural(unreadable, unit)} of {looked} cannot be read{splits}",
            "`zarrfeed verify` reads all, and names what is damaged.", "unreadable",
        )  # fmt: skip
    for one, other in dict.fromkeys(each.splits for each in sampled.intensities.differences):
        yield Notice(
            "look", f"Intensities of {one} and {other} differ",
            "Another camera, scanner or place: a model that is good on one may fail on the other.",
            "intensities",
        )  # fmt: skip
    islands = len(sampled.with_islands)
    if islands:
        yield Notice(
            "look", f"Tiny islands in the masks of {islands:,} of {looked}",
            "Specks of a few pixels are often slips of an annotator, or of resizing masks.",
            "islands",
        )  # fmt: skip


def checks_of(report: Report, sampled: Sampled) -> tuple[list[str], list[tuple[str, str]]]:
    """Return what was checked without finding anything, and what was not checked.

    Returns
    -------
    clean
        Names of checks.
    unchecked
        Names of checks and why they were not made.
    """
    unit = unit_of(report)
    clean: list[str] = []
    unchecked: dict[str, list[str]] = {}
    for what, grouping in (
        ("exact duplicates", report.duplicates),
        ("near duplicates", report.near_duplicates),
    ):
        if grouping is not None and not grouping.count:
            clean.append(what)
    if report.leakage is not None and not report.leakage.count:
        clean.append("names in several splits")
    if report.same_image is not None and sampled.palettes and not sampled.relabelled:
        left = unconfirmed(report.same_image, sampled.views)
        if left:
            unchecked["images with several masks"] = [
                f"{plural(left, 'group')} of images have equal sums, but were not compared."
            ]
        else:
            clean.append("images with several masks")
    for what, findings in _by_check(report):
        if findings and all(finding is not None and not finding.count for finding in findings):
            clean.append(what)
    if not any(split.skipped_count for split in report.splits):
        clean.append("skipped inputs")
    if sampled.intensities.compared and not sampled.intensities.differences:
        clean.append("intensities of the splits")
    if not sampled.islands_searched:
        unchecked["tiny islands"] = [f"SciPy is not installed: {how_to_install('report')}."]
    elif sampled.palettes and not sampled.with_islands:
        clean.append(f"tiny islands (in {plural(len(sampled.views), unit)})")
    for split in report.splits:
        for what, why in split.unknown.items():
            unchecked.setdefault(what, []).append(f"{split.name}: {why}")
    return clean, [(what, few(reasons, shown=4, joint="; ")) for what, reasons in unchecked.items()]


def _by_check(report: Report) -> Iterator[tuple[str, list[Finding | None]]]:
    yield "NaN and infinite values", [split.not_finite for split in report.splits]
    yield "images of one value", [split.constant for split in report.splits]
    yield "class shares far outside", [split.class_shares for split in report.splits]
    masks = [split.masks for split in report.splits if split.masks is not None]
    empty = [(each.background, each.ignored, each.no_class) for each in masks]
    yield "empty masks", [finding for each in empty for finding in each]
    yield "masks of one class", [each.one_class for each in masks]
