"""Where do the pixels of an OME-Zarr array lie, and do two arrays have theirs at the same places?

Pure: coordinate transformations in, numbers per axis out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_TOLERANCE = 0.1  # of a pixel: what rounding makes is a hundredth of it
_METRES = {
    "angstrom": 1e-10, "nanometer": 1e-9, "micrometer": 1e-6, "millimeter": 1e-3,
    "centimeter": 1e-2, "meter": 1.0,
}  # fmt: skip
_SPACE = "zyx"


@dataclass(frozen=True, slots=True)
class Place:
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
) -> Place | None:
    """Read coordinate transformations, in the order in which they are applied.

    Parameters
    ----------
    axes, units
        A letter and a unit per axis.
    transformations
        Of a level, then those of all levels.

    Returns
    -------
    Place or None
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
    return Place(scale, shift, named, tuple(other)) if found else None


def require_same_place(
    image: Place | None, label: Place | None, lengths: Mapping[str, int], *, name: str
) -> None:
    """Refuse a label whose pixels lie elsewhere than the image's.

    Parameters
    ----------
    image, label
        Where they are; nothing is refused where one of them is not known.
    lengths
        Of the image's axes.
    name
        The label, for errors.

    Raises
    ------
    SourceError
        The message gives both places.
    """
    if image is None or label is None:
        return
    advice = "if their pixels belong together all the same, use -o ignore_transformations=yes"
    if image.other != label.other:
        raise SourceError(
            f"{name}: needed the image's coordinate transformations, found "
            f"{', '.join(label.other) or 'none'} for {', '.join(image.other) or 'none'}; {advice}"
        )
    for axis in _SPACE:
        if axis not in image.scale or axis not in label.scale:
            continue
        factor = _factor(label.units[axis], image.units[axis])
        scale, shift = (
            factor * number[axis] if factor else float("nan")
            for number in (label.scale, label.shift)
        )
        first = shift - image.shift[axis]
        last = first + (scale - image.scale[axis]) * (lengths[axis] - 1)
        if not max(abs(first), abs(last)) <= _TOLERANCE * abs(image.scale[axis]):
            raise SourceError(
                f"{name}: needed labels at the places of the image's pixels, along {axis} from "
                f"{_said(image, axis)}, found them from {_said(label, axis)}; {advice}"
            )


def _factor(unit: str, wanted: str) -> float | None:
    """Return what a unit is in another; None where nobody knows."""
    if unit == wanted or not unit or not wanted:
        return 1.0
    if unit in _METRES and wanted in _METRES:
        return _METRES[unit] / _METRES[wanted]
    return None


def _said(place: Place, axis: str) -> str:
    unit = f" {place.units[axis]}" if place.units[axis] else ""
    return f"{place.shift[axis]:g} in steps of {place.scale[axis]:g}{unit}"
