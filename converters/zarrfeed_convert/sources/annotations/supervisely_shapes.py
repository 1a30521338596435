"""Which pixels does an object of Supervisely cover?

Pure functions of parsed JSON.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed_convert.decoding.decode import decode_bytes
from zarrfeed_convert.sources.annotations.box_runs import runs_of_window
from zarrfeed_convert.sources.annotations.json_files import points_of, value_of
from zarrfeed_convert.sources.coco.shapes import runs_of_shape
from zarrfeed_convert.sources.instances.runs import pixels_of_runs, runs_of_pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.decoding.pixels import Pixels
    from zarrfeed_convert.source import JSON

_NO_AREA = ("point", "line", "graph", "cuboid", "polyline")


def shape_of_object(said: JSON) -> Any:
    """Return the segmentation of an object.

    Parameters
    ----------
    said
        The object, as it is parsed.

    Returns
    -------
    list, dict or None
        A polygon as COCO has it; a figure for :func:`runs_of_figure`, if it has holes or is a
        bitmap; None for points and lines.

    Raises
    ------
    ValueError
        The object is damaged, or of an unknown kind.

    Examples
    --------
    >>> corners = {"exterior": [[1, 2], [5, 6]], "interior": []}
    >>> shape_of_object({"geometryType": "rectangle", "points": corners})
    [[1.0, 2.0, 6.0, 2.0, 6.0, 7.0, 1.0, 7.0]]
    """
    kind = value_of(said, "geometryType", str)
    if kind in _NO_AREA:
        return None
    if kind == "bitmap":
        bitmap = value_of(said, "bitmap", dict)
        origin = points_of([bitmap.get("origin")])
        return {"bitmap": value_of(bitmap, "data", str), "origin": origin}
    if kind not in ("polygon", "rectangle"):
        raise ValueError(f"of the unknown kind {kind[:40]!r}")
    points = value_of(said, "points", dict)
    exterior = points_of(points.get("exterior"))
    if kind == "rectangle":
        if len(exterior) != 4:
            raise ValueError(f"a rectangle of {len(exterior) // 2} points")
        (left, right), (top, bottom) = sorted(exterior[::2]), sorted(exterior[1::2])
        right, bottom = right + 1, bottom + 1  # both corners are pixels inside
        return [[left, top, right, top, right, bottom, left, bottom]]
    if len(exterior) < 6:
        raise ValueError(f"a polygon of {len(exterior) // 2} points")
    holes = [points_of(hole) for hole in points.get("interior") or []]
    return {"exterior": exterior, "interior": holes} if holes else [exterior]


def runs_of_figure(figure: JSON, size: tuple[int, int], limits: Limits) -> NDArray[np.int64]:
    """Return the run-length code of a polygon with holes, or of a bitmap.

    Parameters
    ----------
    figure
        See :func:`shape_of_object`.
    size
        (height, width) of the image.
    limits
        Limits on what a bitmap may claim.

    Raises
    ------
    ValueError
        It does not fit the image, or is damaged.

    Examples
    --------
    >>> around, hole = [0, 0, 3, 0, 3, 3, 0, 3], [1, 1, 2, 1, 2, 2, 1, 2]
    >>> runs_of_figure({"exterior": around, "interior": [hole]}, (3, 3), None).tolist()
    [0, 4, 1, 4]
    """
    if "bitmap" in figure:
        return _runs_of_bitmap(figure, size, limits)
    inside = _pixels([figure["exterior"]], size)
    if figure["interior"]:
        inside &= ~_pixels(figure["interior"], size)
    return runs_of_pixels(inside)


def _pixels(polygons: list[list[float]], size: tuple[int, int]) -> NDArray[np.bool_]:
    return pixels_of_runs(runs_of_shape(polygons, *size)).reshape(size[1], size[0]).T


def _runs_of_bitmap(figure: JSON, size: tuple[int, int], limits: Limits) -> NDArray[np.int64]:
    """Decode a bitmap: a PNG file, compressed by zlib once more, in Base64."""
    try:
        packed = base64.b64decode(figure["bitmap"], validate=True)
        unpacking = zlib.decompressobj()
        data = unpacking.decompress(packed, limits.sample_nbytes)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"a bitmap that is no PNG in Base64 and zlib: {error}") from error
    if not unpacking.eof:
        raise ValueError("a bitmap that ends early, or is larger than a sample may be")
    inside = _inside(decode_bytes(data, "bitmap", limits))
    left, top = (int(value) for value in figure["origin"])
    height, width = inside.shape
    if left < 0 or top < 0 or top + height > size[0] or left + width > size[1]:
        raise ValueError(f"a bitmap of {height}x{width} at {top}, {left}, outside its image")
    return runs_of_window(inside, top, left, size)


def _inside(pixels: Pixels) -> NDArray[np.bool_]:
    """Return which pixels of a bitmap are opaque, or not black if it has no transparency."""
    values = pixels.values
    if pixels.palette is not None and pixels.palette.shape[1] == 4:
        opaque = pixels.palette[:, 3] > 0
        inside: NDArray[np.bool_] = opaque[np.minimum(values, len(opaque) - 1)]
        return inside
    if values.ndim == 3:
        if values.shape[2] not in (2, 4):
            raise ValueError(f"a bitmap of {values.shape[2]} channels")
        values = values[:, :, -1]
    return np.asarray(values != 0)
