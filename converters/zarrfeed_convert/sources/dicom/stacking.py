"""How does a series become a volume, and where are its voxels?"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import SourceError, look_up
from zarrfeed_convert.sources.dicom.regularity import (
    BEFORE_PLACES,
    OF_PLACES,
    is_placed,
    origin_of,
    placed_plane,
)
from zarrfeed_convert.sources.dicom.slices import LPS_TO_RAS, normal_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed_convert.header import Affine
    from zarrfeed_convert.sources.dicom.regularity import Irregular
    from zarrfeed_convert.sources.dicom.slices import Series, Slice


class Stacker:
    """Makes volumes of series.

    Parameters
    ----------
    strict
        Refuse a series that is no regular stack. Else it becomes the nearest volume, and a remark
        says so.
    """

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self._found: dict[str, list[str]] = defaultdict(list)

    @property
    def remarks(self) -> tuple[tuple[str, str, str], ...]:
        """What was irregular, as :class:`zarrfeed_convert.Source` has remarks."""
        return tuple(
            ("geometry", f"{subject} in {len(found)} series", f"such as {found[0]}")
            for subject, found in self._found.items()
        )

    def stack(self, series: Series) -> Series:
        """Return a series with the slices of its volume, in order, and with its affine.

        Raises
        ------
        SourceError
            The series is no regular stack, and must be. The message names files and what was found
            in them.
        """
        slices: Sequence[Slice] = series.slices
        for checks in (BEFORE_PLACES, OF_PLACES):
            for check in checks:
                slices, irregular = check(slices)
                if irregular:
                    self._report(series.place, irregular)
            if not is_placed(slices[0]):
                return replace(series, slices=tuple(slices))
        return replace(series, slices=tuple(slices), affine=_affine(slices))

    def _report(self, place: str, what: Irregular) -> None:
        if self._strict:
            raise SourceError(
                f"{place}: needed {what.needed}, found {what.found}; {what.advice}; with "
                f"--geometry warn, {what.outcome}"
                f"{look_up('geometry')}"
            )
        self._found[what.subject].append(f"{place}: found {what.found}; {what.outcome}")


def _affine(slices: Sequence[Slice]) -> Affine | None:
    """Return the affine from (z, y, x) to RAS; None for a single slice of unknown depth."""
    first, last = slices[0], slices[-1]
    if len(slices) > 1:
        step = (origin_of(last) - origin_of(first)) / (len(slices) - 1)
    elif first.depth is not None:
        step = normal_of(placed_plane(first)) * first.depth
    else:
        return None
    matrix = np.eye(4)
    matrix[:3] = LPS_TO_RAS @ np.column_stack([step, placed_plane(first)])
    return tuple(tuple(map(float, row)) for row in matrix)
