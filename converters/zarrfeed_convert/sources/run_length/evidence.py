"""Do runs look as if they were read in the wrong order, or from the wrong first pixel?

Runs that are read wrongly often fit the image all the same. But of a shape, runs of neighbouring
lines lie side by side; and a shape that touches the border ends there, not one pixel further. Pure
functions of runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from zarrfeed_convert.sources.run_length.cells import RunRules

_ENOUGH = 20  # pairs of runs, or runs at a border, below which nothing is said
_TIMES = 9  # so many pairs speak for the other order, for one that speaks against it


@dataclass(frozen=True, slots=True)
class Spans:
    """The runs of a cell: first pixels, counted from 0, lengths, and the image's size."""

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    size: tuple[int, int]


def doubts_of(cells: Iterable[Spans], rules: RunRules) -> str:
    """Return what runs say against the rules by which they are read; empty if nothing.

    Parameters
    ----------
    cells
        Runs of some cells, as read by the rules.
    rules
        The rules.

    Returns
    -------
    str
        What was found, and the option to try.
    """
    beside, across = 0, 0
    touching = {"start": 0, "end": 0, "early": 0, "late": 0}
    for cell in cells:
        height, width = cell.size
        lines = (height, width) if rules.order == "columns" else (width, height)
        along, other = (_side_by_side(cell, line) for line in lines)
        beside += int((along & ~other).sum())
        across += int((other & ~along).sum())
        ends, line = cell.starts + cell.lengths, lines[0]
        long = cell.lengths > 1
        touching["start"] += int((long & (cell.starts % line == 0)).sum())
        touching["end"] += int((long & (ends % line == 0)).sum())
        touching["early"] += int((long & (cell.starts % line == line - 1)).sum())
        touching["late"] += int((long & (ends % line == 1)).sum())
    other_order = "rows" if rules.order == "columns" else "columns"
    if across >= max(_ENOUGH, _TIMES * beside):
        return (
            f"{across} of {across + beside} runs continue the one before if pixels are counted "
            f"along {other_order}; use -o order={other_order}"
        )
    # Runs that cross a border by one pixel are rare, if they are read rightly.
    if rules.base == 1 and touching["early"] >= max(_ENOUGH, touching["start"]):
        return _of_border(touching["early"], "begin one pixel before", rules.order, 0)
    if rules.base == 0 and touching["late"] >= max(_ENOUGH, touching["end"]):
        return _of_border(touching["late"], "end one pixel after", rules.order, 1)
    return ""


def _of_border(count: int, what: str, order: str, base: int) -> str:
    line = order.removesuffix("s")
    return f"{count} runs {what} the border of a {line}; use -o base={base}"


def _side_by_side(cell: Spans, line: int) -> NDArray[np.bool_]:
    """Return, for each run after the first, whether it lies beside the one before it."""
    ends = cell.starts + cell.lengths
    begin, end = cell.starts[1:] - line, ends[1:] - line
    beside: NDArray[np.bool_] = (begin < ends[:-1]) & (end > cell.starts[:-1])
    return beside
