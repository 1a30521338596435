"""What does the metadata of an OME-Zarr image or label say of its arrays, and of their places?

Pure: attributes of groups in, values out. OME-NGFF 0.4 and 0.5, and the axes of those before.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from zarrfeed_convert.sources.axes import Axes

_AXES = "tczyx"  # of OME-NGFF 0.1 and 0.2, which do not name them
_TOLERANCE = 0.1  # of a pixel: what rounding makes is a hundredth of it
_METRES = {
    "angstrom": 1e-10, "nanometer": 1e-9, "micrometer": 1e-6, "millimeter": 1e-3,
    "centimeter": 1e-2, "meter": 1.0,
}  # fmt: skip
_SPACE = "zyx"


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


@dataclass(frozen=True, slots=True)
class Multiscale:
    """An image in several resolutions.

    Attributes
    ----------
    axes
        A letter per axis, of t, c, z, y and x.
    levels
        The arrays' paths below the image, the finest first.
    places
        Where the pixels of each lie.
    """

    axes: str
    levels: tuple[str, ...]
    places: tuple[Placement | None, ...] = ()

    def level(self, number: int, name: str) -> str:
        """Return the path of a resolution's array.

        Raises
        ------
        SourceError
            There are not so many.
        """
        if not 0 <= number < len(self.levels):
            raise SourceError(
                f"{name}: needed the resolution level {number}, found levels 0 … "
                f"{len(self.levels) - 1}; use another --option level=…"
            )
        return self.levels[number]


def ome_of(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what is OME's of a group's attributes: 0.5 puts it under ``ome``."""
    found = attributes.get("ome", attributes)
    return found if isinstance(found, dict) else {}


def multiscale_of(ome: Mapping[str, Any], name: str) -> Multiscale | None:
    """Read what the axes and resolutions are; None where a group is no image.

    Parameters
    ----------
    ome
        As :func:`ome_of` gives it.
    name
        The group, for errors.

    Raises
    ------
    SourceError
        An axis is none of t, c, z, y and x, or y or x is missing.

    Examples
    --------
    >>> axes = [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    >>> multiscale_of({"multiscales": [{"axes": axes, "datasets": [{"path": "0"}]}]}, "a.zarr")
    Multiscale(axes='yx', levels=('0',), places=(None,))
    """
    if not ome.get("multiscales"):
        return None
    first = ome["multiscales"][0]
    named = [axis["name"] if isinstance(axis, dict) else axis for axis in first.get("axes", _AXES)]
    axes = [str(axis).lower() for axis in named]
    if not {"y", "x"} <= set(axes) <= set(_AXES) or len(set(axes)) != len(axes):
        raise SourceError(
            f"{name}: needed axes y and x, and none but t, c and z besides, found "
            f"{', '.join(map(str, named))}"
        )
    units = [
        str(axis.get("unit") or "") if isinstance(axis, dict) else ""
        for axis in first.get("axes", _AXES)
    ]
    shared = first.get("coordinateTransformations") or []
    places = (
        place_of("".join(axes), units, [*(level.get("coordinateTransformations") or []), *shared])
        for level in first["datasets"]
    )
    levels = tuple(str(level["path"]) for level in first["datasets"])
    return Multiscale("".join(axes), levels, tuple(places))


def choose_channels(wanted: str, count: int, ome: Mapping[str, Any], name: str) -> tuple[int, ...]:
    """Return which of an image's channels become those of a sample.

    Parameters
    ----------
    wanted
        Numbers or names of channels, in order, with commas; empty for all.
    count
        How many channels there are.
    ome, name
        The image's metadata, where the names are, and its own.

    Raises
    ------
    SourceError
        There is no such channel.

    Examples
    --------
    >>> choose_channels("DAPI,0", 2, {"omero": {"channels": [{}, {"label": "DAPI"}]}}, "a.zarr")
    (1, 0)
    """
    listed = ome.get("omero", {}).get("channels", [])
    labels = [str(channel.get("label", "")) for channel in listed][:count]
    shown = ", ".join(
        f"{number} {labels[number] if number < len(labels) else ''}".strip()
        for number in range(count)
    )
    if not wanted:
        return tuple(range(count))
    chosen: list[int] = []
    for text in (part.strip() for part in wanted.split(",")):
        number = labels.index(text) if text in labels else int(text) if text.isdecimal() else -1
        if not 0 <= number < count:
            raise SourceError(f"{name}: has no channel {text!r}; there are {shown}")
        chosen.append(number)
    return tuple(chosen)


def require_same_planes(image: Axes, label: Axes, *, name: str) -> None:
    """Refuse a label that has not the image's planes, or several channels.

    Raises
    ------
    SourceError
        The message gives both shapes.
    """
    if any(image.length(axis) != label.length(axis) for axis in "tz"):
        raise SourceError(
            f"{name}: needed a label plane for every image plane, found the shape "
            f"{label.sizes} ({label.letters}) for {image.sizes} ({image.letters})"
        )
    if label.channel_count != 1:
        raise SourceError(f"{name}: needed a label of one channel, found {label.channel_count}")


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


def require_same_place(
    image: Placement | None, label: Placement | None, lengths: Mapping[str, int], *, name: str
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


def _said(place: Placement, axis: str) -> str:
    unit = f" {place.units[axis]}" if place.units[axis] else ""
    return f"{place.shift[axis]:g} in steps of {place.scale[axis]:g}{unit}"
