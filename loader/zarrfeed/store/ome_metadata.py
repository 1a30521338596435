"""What does the metadata of an OME-Zarr image or label say of its arrays?

Pure: attributes of groups in, values out. OME-NGFF 0.4 and 0.5, and the axes of those before. The
converter uses it, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import StoreError
from zarrfeed.store.ome_places import place_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zarrfeed.store.ome_places import Placement

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
    StoreError
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
        raise StoreError(
            f"{name}: needed axes y and x, and none but t, c and z besides, found "
            f"{', '.join(map(str, named)):.200}"
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
