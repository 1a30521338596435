"""Which pixels does a cell of starts and lengths cover?

Pure functions. A cell is ``START LENGTH START LENGTH …``, along columns or rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed_convert.sources.instances.runs import pixels_of_runs, runs_of_pixels
from zarrfeed_convert.sources.option_checks import require_choice

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NONE = frozenset(["", "nan", "none", "null", "-1"])


def is_empty(cell: str) -> bool:
    """Return whether a cell says that there is no mask.

    Examples
    --------
    >>> [is_empty(cell) for cell in ("", "NaN", "-1", "1 1")]
    [True, True, True, False]
    """
    return cell.strip().lower() in _NONE


@dataclass(frozen=True, slots=True)
class RunRules:
    """How starts and lengths are meant.

    Attributes
    ----------
    order
        ``columns``: pixels are counted down the first column, then the second. ``rows``: along the
        first row, then the second.
    base
        Number of the first pixel, 1 or 0.
    starts
        ``absolute``, or ``relative`` to the end of the run before.
    """

    order: str = "columns"
    base: int = 1
    starts: str = "absolute"

    def __post_init__(self) -> None:
        require_choice("order", self.order, ("columns", "rows"))
        require_choice("base", str(self.base), ("1", "0"))
        require_choice("starts", self.starts, ("absolute", "relative"))

    def spans(self, cell: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the first pixel of every run, counted from 0, and its length.

        Raises
        ------
        ValueError
            The cell has other than pairs of whole numbers, or a negative one.

        Examples
        --------
        >>> [each.tolist() for each in RunRules().spans("3 2 9 1")]
        [[2, 8], [2, 1]]
        """
        try:
            numbers = np.array(cell.split(), np.int64)
        except (ValueError, OverflowError):
            raise ValueError(f"{cell[:40]!r}, which is no list of whole numbers") from None
        if numbers.size % 2:
            raise ValueError(f"{numbers.size} numbers, which are no pairs of start and length")
        starts, lengths = numbers[0::2] - self.base, numbers[1::2]
        if (lengths < 0).any():
            raise ValueError(f"a run of {lengths.min()} pixels")
        if self.starts == "relative":
            before = np.cumsum(np.concatenate([[0], lengths[:-1]])) if lengths.size else lengths
            starts = np.cumsum(starts) + before
        if (starts < 0).any():
            hint = "; use -o base=0 if 0 is the first pixel" if self.base else ""
            raise ValueError(f"a run that begins at {starts.min() + self.base}{hint}")
        return starts, lengths

    def runs(self, cell: str, size: tuple[int, int]) -> NDArray[np.int64]:
        """Return the run-length code of a cell along columns, which covers the image.

        Parameters
        ----------
        cell
            Text of the cell.
        size
            (height, width) of the image.

        Raises
        ------
        ValueError
            Runs are not valid, reach beyond the image, or overlap.

        Examples
        --------
        >>> RunRules().runs("3 2", (2, 3)).tolist()
        [2, 2, 2]
        >>> RunRules("rows").runs("3 2", (2, 3)).tolist()
        [1, 1, 2, 1, 1]
        """
        pixels = size[0] * size[1]
        starts, lengths = self.spans(cell)
        most = max(int(starts.max(initial=0)), int(lengths.max(initial=0)))
        ends = starts + np.minimum(lengths, pixels + 1)
        if most > pixels or int(ends.max(initial=0)) > pixels:
            last = int(np.argmax(np.maximum(starts, ends)))
            raise ValueError(
                f"a run of {lengths[last]} pixels from {starts[last] + self.base} on, beyond the "
                f"{pixels} pixels; are the runs of an image of another size, or is -o base wrong?"
            )
        starts, ends = starts[lengths > 0], ends[lengths > 0]
        order = np.argsort(starts, kind="stable")
        starts, ends = starts[order], ends[order]
        over = np.flatnonzero(starts[1:] < ends[:-1])
        if over.size:
            raise ValueError(
                f"runs that overlap, at pixel {starts[1:][over[0]] + self.base}; was the file "
                "written otherwise, such as -o starts=relative?"
            )
        bounds = np.concatenate([[0], np.stack([starts, ends], axis=1).ravel(), [pixels]])
        runs: NDArray[np.int64] = np.diff(bounds).astype(np.int64)
        if self.order == "columns":
            return runs
        return runs_of_pixels(pixels_of_runs(runs).reshape(size))
