"""Which colour has each class?

Pure. Every picture of a dataset uses the same colours: the demonstration, previews, reports, and
what notebooks show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

IGNORED = (128, 128, 128)  # the colour of the ignore id
UNKNOWN = (255, 255, 255)  # the colour of ids that no class has

_BACKGROUND = frozenset(["background", "bg", "0"])  # classes without names are numbers
_GOLDEN = 0.381966  # of a turn: hues of neighbouring classes are far apart, whatever their number
# After so many classes hues come close to each other, and saturation and brightness change. The
# steps of both are those that fill a square evenly; 48 classes make the colours of all uint16 ids
# distinct, which was found by trying.
_RING = 48
_EVENLY = (0.7548776662, 0.5698402910)
_DISTINCT = 1 << 16


def class_colors(names: Sequence[str]) -> NDArray[np.uint8]:
    """Choose distinct colours for classes, with hues by the golden angle.

    Parameters
    ----------
    names
        Class names. The first class is black if it is called background, bg or 0.

    Returns
    -------
    (classes, 3) uint8
        RGB values. They are distinct for up to 65,536 classes, and repeat after these.

    Examples
    --------
    >>> class_colors(["background", "cell"]).tolist()
    [[0, 0, 0], [85, 242, 131]]
    """
    colors = number_colors(np.arange(len(names)))
    if names and _is_background(names[0]):
        colors[0] = 0
    return colors


def number_colors(numbers: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the colours of classes or instances that have numbers only.

    Parameters
    ----------
    numbers
        (…) integers from 0 on.

    Returns
    -------
    (…, 3) uint8

    Examples
    --------
    >>> number_colors(np.array([0, 1])).tolist()
    [[242, 85, 85], [85, 242, 131]]
    """
    numbers = np.asarray(numbers).astype(np.int64) % _DISTINCT
    ring = numbers // _RING
    saturation = np.where(ring == 0, 0.65, 0.4 + 0.6 * (ring * _EVENLY[0] % 1))[..., None]
    value = np.where(ring == 0, 0.95, 0.5 + 0.5 * (ring * _EVENLY[1] % 1))[..., None]
    sector = (np.array([5, 3, 1]) + 6 * (numbers * _GOLDEN % 1)[..., None]) % 6
    shade = np.clip(np.minimum(sector, 4 - sector), 0, 1)
    colors: NDArray[np.float64] = value * (1 - saturation * shade) * 255
    return np.round(colors).astype(np.uint8)


def _is_background(name: str) -> bool:
    return name.strip(" _").lower() in _BACKGROUND


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of the masks of a dataset.

    Attributes
    ----------
    names
        Class names by id. If there are none, every id but 0 has a colour.
    ignore
        The id of pixels of no class, which are grey; None if there is none.
    multi_hot
        Whether masks have a last axis of one channel per class, rather than class ids.
    """

    names: tuple[str, ...] = ()
    ignore: int | None = None
    multi_hot: bool = False

    @classmethod
    def of(cls, names: Sequence[str], ignore: int | None = None, multi_hot: bool = False) -> Self:
        """Make a palette; see the attributes."""
        return cls(tuple(names), ignore, multi_hot)

    @property
    def background(self) -> int | None:
        """The id that pictures leave transparent; None if all classes have a colour."""
        if self.names:
            return 0 if _is_background(self.names[0]) else None
        return None if self.multi_hot else 0

    @property
    def colors(self) -> NDArray[np.uint8]:
        """The colours of the named classes, (classes, 3) uint8."""
        return class_colors(self.names)

    def legend(self, ids: Sequence[int] | None = None) -> list[tuple[str, tuple[int, int, int]]]:
        """Name the colours.

        Parameters
        ----------
        ids
            The ids to name; by default all named classes and the ignored id.

        Returns
        -------
        list of (str, (red, green, blue))

        Examples
        --------
        >>> Palette(("background", "cell"), ignore=255).legend()
        [('background', (0, 0, 0)), ('cell', (85, 242, 131)), ('ignored', (128, 128, 128))]
        >>> Palette().legend([7])
        [('7', (91, 85, 242))]
        """
        if ids is None:
            ids = [*range(len(self.names)), *(() if self.ignore is None else (self.ignore,))]
        colors = self.colors_of_ids(np.array(ids, np.int64)).tolist()
        return [(self._name(id_), (r, g, b)) for id_, (r, g, b) in zip(ids, colors, strict=True)]

    def _name(self, id_: int) -> str:
        if id_ == self.ignore and not self.multi_hot:
            return "ignored"
        if 0 <= id_ < len(self.names):
            return self.names[id_]
        return f"{id_}, no class" if self.names else str(id_)

    def colors_of_ids(self, ids: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the colours of ids; the background is black.

        Parameters
        ----------
        ids
            (…) integers.

        Returns
        -------
        (…, 3) uint8
        """
        if self.names:
            table = np.concatenate([self.colors, [UNKNOWN]]).astype(np.uint8)
            known = (ids >= 0) & (ids < len(self.names))
            colors = table[np.where(known, ids, len(self.names)).astype(np.int64)]
        else:
            colors = np.where((ids >= 0)[..., None], number_colors(ids), UNKNOWN).astype(np.uint8)
            if self.background is not None:
                colors[ids == self.background] = 0
        if self.ignore is not None and not self.multi_hot:
            colors[ids == self.ignore] = IGNORED
        return colors
