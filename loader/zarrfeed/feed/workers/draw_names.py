"""What are the samples or patches of a batch called in error messages?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed.order.draws import FREE, SAMPLE_DRAW
from zarrfeed.store.descriptive_arrays import case_names, sample_names
from zarrfeed.store.names import origin_text

if TYPE_CHECKING:
    from zarrfeed.order.draws import Draws
    from zarrfeed.store.split import Split

_SHOWN = 4


def draw_keys(split: Split, draws: Draws) -> list[str]:
    """Return the key of the sample of each draw; of patches that of the case or sample."""
    if draws.dtype == SAMPLE_DRAW:
        return sample_names(split, draws["id"])
    return case_names(split, draws["case"])


class DrawNames:
    """The names of draws, read only when an error message needs them."""

    def __init__(self, split: Split, draws: Draws) -> None:
        self._split = split
        self._draws = draws.copy()

    def __str__(self) -> str:
        shown = self._draws[:_SHOWN]
        names = draw_keys(self._split, shown)
        if shown.dtype != SAMPLE_DRAW:
            names = [
                f"patch at {origin_text(draw['origin'])} of {name}"
                if draw["tile"] == FREE
                else f"patch around a pixel of class {draw['label']} of {name}"
                for name, draw in zip(names, shown, strict=True)
            ]
        more = len(self._draws) - _SHOWN
        return ", ".join(names) + (f" and {more} more" if more > 0 else "")
