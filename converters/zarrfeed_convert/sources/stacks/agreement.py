"""Are two volumes in the same place, with the same spacing?

Pure: it takes shapes and affines. An affine (4, 4) leads from the index of a voxel to the position
of its centre in millimetres.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zarrfeed_convert.affines import APART

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

STRETCH = 0.01  # relative difference of spacings: corners do not show it along an axis of one voxel


class Difference(NamedTuple):
    """How far two volumes are from being in the same place.

    Attributes
    ----------
    millimetres, voxels
        The largest distance between the same corner of both; in voxels of the first.
    spacings
        The spacing of each in millimetres, along its axes.
    """

    millimetres: float
    voxels: float
    spacings: tuple[tuple[float, ...], tuple[float, ...]]

    @property
    def tolerated(self) -> bool:
        """Whether the volumes count as being in the same place."""
        one, other = (np.array(spacing) for spacing in self.spacings)
        return self.voxels <= APART and bool((np.abs(one - other) <= STRETCH * one).all())

    def __str__(self) -> str:
        """Say the difference."""
        said = f"corners are up to {self.millimetres:.3g} mm ({self.voxels:.3g} voxels) apart"
        if self.spacings[0] == self.spacings[1]:
            return said
        one, other = ("×".join(f"{size:.6g}" for size in spacing) for spacing in self.spacings)
        return f"{said}, spacings are {one} and {other} mm"


def difference(one: NDArray[Any], other: NDArray[Any], shape: Sequence[int]) -> Difference:
    """Return the difference of two volumes of a shape, by their affines.

    Examples
    --------
    >>> moved = np.diag([1.0, 1, 2, 1])
    >>> moved[0, 3] = 2
    >>> found = difference(np.diag([1.0, 1, 2, 1]), moved, (5, 5, 5))
    >>> found.tolerated, str(found)
    (False, 'corners are up to 2 mm (2 voxels) apart')
    """
    corners = np.array([[*corner, 1] for corner in product(*((0, size - 1) for size in shape))])
    with np.errstate(all="ignore"):
        distance = float(np.linalg.norm((corners @ (one - other).T)[:, :3], axis=1).max())
        spacings = [np.linalg.norm(affine[:3, :3], axis=0) for affine in (one, other)]
        voxels = distance / spacings[0].min() if distance else 0.0
    if not np.isfinite(voxels):  # an affine is damaged
        voxels = np.inf
    first, second = (tuple(map(float, spacing)) for spacing in spacings)
    return Difference(distance, float(voxels), (first, second))
