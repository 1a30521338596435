"""Which pages of a TIFF stack make a volume, and where are its voxels?

Pure: it takes axes. Pages are numbered as the samples of a stack of which each page is one:

    axes TZ of 2×3    volume t=0: pages 0 1 2    volume t=1: pages 3 4 5
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    from zarrfeed_convert.sources.axes import Axes


@dataclass(frozen=True, slots=True)
class PageVolumes:
    """The volumes of a stack.

    Attributes
    ----------
    letters, counts
        The axes that count pages, and their lengths.
    axis
        Which of them is the depth; None if volumes are single pages.

    Examples
    --------
    >>> volumes = PageVolumes("TZ", (2, 3), 1)
    >>> volumes.count, volumes.depth, volumes.pages(1), volumes.label(1)
    (2, 3, [3, 4, 5], 't=1')
    """

    letters: str
    counts: tuple[int, ...]
    axis: int | None

    @property
    def depth(self) -> int:
        """The number of planes of a volume."""
        return 1 if self.axis is None else self.counts[self.axis]

    @property
    def count(self) -> int:
        """The number of volumes."""
        return prod(self.counts) // self.depth

    @property
    def is_spatial(self) -> bool:
        """Whether its planes may be at distances: times and channels are at none."""
        return self.axis is None or self.letters[self.axis] not in "TCS"

    def pages(self, volume: int) -> list[int]:
        """Return the numbers of a volume's pages, in order."""
        numbers = np.arange(prod(self.counts)).reshape(self.counts)
        if self.axis is not None:
            numbers = np.moveaxis(numbers, self.axis, -1)
        found: list[int] = numbers.reshape(-1, self.depth)[volume].tolist()
        return found

    def label(self, volume: int) -> str:
        """Name a volume by its place along the other axes; empty if it is the only one."""
        others = [at for at in range(len(self.counts)) if at != self.axis]
        places = np.unravel_index(volume, tuple(self.counts[at] for at in others))
        named = zip(others, places, strict=True)
        return ",".join(f"{self.letters[at].lower()}={int(place)}" for at, place in named)


def volumes_of(axes: Axes, stored: str, *, along: str, name: str) -> PageVolumes:
    """Find the depth among the axes that count pages.

    Parameters
    ----------
    axes
        The axes of the stack.
    stored
        The letters of all its axes, those of length 1, too.
    along
        The letter of the depth; empty for Z, or the only axis that is not T.
    name
        The file, for errors.

    Raises
    ------
    SourceError
        There is no such axis, or it is not clear which one is the depth.
    """
    letters = axes.counted
    shown = f"axes {axes.letters} of {'×'.join(map(str, axes.sizes))}"
    if along and (len(along) > 1 or letters.count(along) > 1 or along not in stored):
        raise SourceError(
            f"{name}: needed one axis of planes, --option axis={along}, found the {shown}; give "
            "the letter of one of them"
        )
    if along:
        return PageVolumes(letters, axes.counts, letters.index(along) if along in letters else None)
    if letters.count("Z") == 1:
        return PageVolumes(letters, axes.counts, letters.index("Z"))
    if len(letters) <= 1 and letters != "T":
        return PageVolumes(letters, axes.counts, 0 if letters else None)
    raise SourceError(
        f"{name}: needed an axis Z, or one axis of planes, found the {shown}; if one of "
        f"{', '.join(letters)} counts the planes of a volume, say so by --option axis={letters[-1]}"
    )
