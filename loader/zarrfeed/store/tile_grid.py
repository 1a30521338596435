"""Which tiles make up a case, and which part of each does a box need?

Pure. A case of any size is cut by a regular grid into tiles of one size without overlap. The last
tile along each axis extends beyond the case and is padded there. Tiles are numbered in C order of
their place in the grid. An image of 5 × 7 pixels in tiles of 2 × 3::

      x 0  3  6
    y .---------.
    0 | 0  1  2 |     tile 5 is at place (1, 2) with origin (2, 6); its own part is 2 × 1 pixels,
    2 | 3  4  5 |     its other 2 × 2 pixels are padding
    4 | 6  7  8 |
      '---------'

The converter uses it, too.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Box: TypeAlias = tuple[slice, ...]

# Boxes of at most so many tiles along an axis are cut once, and remembered.
_FEW = 8


class TilePart(NamedTuple):
    """The part of a box that one tile holds.

    Attributes
    ----------
    tile
        Number of the tile within its case.
    inside
        A slice per axis: where the part is in the tile.
    lands
        A slice per axis, of step 1: where the part is in the box.
    """

    tile: int
    inside: Box
    lands: Box


class Cut(NamedTuple):
    """The part of a box that tiles at one place along an axis hold.

    Attributes
    ----------
    at
        Number of the tiles along the axis.
    inside, lands
        Where the part is in the tiles, and in the box; see :class:`TilePart`.
    """

    at: int
    inside: slice
    lands: slice


@dataclass(frozen=True, slots=True)
class TileGrid:
    """The tiles of one case.

    Parameters
    ----------
    size
        Size of the case along each axis in pixels, (H, W) or (D, H, W); at least 1 each.
    tile
        Size of a tile along each axis in pixels, at least 1 each.

    Raises
    ------
    ValueError
        The sizes differ in their number of axes, or one is less than 1.

    Examples
    --------
    >>> grid = TileGrid(size=(5, 7), tile=(2, 3))
    >>> grid.shape, grid.tiles
    ((3, 3), 9)
    >>> grid.place(5), grid.origin(5), grid.own_size(5)
    ((1, 2), (2, 6), (2, 1))
    """

    size: tuple[int, ...]
    tile: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.size) != len(self.tile) or min((*self.size, *self.tile), default=1) < 1:
            raise ValueError(
                "needed sizes of a case and of a tile along the same axes, at least 1 each, found "
                f"{self.size} and {self.tile}"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of tiles along each axis."""
        return tuple(-(-size // tile) for size, tile in zip(self.size, self.tile, strict=True))

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return math.prod(self.shape)

    def place(self, tile: int) -> tuple[int, ...]:
        """Return the place of a tile in the grid.

        Raises
        ------
        ValueError
            The case has no such tile.
        """
        if not 0 <= tile < self.tiles:
            raise ValueError(f"needed a tile 0 … {self.tiles - 1}, found {tile}")
        place = []
        for along in reversed(self.shape):
            tile, last = divmod(tile, along)
            place.append(last)
        return tuple(reversed(place))

    def number(self, place: Sequence[int]) -> int:
        """Return the number of the tile at a place of the grid.

        Raises
        ------
        ValueError
            The grid has no such place.

        Examples
        --------
        >>> TileGrid((5, 7), (2, 3)).number((1, 2))
        5
        """
        shape = self.shape
        if len(place) != len(shape) or any(
            not 0 <= p < n for p, n in zip(place, shape, strict=False)
        ):
            raise ValueError(f"needed a place in a grid of {shape} tiles, found {tuple(place)}")
        number = 0
        for at, along in zip(place, shape, strict=True):
            number = number * along + at
        return number

    def origin(self, tile: int) -> tuple[int, ...]:
        """Return the index of a tile's first pixel in the case."""
        return tuple(at * step for at, step in zip(self.place(tile), self.tile, strict=True))

    def own_size(self, tile: int) -> tuple[int, ...]:
        """Return the size of the part of a tile that is inside the case, not padding.

        The part begins at the tile's first pixel: it is ``tile[:h, :w]``.
        """
        return tuple(
            min(step, size - first)
            for size, step, first in zip(self.size, self.tile, self.origin(tile), strict=True)
        )

    def own_part(self, tile: int) -> Box:
        """Return where a tile's pixels inside the case are in the tile.

        Examples
        --------
        >>> TileGrid((5, 7), (2, 3)).own_part(5)
        (slice(0, 2, None), slice(0, 1, None))
        """
        return tuple(slice(0, extent) for extent in self.own_size(tile))

    def window(self, tile: int) -> Box:
        """Return where a tile's pixels inside the case are in the case.

        Examples
        --------
        >>> TileGrid((5, 7), (2, 3)).window(5)
        (slice(2, 4, None), slice(6, 7, None))
        """
        return tuple(
            slice(first, first + extent)
            for first, extent in zip(self.origin(tile), self.own_size(tile), strict=True)
        )

    def parts(self, box: Sequence[slice]) -> list[TilePart]:
        """Return which tiles a box needs, in order, and what of each.

        Parameters
        ----------
        box
            A slice per axis, inside the case; steps are positive, or None for 1. Tiles that steps
            skip are left out.

        Raises
        ------
        ValueError
            The box has another number of axes, is not inside the case, or a step is not positive.

        Examples
        --------
        >>> for part in TileGrid((5, 7), (2, 3)).parts((slice(1, 2), slice(2, 5))):
        ...     print(part.tile, part.inside, part.lands)
        0 (slice(1, 2, 1), slice(2, 3, 1)) (slice(0, 1, None), slice(0, 1, None))
        1 (slice(1, 2, 1), slice(0, 2, 1)) (slice(0, 1, None), slice(1, 3, None))
        """
        found = [TilePart(0, (), ())]
        for along, cuts in zip(self.shape, self.cuts(box), strict=True):
            found = [
                TilePart(number * along + at, (*inside, of_tile), (*lands, of_box))
                for number, inside, lands in found
                for at, of_tile, of_box in cuts
            ]
        return found

    def cuts(self, box: Sequence[slice]) -> list[tuple[Cut, ...]]:
        """Cut a box along each axis where tiles end.

        Returns
        -------
        list of tuples
            The cuts along each axis. Each combination of them is a part of the box.

        Raises
        ------
        ValueError
            As :meth:`parts`.

        Examples
        --------
        >>> y, x = TileGrid((5, 7), (2, 3)).cuts((slice(1, 2), slice(2, 5)))
        >>> [cut.at for cut in y], [cut.at for cut in x]
        ([0], [0, 1])
        """
        _require_inside(box, self.size)
        return [
            (_cut_few if part.stop - part.start <= _FEW * tile else _cut)(
                part.start, part.stop, part.step or 1, tile
            )
            for part, tile in zip(box, self.tile, strict=True)
        ]

    def pieces(self, box: Sequence[slice]) -> Iterator[tuple[tuple[int, ...], Box, Box]]:
        """Yield what :meth:`parts` returns one by one, with the place of each tile in the grid.

        Yields
        ------
        place, inside, lands
            As of a :class:`TilePart`.

        Examples
        --------
        >>> for place, inside, lands in TileGrid((5, 7), (2, 3)).pieces((slice(1, 2), slice(2, 4))):
        ...     print(place, lands)
        (0, 0) (slice(0, 1, None), slice(0, 1, None))
        (0, 1) (slice(0, 1, None), slice(1, 2, None))
        """
        for piece in itertools.product(*self.cuts(box)):
            place, inside, lands = zip(*piece, strict=True)
            yield place, inside, lands


def _cut(start: int, stop: int, step: int, tile: int) -> tuple[Cut, ...]:
    """Cut a range along one axis where tiles end."""
    landed = 0
    cuts = []
    while start < stop:
        at, first = divmod(start, tile)
        end = min(stop - at * tile, tile)
        count = -(-(end - first) // step)
        cuts.append(Cut(at, slice(first, end, step), slice(landed, landed + count)))
        landed += count
        start += count * step
    return tuple(cuts)


# Copying a small box takes hardly longer than its plan, and patches begin at few places.
_cut_few = functools.lru_cache(maxsize=4096)(_cut)


def _require_inside(box: Sequence[slice], size: tuple[int, ...]) -> None:
    fits = len(box) == len(size)
    for part, extent in zip(box, size, strict=False):
        inside = 0 <= part.start <= part.stop <= extent
        fits = fits and inside and (part.step is None or part.step > 0)
    if not fits:
        raise ValueError(f"needed a box inside a case of {size} pixels, found {tuple(box)}")


def tile_rows(first_tile: int, parts: Sequence[TilePart]) -> list[int]:
    """Return the row of the tile of each part of a box, from that of the case's first tile.

    Examples
    --------
    >>> tile_rows(100, TileGrid((5, 7), (2, 3)).parts((slice(1, 2), slice(2, 5))))
    [100, 101]
    """
    return [first_tile + part.tile for part in parts]
