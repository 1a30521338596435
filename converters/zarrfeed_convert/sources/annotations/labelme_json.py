"""Which shapes does a JSON file of labelme hold?

Datumaro reads the XML of the older LabelMe alone.
"""

from __future__ import annotations

import base64
import binascii
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed_convert.decoding.decode import decode_bytes
from zarrfeed_convert.sources.annotations.box_runs import runs_of_window
from zarrfeed_convert.sources.annotations.json_files import points_of, size_of, value_of

if TYPE_CHECKING:
    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.source import JSON

_CIRCLE = 72  # corners of the polygon that a circle becomes
_NO_AREA = ("point", "points", "line", "linestrip")


def is_labelme(content: Any) -> bool:
    """Return whether a JSON file is one of labelme's."""
    return isinstance(content, dict) and "shapes" in content and "imagePath" in content


def labelme_shapes(
    content: Any, limits: Limits, name: str
) -> tuple[list[tuple[str, JSON]], tuple[int, int], int]:
    """Convert the content of a file to shapes.

    Parameters
    ----------
    content
        The parsed JSON.
    limits
        Limits on what masks may claim.
    name
        Name of the file, for errors.

    Returns
    -------
    shapes
        Label and shape; see :class:`~.index.AnnotatedImage`. Polygons of one label and group are
        one shape.
    size
        (height, width) of the image; 0 if it is not said.
    shapeless
        Number of points and lines.

    Raises
    ------
    ValueError
        A shape is damaged, or of an unknown kind.
    """
    size = size_of(content, "imageHeight", "imageWidth")
    shapes: list[tuple[str, JSON]] = []
    groups: dict[tuple[str, Any], JSON] = {}
    shapeless = 0
    for number, entry in enumerate(value_of(content, "shapes", list)):
        try:
            label = value_of(entry, "label", str)
            kind = entry.get("shape_type") or "polygon"
            if kind in _NO_AREA:
                shapeless += 1
                continue
            segmentation = _segmentation(entry, kind, size, limits, name)
            group = entry.get("group_id")
            if isinstance(group, list | dict):
                raise ValueError(f"'group_id': {str(group)[:40]!r}")
        except (ValueError, TypeError, OverflowError) as error:
            raise ValueError(f"shape {number}: {error}") from error
        before = None if group is None else groups.get((label, group))
        if before is not None and isinstance(segmentation, list):
            before["segmentation"] += segmentation
            continue
        shape: JSON = {"segmentation": segmentation, "id": number}
        if group is not None and isinstance(segmentation, list):
            groups[label, group] = shape
        shapes.append((label, shape))
    return shapes, size, shapeless


def _segmentation(entry: JSON, kind: str, size: tuple[int, int], limits: Limits, name: str) -> Any:
    points = points_of(entry.get("points"))
    if kind == "polygon":
        return [points]
    if kind == "rectangle":
        _require_points(points, (2, 4), kind)
        if len(points) == 8:  # of version 6, rotated
            return [points]
        left, top, right, bottom = points
        return [[left, top, right, top, right, bottom, left, bottom]]
    if kind == "oriented_rectangle":
        _require_points(points, (4,), kind)
        return [points]
    if kind == "circle":
        _require_points(points, (2,), kind)
        x, y, edge_x, edge_y = points
        radius = math.hypot(edge_x - x, edge_y - y)
        angles = np.arange(_CIRCLE) * (2 * math.pi / _CIRCLE)
        corners = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1)
        return [corners.ravel().tolist()]
    if kind == "mask":
        return _mask(entry, points, size, limits, name)
    raise ValueError(f"of the unknown kind {str(kind)[:40]!r}")


def _require_points(points: list[float], counts: tuple[int, ...], kind: str) -> None:
    if len(points) // 2 not in counts:
        raise ValueError(f"a {kind} of {len(points) // 2} points")


def _mask(
    entry: JSON, points: list[float], size: tuple[int, int], limits: Limits, name: str
) -> JSON:
    """Convert a mask, a PNG of the box between two points, to a run-length code."""
    _require_points(points, (2,), "mask")
    if not all(size):
        raise ValueError("a mask in an image of unknown size (imageHeight, imageWidth)")
    try:
        data = base64.b64decode(value_of(entry, "mask", str), validate=True)
    except binascii.Error as error:
        raise ValueError(f"a mask that is no Base64: {error}") from error
    inside = decode_bytes(data, f"{name}[mask]", limits).values
    if inside.ndim != 2:
        raise ValueError("a mask of colours")
    left, top = (math.floor(value + 0.5) for value in points[:2])
    height, width = inside.shape
    if left < 0 or top < 0 or top + height > size[0] or left + width > size[1]:
        raise ValueError(f"a mask of {height}x{width} at {top}, {left}, outside its image")
    limits.require(size, np.uint8, name, "a mask")
    return {"size": list(size), "counts": runs_of_window(inside != 0, top, left, size).tolist()}
