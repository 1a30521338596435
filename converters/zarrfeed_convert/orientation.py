"""How is a volume turned so that its axes point to where they should? By flips and transposes.

Orientations are written as in nibabel and SimpleITK: RAS means that the x axis points to the right,
y to the anterior, z to the superior. Volumes are stored as (z, y, x), so that D points to the
superior and W to the right.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed_convert.affines import DIRECTIONS, directions_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed_convert.source import Window

CODES = frozenset(
    "".join(letters) for axes in permutations(DIRECTIONS) for letters in product(*axes)
)

WORDS = {
    "L": "left",
    "R": "right",
    "P": "to the posterior",
    "A": "to the anterior",
    "I": "to the inferior",
    "S": "to the superior",
}


def require_codes(value: object) -> str:
    """Return the letters of an orientation in upper case.

    Raises
    ------
    SourceError
        `value` is not one of the 48 orientations.

    Examples
    --------
    >>> require_codes("ras")
    'RAS'
    """
    if isinstance(value, str) and value.upper() in CODES:
        return value.upper()
    raise SourceError(
        "orient: needed three letters, to where x, y and z point, one each of L and R, P and A, "
        f"I and S, like RAS or LPS, or keep; found {value!r:.60}"
    )


@dataclass(frozen=True, slots=True)
class Turn:
    """A change of the axes of a volume.

    Attributes
    ----------
    axes
        For each axis of the result, its axis before.
    flipped
        Whether each axis of the result is reversed.

    Examples
    --------
    >>> import numpy as np
    >>> turn = Turn((0, 2, 1), (False, False, True))
    >>> turn.apply(np.array([[[1, 2], [3, 4]]])).tolist()
    [[[3, 1], [4, 2]]]
    """

    axes: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]

    def size(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Return the size of the result, given that of the volume, (D, H, W)."""
        return tuple(size[axis] for axis in self.axes)

    def matrix(self, size: tuple[int, ...]) -> NDArray[np.float64]:
        """Return the (4, 4) matrix from indices of the result to those of a volume of a size."""
        matrix = np.zeros((4, 4))
        matrix[3, 3] = 1
        for new, (old, flipped) in enumerate(zip(self.axes, self.flipped, strict=True)):
            matrix[old, new] = -1 if flipped else 1
            matrix[old, 3] = size[old] - 1 if flipped else 0
        return matrix

    def window(self, window: Window, size: tuple[int, ...]) -> Window:
        """Return the window of a volume of a size that becomes a window of the result."""
        found = [slice(0)] * 3
        for old, flipped, along in zip(self.axes, self.flipped, window, strict=True):
            end = size[old]
            found[old] = slice(end - along.stop, end - along.start) if flipped else along
        return tuple(found)

    def apply(self, values: NDArray[Any]) -> NDArray[Any]:
        """Turn (D, H, W, …); returns a view."""
        turned = values.transpose(*self.axes, *range(3, values.ndim))
        return turned[tuple(slice(None, None, -1 if flip else 1) for flip in self.flipped)]


def turn_to(codes: str, affine: NDArray[np.float64]) -> Turn | None:
    """Return how a volume is turned to an orientation; None if it has it already.

    Parameters
    ----------
    codes
        The orientation, such as ``RAS``.
    affine
        (4, 4) affine of the volume.
    """
    now = directions_of(affine)
    wanted = [
        next(
            (world, 1 if ends[1] == letter else -1)
            for world, ends in enumerate(DIRECTIONS)
            if letter in ends
        )
        for letter in reversed(codes)  # of the axes D, H, W
    ]
    if list(now) == wanted:
        return None
    axis_along = {world: axis for axis, (world, _) in enumerate(now)}
    depth, height, width = (
        (axis_along[world], now[axis_along[world]][1] != sign) for world, sign in wanted
    )
    return Turn((depth[0], height[0], width[0]), (depth[1], height[1], width[1]))
