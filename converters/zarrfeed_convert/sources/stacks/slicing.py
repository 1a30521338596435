"""Which part of a stored volume is a slice of it, and how is it turned?

Pure: shapes, orientations and affines in, indices out.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Shape = tuple[int, int, int]
_TOLERANCE = 0.1  # of a voxel: what rounding of affines makes is a hundredth of it


@dataclass(frozen=True, slots=True)
class Slicing:
    """How slices of a volume are cut along one of its axes.

    Attributes
    ----------
    axis
        Of the volume as it is cut, after it was turned.
    stored
        (3,) the stored axis that each axis of the turned volume is.
    flipped
        (3,) whether each axis of the turned volume runs against the stored one.
    """

    axis: int
    stored: tuple[int, int, int] = (0, 1, 2)
    flipped: tuple[bool, bool, bool] = (False, False, False)

    @classmethod
    def along(cls, axis: int, orientation: NDArray[Any]) -> Slicing:
        """Turn a volume as its orientation says.

        Parameters
        ----------
        axis
            To cut along, of the turned volume.
        orientation
            (3, 2) as nibabel has it: for each stored axis, which axis it becomes, and 1 or -1.
        """
        becomes = [int(number) for number in orientation[:, 0]]
        first, second, third = (becomes.index(number) for number in range(3))
        one, two, three = (bool(orientation[at, 1] < 0) for at in (first, second, third))
        return cls(axis, (first, second, third), (one, two, three))

    def turned(self, shape: Sequence[int]) -> Shape:
        """Give the shape of a stored volume once it is turned."""
        first, second, third = (shape[at] for at in self.stored)
        return first, second, third

    def count(self, shape: Sequence[int]) -> int:
        """Count the slices of a stored volume."""
        return shape[self.stored[self.axis]]

    def size(self, shape: Sequence[int]) -> tuple[int, int]:
        """Give the height and width of a stored volume's slices."""
        height, width = (shape[self.stored[axis]] for axis in self._across)
        return height, width

    def index(self, shape: Sequence[int], number: int) -> tuple[int | slice, ...]:
        """Index a stored volume with it to get a slice."""
        index: list[int | slice] = [slice(None)] * 3
        last = self.count(shape) - 1
        index[self.stored[self.axis]] = last - number if self.flipped[self.axis] else number
        return tuple(index)

    def turn(self, part: NDArray[Any]) -> NDArray[Any]:
        """Turn what :meth:`index` gives: (H, W) or (H, W, C)."""
        across = self._across
        if self.stored[across[0]] > self.stored[across[1]]:
            part = part.swapaxes(0, 1)
        steps = tuple(slice(None, None, -1 if self.flipped[axis] else 1) for axis in across)
        return part[steps]

    @property
    def _across(self) -> tuple[int, int]:
        first, second = (axis for axis in range(3) if axis != self.axis)
        return first, second


def apart(one: NDArray[Any], other: NDArray[Any], shape: Sequence[int]) -> float:
    """Measure how far apart two affines put the corners of a volume, in voxels of the first.

    Examples
    --------
    >>> moved = np.eye(4)
    >>> moved[0, 3] = 2
    >>> apart(np.eye(4), moved, (5, 5, 5))
    2.0
    """
    corners = np.array([[*corner, 1] for corner in product(*((0, size - 1) for size in shape))])
    distance = np.linalg.norm((corners @ (one - other).T)[:, :3], axis=1).max()
    voxel = np.linalg.norm(one[:3, :3], axis=0).min()
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.nan_to_num(distance / voxel, nan=np.inf if distance else 0.0))


def alike(one: NDArray[Any], other: NDArray[Any], shape: Sequence[int]) -> bool:
    """Tell whether two affines put a volume's voxels at nearly the same places."""
    return apart(one, other, shape) <= _TOLERANCE
