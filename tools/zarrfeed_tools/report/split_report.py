"""Collect the facts of one split from its descriptive arrays."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed import StoreError, open_cases
from zarrfeed.store.schema import CHANNEL_SUMS, CLASS_PIXELS, DHASH, DIGEST, MASK
from zarrfeed_tools.report.channels import are_constant, not_finite
from zarrfeed_tools.report.class_counting import Counts, Labelling, total_of
from zarrfeed_tools.report.class_table import class_facts
from zarrfeed_tools.report.facts import (
    MOST_SKIPPED,
    Finding,
    MaskFindings,
    Skipped,
    SplitReport,
)
from zarrfeed_tools.report.histograms import CaseSpread, histogram_of
from zarrfeed_tools.report.population import finding_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from zarrfeed_tools.inspection import SplitFacts
    from zarrfeed_tools.report.units import Units

# Check → the array that it needs.
_NEEDED = {
    "duplicates": DIGEST,
    "same-image": CHANNEL_SUMS,
    "near-duplicates": DHASH,
    "empty-masks": CLASS_PIXELS,
    "one-class-masks": CLASS_PIXELS,
    "class-shares": CLASS_PIXELS,
    "constant": CHANNEL_SUMS,
    "not-finite": CHANNEL_SUMS,
}


def report_of_split(units: Units, facts: SplitFacts, *, quick: bool = False) -> SplitReport:
    """Collect the facts of a split.

    Parameters
    ----------
    units
        Its units.
    facts
        What was found in its metadata.
    quick
        Whether to leave out the class table, and units whose shares are far outside.

    Raises
    ------
    StoreError
        A descriptive array is damaged.
    """
    skipped = facts.packed.get("skipped", ())
    report = SplitReport(
        name=units.name,
        facts=facts,
        unit="sample" if units.table is None else "case",
        units=len(units),
        found=facts.packed.get("found"),
        skipped=tuple(
            Skipped(str(one.get("name", "")), str(one.get("why", "")))
            for one in skipped[:MOST_SKIPPED]
        ),
        skipped_count=len(skipped),
        spread=_spread_of(units),
        unknown=_unknown(units),
    )
    if "constant" not in report.unknown:
        constant, broken = _channel_findings(units)
        report = dataclasses.replace(report, constant=constant, not_finite=broken)
    if MASK in units.split.layouts and "empty-masks" not in report.unknown:
        report = _with_classes(report, units, quick=quick)
    return report


def _unknown(units: Units) -> dict[str, str]:
    """Say why checks cannot be made."""
    found = {check: why for check, array in _NEEDED.items() if (why := units.lacks(array))}
    if MASK not in units.split.layouts or units.split.instances:
        for check in ("empty-masks", "one-class-masks", "class-shares"):
            found.pop(check, None)  # there are no classes, then
    if units.split.instances:
        found["empty-masks"] = "its masks are numbers of instances, whose pixels are not counted"
    if "duplicates" in found and "same-image" not in found:
        found["same-image"] = found["duplicates"]
    if not units.has_names:
        found["leakage"] = "it has no names of its samples"
    return found


def _channel_findings(units: Units) -> tuple[Finding, Finding]:
    constant, broken = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for first, sums in units.sums(CHANNEL_SUMS, np.float64):
        pixels = units.pixels(first, len(sums))
        constant.append(first + np.flatnonzero(are_constant(sums, pixels)))
        broken.append(first + np.flatnonzero(not_finite(sums)))
    return finding_of(units, np.concatenate(constant)), finding_of(units, np.concatenate(broken))


def _with_classes(report: SplitReport, units: Units, *, quick: bool) -> SplitReport:
    split = units.split
    count = split.layouts[CLASS_PIXELS].shape[1]
    if split.classes and count != len(split.classes):
        why = (
            f"its {CLASS_PIXELS} counts {count:,} classes, found {len(split.classes):,}: restore "
            "it, or convert again"
        )
        unknown = dict.fromkeys(("empty-masks", "one-class-masks", "class-shares"), why)
        return dataclasses.replace(report, unknown=report.unknown | unknown)
    labelling = Labelling(count, split.ignore, split.multi_hot)
    total = total_of(_counts_of(units, labelling), labelling)
    if not quick:
        table, far = class_facts(units, lambda: _counts_of(units, labelling), total, labelling)
        report = dataclasses.replace(report, classes=table, class_shares=far)
    findings: Mapping[str, NDArray[np.int64]] = total.kinds
    masks = {kind: finding_of(units, which) for kind, which in findings.items()}
    nothing = Finding(0)
    return dataclasses.replace(
        report,
        masks=MaskFindings(
            masks.get("background", nothing),
            masks.get("ignored", nothing),
            masks.get("no_class", nothing),
            masks.get("one_class", nothing),
        ),
    )


def _counts_of(units: Units, labelling: Labelling) -> Iterator[Counts]:
    """Read the pixels of each class in each unit, and check them.

    Raises
    ------
    StoreError
        A count is negative, or there are more than pixels.
    """
    for first, classes in units.sums(CLASS_PIXELS, np.int64):
        pixels = units.pixels(first, len(classes))
        wrong = (classes < 0).any(axis=1) | (classes > pixels[:, None]).any(axis=1)
        if not labelling.multi_hot:
            wrong |= classes.sum(axis=1) > pixels
        if wrong.any():
            place = int(np.argmax(wrong))
            [key] = units.keys([first + place])
            raise StoreError(
                f"{units.split.path / CLASS_PIXELS}: needed counts of {pixels[place]:,} pixels for "
                f"{key}, found {classes[place].tolist()!s:.200}: restore it, or convert again"
            )
        yield Counts(first, classes, pixels)


def _spread_of(units: Units) -> CaseSpread | None:
    if units.table is None:
        return None
    spacings = open_cases(units.split).spacings
    known = None if spacings is None else spacings[np.isfinite(spacings).all(axis=1)]
    return CaseSpread(
        tuple(map(histogram_of, units.table.sizes.T)),
        None if known is None or not len(known) else tuple(map(histogram_of, known.T)),
    )
