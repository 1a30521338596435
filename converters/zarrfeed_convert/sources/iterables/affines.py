"""Where are the pixels of a sample that a program gives, by its ``affine`` or its ``spacing``?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed_convert.affines import affine_of_spacing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed_convert.header import Affine

AFFINE, SPACING = "affine", "spacing"
_INDEX = {2: "row, column", 3: "z, y, x"}
_WORLD = {2: "x, y", 3: "x, y, z in millimetres, RAS"}


def affine_in(sample: Any, axes: int, name: str) -> Affine | None:
    """Return the affine of a sample, as headers have it; None if it has none.

    Parameters
    ----------
    sample
        A sample as it was given; only mappings have an affine.
    axes
        Number of spatial axes, 2 or 3.
    name
        Name of the sample, for errors.

    Raises
    ------
    SourceError
        The affine is no invertible matrix, a spacing is not positive, or both are given.

    Examples
    --------
    >>> affine_in({"spacing": (2, 0.5, 0.25)}, 3, "samples[0]")
    ((0.0, 0.0, 0.25, 0.0), (0.0, 0.5, 0.0, 0.0), (2.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    """
    if not isinstance(sample, Mapping):
        return None
    given = [entry for entry in (AFFINE, SPACING) if sample.get(entry) is not None]
    if not given:
        return None
    if len(given) > 1:
        raise SourceError(
            f"{name}: needed affine or spacing, found both; leave spacing out, the affine says it"
        )
    [entry] = given
    label = f"{name} {entry}"
    values = _numbers(sample[entry], label)
    matrix = _of_spacing(values, axes, label) if entry == SPACING else values
    size = axes + 1
    if matrix.shape != (size, size):
        raise SourceError(
            f"{label}: needed a ({size}, {size}) matrix from ({_INDEX[axes]}, 1) to "
            f"({_WORLD[axes]}, 1), found the shape {values.shape}; rename the entry if it is "
            "something else"
        )
    if not np.array_equal(matrix[-1], [0] * axes + [1]):
        raise SourceError(
            f"{label}: needed {[0] * axes + [1]} as the last row, found {matrix[-1].tolist()}; "
            "transpose the matrix if that is its last column"
        )
    if not np.isfinite(matrix).all() or not np.linalg.det(matrix[:-1, :-1]):
        raise SourceError(
            f"{label}: needed finite numbers that an inverse matrix has, found {matrix.tolist()}; "
            f"correct it, or leave {entry} out"
        )
    return tuple(tuple(map(float, row)) for row in matrix)


def _of_spacing(values: NDArray[np.float64], axes: int, label: str) -> NDArray[np.float64]:
    if values.shape != (axes,) or not (np.isfinite(values).all() and (values > 0).all()):
        order = ", ".join("DHW"[-axes:])
        raise SourceError(
            f"{label}: needed {axes} distances of pixels, along ({order}), found "
            f"{values.tolist()!r:.60}; rename the entry if it is something else"
        )
    return np.array(affine_of_spacing(values.tolist()))


def _numbers(value: Any, label: str) -> NDArray[np.float64]:
    try:
        return np.asarray(value, np.float64)
    except Exception as error:  # array types of other libraries raise errors of their own
        raise SourceError(
            f"{label}: needed numbers, found {type(value).__name__} {value!r:.60}; correct it, or "
            "leave it out"
        ) from error
