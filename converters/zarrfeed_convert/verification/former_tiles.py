"""How were images cut into the overlapping tiles of splits of before?

Earlier versions packed them by ``--fit tile --overlap``. Such splits are verified, also against
their originals; nothing writes them any more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zarrfeed_convert.geometry import Geometry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed_convert.geometry import Size

FORMER_FIT = "tile"  # as those splits record it


@dataclass(frozen=True, slots=True)
class FormerTiles(Geometry):
    """Tiles that cover a sample; the last one along an axis ends at its border.

    Attributes
    ----------
    overlap
        Number of pixels that neighbours share along every axis; the last one may share more.

    Examples
    --------
    >>> FormerTiles((2, 2), "grid").origins((3, 4))
    [(0, 0), (0, 2), (1, 0), (1, 2)]
    """

    overlap: int = 0

    def is_cut_into(self, size: Size, origins: set[Size]) -> bool:
        """Return whether `origins` are those of a sample of a size, which may be damaged."""
        count = math.prod(len(steps) + 1 for steps, _ in self._steps(size))
        return count == len(origins) and origins == set(self.origins(size))

    def pads(self, size: Size) -> bool:
        """Return whether a sample of a size must be padded."""
        return any(map(int.__lt__, size, self.size))

    def _starts(self, size: Size) -> list[Sequence[int]]:
        """Return where tiles begin along each axis."""
        return [[*steps, last] for steps, last in self._steps(size)]

    def _steps(self, size: Size) -> list[tuple[range, int]]:
        """Return where all but the last tile along each axis begin, and where that does."""
        ends = [max(0, old - new) for old, new in zip(size, self.size, strict=True)]
        return [
            (range(0, end, new - self.overlap), end)
            for end, new in zip(ends, self.size, strict=True)
        ]
