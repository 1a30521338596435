"""Where do the pixels of an OME-Zarr image or label lie, by its coordinate transformations?

Pure: metadata in, values out. The converter uses it, too.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_METRES = {
    "picometer": 1e-12, "angstrom": 1e-10, "nanometer": 1e-9, "micrometer": 1e-6,
    "millimeter": 1e-3, "centimeter": 1e-2, "decimeter": 1e-1, "inch": 0.0254, "foot": 0.3048,
    "yard": 0.9144, "meter": 1.0, "kilometer": 1e3,
    # Not in the specification, but in use.
    "nm": 1e-9, "um": 1e-6, "\N{MICRO SIGN}m": 1e-6, "micron": 1e-6, "mm": 1e-3, "m": 1.0,
}  # fmt: skip
_SPACE = "zyx"
_MILLIMETRE = "millimeter"

Affine: TypeAlias = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an array's pixels lie.

    Attributes
    ----------
    scale, shift
        Axis → the distance of pixels, and where the first one is.
    units
        Axis → the unit of both; empty where the metadata does not say.
    other
        Transformations of other kinds, as JSON.
    """

    scale: Mapping[str, float]
    shift: Mapping[str, float]
    units: Mapping[str, str]
    other: tuple[str, ...]


def place_of(
    axes: str, units: Sequence[str], transformations: Iterable[Mapping[str, Any]]
) -> Placement | None:
    """Read coordinate transformations, in the order in which they are applied.

    Parameters
    ----------
    axes, units
        A letter and a unit per axis.
    transformations
        Of a level, then those of all levels.

    Returns
    -------
    Placement or None
        None where there are none: early versions had none.

    Examples
    --------
    >>> scale = {"type": "scale", "scale": [0.5, 0.25]}
    >>> place = place_of("yx", ["", ""], [scale, {"type": "translation", "translation": [8, 0]}])
    >>> place.scale, place.shift
    ({'y': 0.5, 'x': 0.25}, {'y': 8.0, 'x': 0.0})
    """
    scale, shift = dict.fromkeys(axes, 1.0), dict.fromkeys(axes, 0.0)
    other: list[str] = []
    found = False
    for one in transformations:
        found, kind = True, one.get("type")
        numbers = one.get(str(kind))
        plain = isinstance(numbers, list) and len(numbers) == len(axes)
        if kind == "scale" and plain:
            for axis, number in zip(axes, one["scale"], strict=True):
                scale[axis] *= float(number)
                shift[axis] *= float(number)
        elif kind == "translation" and plain:
            for axis, number in zip(axes, one["translation"], strict=True):
                shift[axis] += float(number)
        elif kind != "identity":
            other.append(json.dumps(one, sort_keys=True))
    named = dict(zip(axes, units, strict=True))
    return Placement(scale, shift, named, tuple(other)) if found else None


def affine_of(place: Placement | None) -> Affine | None:
    """Return the affine of volumes, from (z, y, x, 1) to (x, y, z, 1) in millimetres.

    None where the metadata does not say a distance and a unit for each of these axes. Axes run as
    they do in the array: which way the patient or the specimen lies is not said.

    Examples
    --------
    >>> scale = {"type": "scale", "scale": [2000, 500, 250]}
    >>> affine_of(place_of("zyx", ["micrometer"] * 3, [scale]))
    ((0.0, 0.0, 0.25, 0.0), (0.0, 0.5, 0.0, 0.0), (2.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    """
    if place is None or place.other or not all(place.units.get(axis) for axis in _SPACE):
        return None
    rows = []
    for axis in reversed(_SPACE):
        factor = unit_factor(place.units[axis], _MILLIMETRE) or math.nan
        scale, shift = factor * place.scale[axis], factor * place.shift[axis]
        if not (math.isfinite(scale) and math.isfinite(shift) and scale):
            return None
        rows.append((*(scale if each == axis else 0.0 for each in _SPACE), shift))
    return (*rows, (0.0, 0.0, 0.0, 1.0))


def unit_factor(unit: str, wanted: str) -> float | None:
    """Return the factor from a unit to the wanted one; None if one of them is unknown."""
    if unit == wanted or not unit or not wanted:
        return 1.0
    if unit in _METRES and wanted in _METRES:
        return _METRES[unit] / _METRES[wanted]
    return None
