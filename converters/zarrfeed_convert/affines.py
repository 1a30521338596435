"""What does the affine of a sample say: the spacing of its pixels, and where its axes point?

An affine is a matrix as in :class:`zarrfeed_convert.Header`: of volumes (4, 4), from the index
(z, y, x, 1) of a voxel to its centre (x, y, z, 1) in millimetres, RAS+; of images (3, 3), from
(row, column, 1) to the world.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError, look_up

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from zarrfeed_convert.header import Affine

# Letters of the ends of the world's axes x, y and z: to the left or right, …
DIRECTIONS = ("LR", "PA", "IS")
# Cosine of the angle between axes from which they are not orthogonal. Those of files written with
# float32 have up to 1e-6, those of a gantry that is tilted by one degree 0.017.
_SHEARED = 1e-3
APART = 0.1  # of a pixel, between things at the same place: what rounding makes is a hundredth
_FLAT = 1e-6  # volume of the parallelepiped of unit vectors along the axes


def affine_of_spacing(spacing: Sequence[float]) -> Affine:
    """Return the affine of a sample of which the spacing is known, but neither place nor direction.

    Parameters
    ----------
    spacing
        Distance of pixels along each stored axis.

    Examples
    --------
    >>> affine_of_spacing((2.0, 0.5, 0.25))
    ((0.0, 0.0, 0.25, 0.0), (0.0, 0.5, 0.0, 0.0), (2.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    """
    axes = len(spacing)
    rows = (
        tuple(float(spacing[axis]) if axis == at else 0.0 for at in range(axes + 1))
        for axis in reversed(range(axes))
    )
    return (*rows, (*(0.0,) * axes, 1.0))


def require_affine(affine: ArrayLike, axes: int, *, name: str) -> NDArray[np.float64]:
    """Return an affine as a matrix, after checking that it can be inverted.

    Parameters
    ----------
    affine
        Its rows.
    axes
        Number of spatial axes, 2 or 3.
    name
        Name of the file, for errors.

    Returns
    -------
    ndarray
        (axes + 1, axes + 1) float64.

    Raises
    ------
    SourceError
        It has another shape or last row, numbers that are not finite, or axes of no length or in
        one plane.
    """
    try:
        matrix = np.array(affine, np.float64)
    except (ValueError, TypeError, OverflowError):
        matrix = np.zeros(0)
    last = [0.0] * axes + [1.0]
    if matrix.shape != (axes + 1, axes + 1) or matrix[-1].tolist() != last:
        raise SourceError(
            f"{name}: needed an affine of {axes + 1} rows of {axes + 1} numbers, the last row "
            f"{last}, found {affine!r:.200}; correct the affine, or remove it"
        )
    columns = matrix[:-1, :-1]
    with np.errstate(over="ignore", invalid="ignore"):
        spacing = np.sqrt((columns**2).sum(axis=0))
        regular = np.isfinite(matrix).all() and np.isfinite(spacing).all() and (spacing > 0).all()
    if not regular or abs(np.linalg.det(columns / spacing)) < _FLAT:
        raise SourceError(
            f"{name}: needed an affine that can be inverted, found {matrix.tolist()}; correct the "
            "affine, or remove it"
        )
    return matrix


def spacing_of(affine: ArrayLike) -> tuple[float, ...]:
    """Return the distance between neighbouring pixels along each stored axis, in mm for volumes.

    Parameters
    ----------
    affine
        A valid affine; see :func:`require_affine`.

    Returns
    -------
    tuple of float
        Along D, H, W, that is z, y, x of volumes; or along H, W of images.

    Examples
    --------
    >>> spacing_of([[0, 0, -0.8, 90], [0, 0.7, 0, 5], [2.5, 0, 0, 0], [0, 0, 0, 1]])
    (2.5, 0.7, 0.8)
    """
    return tuple(spacings_of(np.array(affine, np.float64)[np.newaxis])[0].tolist())


def spacings_of(affines: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the spacings of several affines, (M, n, n), as :func:`spacing_of`: (M, n − 1)."""
    lengths: NDArray[np.float64] = np.linalg.norm(affines[:, :-1, :-1], axis=1)
    return lengths


def require_orthogonal(affine: NDArray[np.float64], *, name: str) -> None:
    """Refuse axes that are not at right angles, such as those of a tilted gantry.

    Parameters
    ----------
    affine
        A valid affine; see :func:`require_affine`.
    name
        Name of the file, for errors.

    Raises
    ------
    SourceError
        The angle between two axes differs from 90 degrees by more than 0.06 degrees.
    """
    units = _units(affine)
    cosines = np.abs(units.T @ units - np.eye(len(units)))
    if cosines.max() > _SHEARED:
        angle = np.degrees(np.arccos(min(1.0, float(cosines.max()))))
        raise SourceError(
            f"{name}: needed axes at right angles to orient or resample it, found two at "
            f"{angle:.1f} degrees, as with a tilted gantry; correct the tilt first, or keep "
            "orientation and spacing"
            f"{look_up('orientation')}"
        )


def directions_of(affine: NDArray[np.float64]) -> tuple[tuple[int, int], ...]:
    """Return along which axis of the world each stored axis of a volume is, and its sign.

    Of oblique volumes, the axes are those of the nearest rotation by right angles, as in nibabel's
    ``io_orientation``.

    Parameters
    ----------
    affine
        (4, 4); a valid affine.

    Returns
    -------
    tuple of (int, int)
        For D, H and W: 0, 1 or 2 for x, y or z, and 1 or -1.
    """
    left, _, right = np.linalg.svd(_units(affine), full_matrices=False)
    turned = left @ right  # the nearest rotation, with reflections
    found: dict[int, tuple[int, int]] = {}
    # Ties are given to x before y before z, the order of nibabel's axes.
    strength = np.abs(turned).max(axis=0)
    for axis in sorted(range(3), key=lambda axis: (-strength[axis], -axis)):
        world = int(np.abs(turned[:, axis]).argmax())
        found[axis] = world, 1 if turned[world, axis] > 0 else -1
        turned[world] = 0
    return tuple(found[axis] for axis in range(3))


def axis_codes(affine: NDArray[np.float64]) -> str:
    """Return to where the x, y and z axis of a volume point, as nibabel's ``aff2axcodes``.

    These are the stored axes W, H and D.

    Parameters
    ----------
    affine
        (4, 4); a valid affine.

    Examples
    --------
    >>> import numpy as np
    >>> axis_codes(np.array([[0, 0, -0.8, 90], [0, 0.7, 0, 5], [2.5, 0, 0, 0], [0, 0, 0, 1.0]]))
    'LAS'
    """
    return "".join(DIRECTIONS[world][sign > 0] for world, sign in reversed(directions_of(affine)))


def rows_of(matrix: NDArray[Any]) -> Affine:
    """Return a matrix as the rows of a header's affine."""
    return tuple(tuple(map(float, row)) for row in matrix)


def _units(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (n, n) unit vectors along the stored axes, as columns."""
    columns = affine[:-1, :-1]
    units: NDArray[np.float64] = columns / np.sqrt((columns**2).sum(axis=0))
    return units
