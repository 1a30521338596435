"""Which checks can a dataset fail? For scripts that stop if it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zarrfeed.errors import printable
from zarrfeed.spelling import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from zarrfeed_tools.report.facts import Finding, Grouping, Report, SplitReport, Unit


_SHOWN = 3  # keys


@dataclass(frozen=True, slots=True)
class Check:
    """A kind of finding.

    Attributes
    ----------
    what
        What is found, in the singular, such as ``group of exact duplicates``.
    plural
        The same in the plural.
    find
        Returns how often it was found, and the first keys.
    help
        One line for ``--help``.
    """

    what: str
    plural: str
    find: Callable[[Report], tuple[int, Sequence[str]]]
    help: str

    def text(self, count: int) -> str:
        """Say how often it was found."""
        return f"{count:,} {self.what if count == 1 else self.plural}"


def _of_groups(*groupings: Grouping | None) -> tuple[int, Sequence[str]]:
    known = [grouping for grouping in groupings if grouping is not None]
    first = [
        " and ".join(f"{unit.split}/{unit.key}" for unit in _telling(group.units))
        for grouping in known
        for group in grouping.groups
    ]
    return sum(grouping.count for grouping in known), first


def _telling(units: Sequence[Unit]) -> Sequence[Unit]:
    """Return two units of a group, of two splits if there are two."""
    other = next((unit for unit in units if unit.split != units[0].split), units[1])
    return units[0], other


def _of_units(
    report: Report, finding: Callable[[SplitReport], Sequence[Finding | None]]
) -> tuple[int, Sequence[str]]:
    found = [one for split in report.splits for one in finding(split) if one is not None]
    first = [f"{unit.split}/{unit.key}" for one in found for unit in one.units]
    return sum(one.count for one in found), first


def _leaks(report: Report) -> tuple[int, Sequence[str]]:
    if report.leakage is None:
        return 0, ()
    return _of_groups(report.leakage.same_keys, report.leakage.same_prefixes)


def _empty(split: SplitReport) -> Sequence[Finding | None]:
    masks = split.masks
    return () if masks is None else (masks.background, masks.ignored, masks.no_class)


def _one_class(split: SplitReport) -> Sequence[Finding | None]:
    return () if split.masks is None else (split.masks.one_class,)


def _skipped(report: Report) -> tuple[int, Sequence[str]]:
    names = [f"{split.name}: {one.name}" for split in report.splits for one in split.skipped]
    return sum(split.skipped_count for split in report.splits), names


CHECKS: Mapping[str, Check] = {
    "duplicates": Check(
        "group of exact duplicates",
        "groups of exact duplicates",
        lambda report: _of_groups(report.duplicates),
        "the same image and mask twice, in one split or in two",
    ),
    "leakage": Check(
        "name or subject in several splits",
        "names or subjects in several splits",
        _leaks,
        "the same name, or images of one patient or scene by their names, in two splits",
    ),
    "near-duplicates": Check(
        "group of images that look alike",
        "groups of images that look alike",
        lambda report: _of_groups(report.near_duplicates),
        "images that look alike, by a hash that was stored when packing",
    ),
    "same-image": Check(
        "image with different masks",
        "images with different masks",
        lambda report: _of_groups(report.same_image),
        "the same image with different masks",
    ),
    "empty-masks": Check(
        "empty mask",
        "empty masks",
        lambda report: _of_units(report, _empty),
        "masks of class 0 alone, or without any class",
    ),
    "one-class-masks": Check(
        "mask of one class",
        "masks of one class",
        lambda report: _of_units(report, _one_class),
        "masks of one other class alone",
    ),
    "class-shares": Check(
        "mask with an unusual share of a class",
        "masks with an unusual share of a class",
        lambda report: _of_units(report, lambda split: [split.class_shares]),
        "masks in which the share of a class is far outside",
    ),
    "constant": Check(
        "constant image",
        "constant images",
        lambda report: _of_units(report, lambda split: [split.constant]),
        "images of one value",
    ),
    "not-finite": Check(
        "image with NaN or infinite values",
        "images with NaN or infinite values",
        lambda report: _of_units(report, lambda split: [split.not_finite]),
        "images with NaN or infinite values",
    ),
    "skipped": Check(
        "skipped input",
        "skipped inputs",
        _skipped,
        "inputs that were skipped when packing",
    ),
}


def own_counts(split: SplitReport) -> dict[str, int | None]:
    """Count what is suspicious in a split by itself, apart from its shares of classes.

    Parameters
    ----------
    split
        Its facts.

    Returns
    -------
    dict
        Check → number; None where the store cannot answer.
    """
    masks, constant, broken = split.masks, split.constant, split.not_finite
    return {
        "empty-masks": None if masks is None else masks.empty,
        "one-class-masks": None if masks is None else masks.one_class.count,
        "constant": None if constant is None else constant.count,
        "not-finite": None if broken is None else broken.count,
        "skipped": split.skipped_count,
    }


def failures(report: Report, wanted: Sequence[str]) -> list[str]:
    """Say which checks fail, or cannot be made, a sentence for each.

    Parameters
    ----------
    report
        The facts.
    wanted
        Names of checks, of :data:`CHECKS`.
    """
    found = []
    for name in wanted:
        count, first = CHECKS[name].find(report)
        if count:
            such = "; ".join(first[:_SHOWN]) + (" …" if count > _SHOWN else "")
            found.append(printable(f"{name}: found {CHECKS[name].text(count)}: {such}"))
        unknown = [
            (split.name, split.unknown[name]) for split in report.splits if name in split.unknown
        ]
        if unknown and not _is_needless(name, report):
            split, why = unknown[0]
            more = f" (and {plural(len(unknown) - 1, 'more split')})" if len(unknown) > 1 else ""
            found.append(printable(f"{name}: cannot be checked in {split}: {why}{more}"))
    return found


def _is_needless(name: str, report: Report) -> bool:
    """Whether there is nothing to check, such as leakage in one split alone."""
    return name == "leakage" and len(report.splits) < 2
