"""Which parts of a case are decoded together, to cut tiles from them?

Pure. A window that is read from a file costs more than its pixels: chunks that it touches (slices,
strips, tiles) are decoded as a whole, and every read has a fixed cost. Neighbouring tiles are
therefore read together, as many as fit in a given number of bytes: the case, slabs of planes, rows
of tiles, or some tiles of a row. Chunks are divided only where they are too large themselves.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from zarrfeed_convert.source import window_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from zarrfeed_convert.geometry import Size
    from zarrfeed_convert.source import Window

# Decoded bytes of all fields. 64 slices of 512x512 int16 with their masks have 48 MiB.
PART_NBYTES = 64 << 20
# For the sake of chunks that are not divided.
LARGEST_PART_NBYTES = 512 << 20


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
    chunk: Size = (),
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
    chunk
        What the source decodes as a whole; see :meth:`Source.decoded_together`.
    most
        Maximum number of decoded bytes of a part, unless one tile has more, or chunks would be
        divided.

    Examples
    --------
    >>> origins = [(0, 0), (0, 4), (4, 0), (4, 4)]
    >>> [part.window for part in divide_tiles(range(4), origins, size=(7, 8), tile=(4, 4),
    ...                                       pixel_nbytes=1, most=32)]
    [(slice(0, 4, None), slice(0, 8, None)), (slice(4, 7, None), slice(0, 8, None))]
    """
    divider = _Divider(
        size,
        tile,
        chunk or (1,) * len(size),
        most // max(1, pixel_nbytes),
        LARGEST_PART_NBYTES // max(1, pixel_nbytes),
    )
    yield from divider.divide([*zip(rows, origins, strict=True)], 0)


def largest_part(size: Size, tile: Size, *, pixel_nbytes: int, chunk: Size) -> int:
    """Return the decoded bytes of the largest part of a case, as :func:`divide_tiles` divides it.

    Examples
    --------
    >>> largest_part((64, 2048, 2048), (64, 64, 64), pixel_nbytes=1, chunk=(1, 2048, 2048)) >> 20
    256
    """
    first = [range(0, min(size[0], tile[0]), tile[0])]
    origins = [*itertools.product(*first, *map(range, (0,) * len(size[1:]), size[1:], tile[1:]))]
    parts = divide_tiles(
        range(len(origins)), origins, size=size, tile=tile, pixel_nbytes=pixel_nbytes, chunk=chunk
    )
    pixels: int = max(_pixels(part.window) for part in parts)
    whole = math.prod(size) * pixel_nbytes
    return max(pixels * pixel_nbytes, min(whole, PART_NBYTES))


def divide_case(
    size: Size, pixel_nbytes: int, *, chunk: Size = (), most: int = PART_NBYTES
) -> Iterator[Window]:
    """Divide all of a case into parts of at most so many decoded bytes.

    Parameters
    ----------
    size
        Size of the case.
    pixel_nbytes, chunk, most
        As for :func:`divide_tiles`.

    Examples
    --------
    >>> [*divide_case((5, 4), 1, most=8)]
    [(slice(0, 2, None), slice(0, 4, None)), (slice(2, 4, None), slice(0, 4, None)), \
(slice(4, 5, None), slice(0, 4, None))]
    """
    left, steps = most // max(1, pixel_nbytes), []
    for extent, least in zip(reversed(size), reversed(chunk or (1,) * len(size)), strict=True):
        step = min(extent, max(left // least * least, least))
        steps.append(step)
        left //= extent
    along = [
        [slice(at, min(at + step, extent)) for at in range(0, extent, step)]
        for extent, step in zip(size, reversed(steps), strict=True)
    ]
    return itertools.product(*along)


_Tiles: TypeAlias = "list[tuple[int, Size]]"  # rows and origins


@dataclass(frozen=True, slots=True)
class _Divider:
    """Divides tiles into parts of at most so many pixels."""

    size: Size
    tile: Size
    chunk: Size
    most: int
    largest: int

    def divide(self, tiles: _Tiles, axis: int) -> Iterator[CasePart]:
        """Divide tiles that have the same place along the axes before `axis`."""
        window = self._window(tiles)
        if axis == len(self.size) or _pixels(window) <= self.most:
            yield CasePart(window, [row for row, _ in tiles])
            return
        part: _Tiles = []
        several = False
        for _, group in itertools.groupby(tiles, key=lambda tile: tile[1][axis]):
            some = [*group]
            wider = _around(window, self._window(some)) if part else self._window(some)
            if part and not self._fits(wider, axis):
                yield from self._part(part, window, axis, several=several)
                part, several, wider = [], False, self._window(some)
            several |= bool(part)
            part += some
            window = wider
        yield from self._part(part, window, axis, several=several)

    def _part(
        self, tiles: _Tiles, window: Window, axis: int, *, several: bool
    ) -> Iterator[CasePart]:
        """Divide further; several places along the axis would then lose their C order."""
        if several:
            yield CasePart(window, [row for row, _ in tiles])
        else:
            yield from self.divide(tiles, axis + 1)

    def _fits(self, window: Window, axis: int) -> bool:
        """Return whether a window may be one part: it is small, or along an axis one chunk."""
        pixels, along = _pixels(window), window[axis]
        within = along.stop - along.start < self.chunk[axis] + self.tile[axis]
        return pixels <= self.most or (within and pixels <= self.largest)

    def _window(self, tiles: _Tiles) -> Window:
        origins = (origin for _, origin in tiles)
        return tuple(
            slice(min(along), min(max(along) + new, old))
            for along, new, old in zip(
                zip(*origins, strict=True), self.tile, self.size, strict=True
            )
        )


def _around(one: Window, other: Window) -> Window:
    return tuple(
        slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other, strict=True)
    )


def _pixels(window: Window) -> int:
    return math.prod(window_size(window))
