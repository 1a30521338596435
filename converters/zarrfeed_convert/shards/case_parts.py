"""Which parts of a case are decoded together, to cut tiles from them?

Pure. A window that is read from a file costs more than its pixels: chunks that it touches are
decoded as a whole, and every read has a fixed cost. Neighbouring tiles are therefore read together,
as many as fit in a given number of bytes: the case, a slab of planes, a band of rows, or one tile.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from zarrfeed_convert.geometry import Size
    from zarrfeed_convert.source import Window

# Decoded bytes of all fields. 64 slices of 512x512 int16 with their masks have 48 MiB.
PART_NBYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class CasePart:
    """A part of a case to decode.

    Attributes
    ----------
    window
        The part.
    rows
        Rows whose tiles are in it.
    """

    window: Window
    rows: Sequence[int]

    @property
    def origin(self) -> Size:
        """Where the part begins."""
        return tuple(along.start for along in self.window)


def divide_tiles(
    rows: Sequence[int],
    origins: Sequence[Size],
    *,
    size: Size,
    tile: Size,
    pixel_nbytes: int,
    most: int = PART_NBYTES,
) -> Iterator[CasePart]:
    """Divide tiles of a case into parts that are decoded together.

    Parameters
    ----------
    rows
        Rows of the tiles.
    origins
        Where they begin, in C order of the grid.
    size, tile
        Size of the case, and of tiles.
    pixel_nbytes
        Decoded bytes of one pixel of all fields.
    most
        Maximum number of decoded bytes of a part, unless one tile has more.

    Examples
    --------
    >>> origins = [(0, 0), (0, 4), (4, 0), (4, 4)]
    >>> [part.window for part in divide_tiles(range(4), origins, size=(7, 8), tile=(4, 4),
    ...                                       pixel_nbytes=1, most=32)]
    [(slice(0, 4, None), slice(0, 8, None)), (slice(4, 7, None), slice(0, 8, None))]
    """
    pairs = [*zip(rows, origins, strict=True)]
    yield from _divided(pairs, 0, size, tile, most // max(1, pixel_nbytes))


def divide_case(size: Size, pixel_nbytes: int, *, most: int = PART_NBYTES) -> Iterator[Window]:
    """Divide all of a case into parts of at most so many decoded bytes.

    Parameters
    ----------
    size
        Size of the case.
    pixel_nbytes, most
        As for :func:`divide_tiles`.

    Examples
    --------
    >>> [*divide_case((5, 4), 1, most=8)]
    [(slice(0, 2, None), slice(0, 4, None)), (slice(2, 4, None), slice(0, 4, None)), \
(slice(4, 5, None), slice(0, 4, None))]
    """
    left, steps = most // max(1, pixel_nbytes), []
    for extent in reversed(size):
        step = max(1, min(extent, left))
        steps.append(step)
        left //= extent
    along = [
        [slice(at, min(at + step, extent)) for at in range(0, extent, step)]
        for extent, step in zip(size, reversed(steps), strict=True)
    ]
    return itertools.product(*along)


def _divided(
    pairs: list[tuple[int, Size]], axis: int, size: Size, tile: Size, most: int
) -> Iterator[CasePart]:
    """Divide tiles that have the same place along the axes before `axis`."""
    origins = [origin for _, origin in pairs]
    window = tuple(
        slice(min(along), min(max(along) + new, old))
        for along, new, old in zip(zip(*origins, strict=True), tile, size, strict=True)
    )
    if len(pairs) == 1 or math.prod(along.stop - along.start for along in window) <= most:
        yield CasePart(window, [row for row, _ in pairs])
        return
    for _, some in itertools.groupby(pairs, key=lambda pair: pair[1][axis]):
        yield from _divided([*some], axis + 1, size, tile, most)
