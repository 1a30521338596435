"""The class table of a split, and the units in which the share of a class is far outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zarrfeed_convert import percentage
from zarrfeed_tools.report.class_counting import shares_of, together
from zarrfeed_tools.report.class_rows import ClassRow, ClassTable
from zarrfeed_tools.report.facts import MOST_UNITS
from zarrfeed_tools.report.outliers import far_shares
from zarrfeed_tools.report.population import finding_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from zarrfeed_tools.report.class_counting import Counts, Labelling, MaskTotals, Shares
    from zarrfeed_tools.report.facts import Finding
    from zarrfeed_tools.report.units import Units


def class_facts(
    units: Units,
    blocks: Callable[[], Iterable[Counts]],
    total: MaskTotals,
    labelling: Labelling,
) -> tuple[ClassTable, Finding]:
    """Make the class table of a split.

    Parameters
    ----------
    units
        Its units.
    blocks
        Reads the pixels of each class in each unit.
    total, labelling
        What was counted of all units, and what counts mean.

    Returns
    -------
    table, far
        The table; and the units in which the share of a class is far outside, the farthest first.
    """
    names = units.split.classes or [f"class {number}" for number in range(labelling.classes)]
    rows, far = [], _Farthest()
    for shares in shares_of(blocks, total.having):
        number = shares.class_id
        pixels = int(total.of_class[number])
        rows.append(
            ClassRow(
                number,
                names[number],
                pixels,
                pixels / total.pixels if total.pixels else 0.0,
                len(shares.units),
                float(np.median(shares.shares)) if len(shares.units) else None,
            )
        )
        if number != labelling.ignore:
            far.add(shares, units)
    ids, both = together(blocks(), total.having)
    ignored = None
    if labelling.ignore is not None:
        ignored = total.pixels - int(total.of_class.sum())
        if labelling.ignore < labelling.classes:
            ignored = int(total.of_class[labelling.ignore])
    table = ClassTable(tuple(rows), ignored, ids, tuple(map(tuple, both.tolist())))
    return table, far.finding(units, names)


class _Farthest:
    """The class of each unit whose share is the farthest from the median of the class."""

    def __init__(self) -> None:
        # Unit → distance, class, share, median.
        self._of: dict[int, tuple[float, int, float, float]] = {}

    def add(self, shares: Shares, units: Units) -> None:
        """Add the units whose share of a class is far outside."""
        if not len(shares.units):
            return
        one_pixel = 1 / units.pixels_of(shares.units)
        found = far_shares(shares.shares, one_pixel)
        for place, distance in zip(found.places.tolist(), found.distances.tolist(), strict=True):
            unit = int(shares.units[place])
            if distance > self._of.get(unit, (0.0,))[0]:
                share = float(shares.shares[place])
                self._of[unit] = (distance, shares.class_id, share, found.median)

    def finding(self, units: Units, names: Sequence[str]) -> Finding:
        """Return the finding, the farthest first."""
        order = sorted(self._of, key=lambda unit: (-self._of[unit][0], unit))
        reasons = []
        for unit in order[:MOST_UNITS]:
            _, number, share, median = self._of[unit]
            what = "image" if len(units.sample_size) == 2 else "volume"
            reasons.append(
                f"{names[number]} on {percentage(share)} of the {what}, median {percentage(median)}"
            )
        return finding_of(units, np.array(order, np.int64), reasons)
