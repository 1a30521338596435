"""What does the metadata of an OME-Zarr image or label say of its arrays?

Pure: attributes of groups in, values out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zarrfeed.errors import SourceError, StoreError
from zarrfeed.store import ome_metadata

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zarrfeed.store.ome_metadata import Multiscale
    from zarrfeed_convert.sources.axes import Axes


def multiscale_of(ome: Mapping[str, Any], name: str) -> Multiscale | None:
    """Read what the axes and resolutions are; None where a group is no image.

    Raises
    ------
    SourceError
        As :func:`zarrfeed.store.ome_metadata.multiscale_of`.
    """
    try:
        return ome_metadata.multiscale_of(ome, name)
    except StoreError as error:
        raise SourceError(str(error)) from error


def level_of(scales: Multiscale, number: int, name: str) -> str:
    """Return the path of a resolution's array.

    Raises
    ------
    SourceError
        There are not so many.
    """
    if not 0 <= number < len(scales.levels):
        raise SourceError(
            f"{name}: needed the resolution level {number}, found levels 0 … "
            f"{len(scales.levels) - 1}; use another --option level=…"
        )
    return scales.levels[number]


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
