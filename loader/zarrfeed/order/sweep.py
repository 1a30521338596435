"""In which order are the patches of a case predicted, and when is which part of it final?

Pure. Patches come in C order of their grid. Those with the same first coordinate are a *band*; the
next band begins further on, so that all planes before it are final. Four bands of patches of 4
planes, in a case of 9 planes, step 2::

    plane    0 1 2 3 4 5 6 7 8
    band 0   x x x x              final: 0, 1
    band 1       x x x x          final: 2, 3
    band 2           x x x x      final: 4
    band 3             x x x x    final: 5 to 8
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from zarrfeed.order.grid_draws import overlapping_cells, overlapping_origins

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from zarrfeed.order.patches import GridPatches


class Band(NamedTuple):
    """Patches with the same first coordinate.

    Attributes
    ----------
    start, stop
        The planes of the case that they cover.
    final
        Number of planes of the case that no later patch covers.
    covering
        For this band and those before it that cover its first plane, where in them this plane is.
    """

    start: int
    stop: int
    final: int
    covering: tuple[int, ...]


class Part(NamedTuple):
    """What a patch covers of its case, without the first axis, along which this is its band.

    Attributes
    ----------
    inside
        A slice per axis but the first: where the part is in the patch.
    lands
        A slice per axis but the first: where it is in the case.
    """

    inside: tuple[slice, ...]
    lands: tuple[slice, ...]


class Sweep:
    """The patches of a regular grid over one case.

    Parameters
    ----------
    size
        Size of the case in pixels.
    patches
        Which patches.

    Attributes
    ----------
    bands
        The bands in order.
    parts
        What the patches of every band cover, in order.
    inside
        Where the planes of a band are in its patches.

    Examples
    --------
    >>> from zarrfeed.order.patches import GridPatches
    >>> sweep = Sweep((9, 3), GridPatches((4, 4), overlap=0.5))
    >>> [band.final for band in sweep.bands], sweep.parts
    ([2, 4, 5, 9], [Part(inside=(slice(0, 3, None),), lands=(slice(0, 3, None),))])
    """

    def __init__(self, size: tuple[int, ...], patches: GridPatches) -> None:
        cells = overlapping_cells(np.array([size]), patches)[0]
        places = np.arange(cells.max())[:, None].repeat(len(size), axis=1)
        origins = overlapping_origins(places, np.array([size]), patches)
        cuts = [
            [_cut(origin, extent, whole) for origin in origins[:count, axis].tolist()]
            for axis, (count, extent, whole) in enumerate(
                zip(cells.tolist(), patches.size, size, strict=True)
            )
        ]
        first = [lands for _, lands in cuts[0]]
        final = [*(lands.start for lands in first[1:]), size[0]]
        self.size = size
        self.inside = cuts[0][0][0]
        self.bands = [
            Band(lands.start, lands.stop, end, _covering(first, number))
            for number, (lands, end) in enumerate(zip(first, final, strict=True))
        ]
        self.parts = list(_parts(cuts[1:]))

    @property
    def patches(self) -> int:
        """Number of patches."""
        return len(self.bands) * len(self.parts)


def _cut(origin: int, extent: int, whole: int) -> tuple[slice, slice]:
    """Return the part of a patch along an axis that is in the case: in the patch, in the case."""
    start, stop = max(origin, 0), min(origin + extent, whole)
    return slice(start - origin, stop - origin), slice(start, stop)


def _covering(bands: Sequence[slice], number: int) -> tuple[int, ...]:
    start = bands[number].start
    before = itertools.takewhile(lambda band: band.stop > start, reversed(bands[: number + 1]))
    return tuple(start - band.start for band in before)


def _parts(cuts: Sequence[Sequence[tuple[slice, slice]]]) -> Iterator[Part]:
    for along in itertools.product(*cuts):
        yield Part(tuple(inside for inside, _ in along), tuple(lands for _, lands in along))
