"""Where in the patient does a DICOM slice lie, and where are its pixels in a volume?

Pure: numbers in, numbers out. A plane is a (3, 3) array that maps (row, column, 1) to millimetres,
LPS as in DICOM: x to the left, y to the back, z to the head. NIfTI's affines are RAS.

    plane = | step of a row | step of a column | centre of the first pixel |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

Plane: TypeAlias = NDArray[np.float64]
Size: TypeAlias = tuple[int, int]
_TOLERANCE = 0.1  # of a pixel: what rounding in headers makes is a hundredth of it
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


def plane_of(
    position: Sequence[float], orientation: Sequence[float], spacing: Sequence[float]
) -> Plane:
    """Return where a slice lies.

    Parameters
    ----------
    position
        (3,) ImagePositionPatient.
    orientation
        (6,) ImageOrientationPatient: the direction in which columns follow each other, then that
        of rows.
    spacing
        (2,) PixelSpacing: between rows, between columns.

    Examples
    --------
    >>> plane_of([-100, -120, 40], [1, 0, 0, 0, 1, 0], [0.5, 0.25]).tolist()
    [[0.0, 0.25, -100.0], [0.5, 0.0, -120.0], [0.0, 0.0, 40.0]]
    """
    along_columns, along_rows = np.array(orientation[:3], float), np.array(orientation[3:], float)
    return np.column_stack(
        [along_rows * spacing[0], along_columns * spacing[1], np.array(position, float)]
    )


def height(plane: Plane, normal: NDArray[Any]) -> float:
    """Measure where a slice lies along a normal, in millimetres; so slices are sorted."""
    return float(plane[:, 2] @ normal)


def normal_of(plane: Plane) -> NDArray[Any]:
    """Return the direction that slices follow each other in."""
    normal: NDArray[Any] = np.cross(plane[:, 1], plane[:, 0])
    return normal / (np.linalg.norm(normal) or 1.0)


def same_grid(one: Plane, other: Plane, size: Size) -> bool:
    """Return whether two slices of one size have their pixels at the same places."""
    pixel = np.linalg.norm(one[:, :2], axis=0).min()
    apart = np.linalg.norm((one - other) @ _corners(size), axis=0).max()
    return bool(apart <= _TOLERANCE * pixel)


@dataclass(frozen=True, slots=True)
class Patch:
    """The part of a volume that shows a slice.

    Attributes
    ----------
    index
        Of the volume's three axes.
    transposed
        Whether the part's rows are the slice's columns.
    """

    index: tuple[int | slice, ...]
    transposed: bool

    def turn(self, part: NDArray[Any]) -> NDArray[Any]:
        """Turn the part as the slice is."""
        return part.swapaxes(0, 1) if self.transposed else part


def patch_of(plane: Plane, size: Size, affine: NDArray[Any], shape: Sequence[int]) -> Patch | None:
    """Find a slice's pixels in a volume.

    Parameters
    ----------
    plane, size
        Of the slice.
    affine, shape
        (4, 4) and (3,) of the volume, RAS.

    Returns
    -------
    Patch or None
        None where pixels are not voxels of it: they lie between, or outside.
    """
    try:
        to_voxels = np.linalg.inv(affine)
    except np.linalg.LinAlgError:
        return None
    places = to_voxels[:3, :3] @ (_LPS_TO_RAS @ plane)
    places[:, 2] += to_voxels[:3, 3]
    steps, start = np.rint(places[:, :2]).astype(int), np.rint(places[:, 2]).astype(int)
    rounded = np.column_stack([steps, start])
    if np.abs((places - rounded) @ _corners(size)).max() > _TOLERANCE:
        return None
    if (np.abs(steps).sum(axis=0) != 1).any():  # each step leads to the next voxel of one axis
        return None
    axes = [int(np.flatnonzero(steps[:, side])[0]) for side in range(2)]
    corners = rounded @ _corners(size)
    inside = (corners >= 0).all() and (corners < np.array(shape)[:, None]).all()
    if axes[0] == axes[1] or not inside:
        return None
    index: list[int | slice] = [int(at) for at in start]
    for side, axis in enumerate(axes):
        index[axis] = _run(int(start[axis]), int(steps[axis, side]), size[side])
    return Patch(tuple(index), axes[0] > axes[1])


def _run(start: int, step: int, count: int) -> slice:
    stop = start + step * count
    return slice(start, None if stop < 0 else stop, step)


def _corners(size: Size) -> NDArray[Any]:
    """Return (row, column, 1) of the four corner pixels, a column each."""
    last = size[0] - 1, size[1] - 1
    return np.array([[0, last[0], 0, last[0]], [0, 0, last[1], last[1]], [1, 1, 1, 1]])
