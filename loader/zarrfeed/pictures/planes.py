"""Which planes show a volume, and how large are they? Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

AXES = ("z", "y", "x")
_MOST_STRETCHED = 20  # a wrong spacing makes no picture of gigabytes


class Plane(NamedTuple):
    """A plane of a volume, across one of its axes.

    Attributes
    ----------
    axis
        0, 1 or 2: the axis that it is across.
    place
        Its index along this axis.
    size
        Its (height, width) in square pixels, as the spacing demands.
    """

    axis: int
    place: int
    size: tuple[int, int]

    @property
    def cut(self) -> tuple[slice | int, ...]:
        """The index that cuts it out of a volume (D, H, W, …)."""
        every = [slice(None)] * 3
        return (*every[: self.axis], self.place, *every[self.axis + 1 :])

    @property
    def title(self) -> str:
        """Where it is.

        Examples
        --------
        >>> Plane(0, 12, (10, 10)).title
        'z = 12'
        """
        return f"{AXES[self.axis]} = {self.place}"


def plane_size(size: Sequence[int], axis: int, spacing: Sequence[float] | None) -> tuple[int, int]:
    """Return the size of a plane in square pixels, of which none is larger than a voxel.

    Parameters
    ----------
    size
        (D, H, W) of the volume.
    axis
        The axis that the plane is across.
    spacing
        (z, y, x) of voxels; None, or not above 0, counts as equal.

    Examples
    --------
    >>> plane_size((10, 40, 50), 1, (3.0, 1.0, 1.0))
    (30, 50)
    """
    height, width = (extent for number, extent in enumerate(size) if number != axis)
    if spacing is None or not all(math.isfinite(step) and step > 0 for step in spacing):
        return height, width
    down, across = (step for number, step in enumerate(spacing) if number != axis)
    smaller = min(down, across)
    return (
        round(height * min(_MOST_STRETCHED, down / smaller)),
        round(width * min(_MOST_STRETCHED, across / smaller)),
    )


def middle_planes(
    size: Sequence[int],
    spacing: Sequence[float] | None = None,
    *,
    at: Sequence[int] | None = None,
) -> tuple[Plane, Plane, Plane]:
    """Return the three planes through the middle of a volume, across z, y and x.

    Parameters
    ----------
    size
        (D, H, W).
    spacing
        (z, y, x) of voxels; None if unknown.
    at
        (z, y, x): the voxel through which they go, instead of the middle.

    Examples
    --------
    >>> [plane.title for plane in middle_planes((10, 40, 50))]
    ['z = 5', 'y = 20', 'x = 25']
    """
    places = [extent // 2 for extent in size] if at is None else at
    first, second, third = (
        Plane(axis, places[axis], plane_size(size, axis, spacing)) for axis in range(3)
    )
    return first, second, third


def even_slices(
    size: Sequence[int], count: int, spacing: Sequence[float] | None = None
) -> list[Plane]:
    """Return planes across z that lie evenly in a volume.

    Parameters
    ----------
    size
        (D, H, W).
    count
        Their number, at most.
    spacing
        (z, y, x) of voxels; None if unknown.

    Examples
    --------
    >>> [plane.place for plane in even_slices((100, 8, 8), 4)]
    [12, 37, 62, 87]
    """
    count = min(count, size[0])
    extent = plane_size(size, 0, spacing)
    places = ((2 * number + 1) * size[0] // (2 * count) for number in range(count))
    return [Plane(0, place, extent) for place in places]


def montage(
    pictures: Sequence[NDArray[np.uint8]], *, columns: int, gap: int = 2, fill: int = 0
) -> NDArray[np.uint8]:
    """Lay pictures in rows.

    Parameters
    ----------
    pictures
        (H, W, C) uint8 each, at least one, of one C.
    columns
        Pictures in a row, at most.
    gap
        Pixels between them.
    fill
        Value of the pixels between and beside them.

    Returns
    -------
    (h, w, C) uint8

    Examples
    --------
    >>> montage([np.ones((2, 3, 1), np.uint8)] * 5, columns=3).shape
    (6, 13, 1)
    """
    columns = min(columns, len(pictures))
    heights = [
        max(len(picture) for picture in pictures[start : start + columns])
        for start in range(0, len(pictures), columns)
    ]
    widths = [
        max(picture.shape[1] for picture in pictures[column::columns]) for column in range(columns)
    ]
    tops, lefts = (
        np.cumsum([0, *(extent + gap for extent in extents)]) for extents in (heights, widths)
    )
    shape: Any = (tops[-1] - gap, lefts[-1] - gap, pictures[0].shape[-1])
    sheet = np.full(shape, fill, np.uint8)
    for number, picture in enumerate(pictures):
        top, left = tops[number // columns], lefts[number % columns]
        sheet[top : top + len(picture), left : left + picture.shape[1]] = picture
    return sheet
