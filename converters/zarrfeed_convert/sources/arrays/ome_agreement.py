"""Do the pixels of an OME-Zarr image and its label lie at the same places?

Pure: metadata in, values out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from zarrfeed.store.ome_places import unit_factor
from zarrfeed_convert.affines import APART

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zarrfeed.store.ome_places import Placement

_SPACE = "zyx"


def difference_of(
    image: Placement | None, label: Placement | None, lengths: Mapping[str, int]
) -> str:
    """Say how far a label's pixels lie from the image's; empty if they lie at the same places.

    They may be a tenth of a pixel apart.

    Parameters
    ----------
    image, label
        Where they are; nothing is said where one of them is not known.
    lengths
        Of the image's axes.

    Examples
    --------
    >>> from zarrfeed.store.ome_places import place_of
    >>> places = [
    ...     place_of("yx", ["", ""], [{"type": "scale", "scale": [1, width]}]) for width in (1, 2)
    ... ]
    >>> difference_of(*places, {"y": 4, "x": 4})
    "needed labels at the places of the image's pixels, along x from 0 in steps of 1, found them \
from 0 in steps of 2, up to 3 pixels apart"
    """
    if image is None or label is None:
        return ""
    if image.other != label.other:
        return (
            f"needed the image's coordinate transformations, found "
            f"{', '.join(label.other) or 'none'} for {', '.join(image.other) or 'none'}"
        )
    for axis in _SPACE:
        if axis not in image.scale or axis not in label.scale:
            continue
        factor = unit_factor(label.units[axis], image.units[axis])
        scale, shift = (
            factor * number[axis] if factor else math.nan for number in (label.scale, label.shift)
        )
        first = shift - image.shift[axis]
        last = first + (scale - image.scale[axis]) * (lengths[axis] - 1)
        apart = max(abs(first), abs(last))
        if not apart <= APART * abs(image.scale[axis]):
            pixels = apart / abs(image.scale[axis]) if image.scale[axis] else math.nan
            far = "" if math.isnan(pixels) else f", up to {pixels:.3g} pixels apart"
            return (
                f"needed labels at the places of the image's pixels, along {axis} from "
                f"{_said(image, axis)}, found them from {_said(label, axis)}{far}"
            )
    return ""


def _said(place: Placement, axis: str) -> str:
    unit = f" {place.units[axis]}" if place.units[axis] else ""
    return f"{place.shift[axis]:g} in steps of {place.scale[axis]:g}{unit}"
