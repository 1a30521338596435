"""What does the metadata of an OME-Zarr image or label say of its arrays?

Pure: attributes of groups in, values out. OME-NGFF 0.4 and 0.5, and the axes of those before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import SourceError
from zarrfeed_convert.sources.arrays.ome_places import place_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zarrfeed_convert.sources.arrays.ome_places import Placement
    from zarrfeed_convert.sources.axes import Axes

_AXES = "tczyx"  # of OME-NGFF 0.1 and 0.2, which do not name them


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
    """Return the OME attributes of a group, which OME-Zarr 0.5 nests under ``ome``."""
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
