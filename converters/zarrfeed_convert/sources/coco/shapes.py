"""Which pixels do the COCO annotations of an image cover?

Pure functions of annotations. pycocotools draws polygons, :mod:`zarrfeed_convert.sources.instances`
decodes run-length codes and draws masks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pycocotools import mask

from zarrfeed_convert.sources.instances.drawing import Shape
from zarrfeed_convert.sources.instances.runs import area_of, runs_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_pycoco: Any = mask  # its type hints do not allow polygons of floats
_POINTS = 3  # minimum for a polygon that covers an area; pycocotools takes two points for a box
_SEEN = 4  # a box of so many pixels is not the result of rounding


def shapes_of(
    annotations: Sequence[Mapping[str, Any]], ids: Mapping[Any, int], size: tuple[int, int]
) -> list[Shape]:
    """Return the shapes of the annotations of an image, in their order.

    Parameters
    ----------
    annotations
        Annotations of the image, in the order of the file.
    ids
        Category id → class id.
    size
        (height, width) of the image.

    Raises
    ------
    ValueError
        A shape does not fit the image. The message names the annotation.
    """
    shapes = []
    for annotation in annotations:
        try:
            runs = runs_of_shape(annotation["segmentation"], *size)
            _require_pixels(annotation, area_of(runs), size)
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise ValueError(f"annotation {annotation.get('id')!r}: {error}") from error
        label = ids[annotation["category_id"]]
        shapes.append(Shape(runs, label, crowd=bool(annotation.get("iscrowd"))))
    return shapes


def has_shape(segmentation: Any) -> bool:
    """Return whether a segmentation is a run-length code, or has a polygon of 3 or more points.

    Examples
    --------
    >>> has_shape([[]]), has_shape([[2, 2, 9, 9]]), has_shape([[1, 1, 5, 1, 5, 5], []])
    (False, False, True)
    """
    if not isinstance(segmentation, list):
        return bool(segmentation)
    parts = segmentation if segmentation and isinstance(segmentation[0], list) else [segmentation]
    # Parts that are not lists count as shapes, so that drawing them raises an error.
    return any(not isinstance(part, list) or len(part) >= 2 * _POINTS for part in parts)


def _require_pixels(annotation: Mapping[str, Any], covered: int, size: tuple[int, int]) -> None:
    """Check that a shape does not have at most one pixel although its box is larger.

    Raises
    ------
    ValueError
        It does, like a polygon whose coordinates are fractions of the image's size.
    """
    box = annotation.get("bbox")
    if covered > 1 or not isinstance(box, list | tuple) or len(box) != 4:
        return
    left, top, width, height = (float(number) for number in box)
    across = min(left + width, size[1]) - max(left, 0)
    down = min(top + height, size[0]) - max(top, 0)
    if min(across, down) >= _SEEN / 2 and across * down >= _SEEN * (1 + 3 * covered):
        raise ValueError(
            f"a shape of {covered} pixels in a box of {width:g}x{height:g}, width x height; are "
            "its coordinates pixels?"
        )


def runs_of_shape(segmentation: Any, height: int, width: int) -> NDArray[np.int64]:
    """Convert polygons, or a run-length code of either kind, to runs along columns.

    Raises
    ------
    ValueError
        `segmentation` is neither, or does not fit the image.
    """
    pixels = height * width
    if isinstance(segmentation, dict):
        size = segmentation.get("size", [height, width])
        if list(size) != [height, width]:
            raise ValueError(f"a run-length code of {size} in an image of {[height, width]}")
        return runs_of(segmentation["counts"], pixels)
    flat = bool(segmentation) and not isinstance(segmentation[0], list)
    parts = [segmentation] if flat else segmentation
    polygons = [_checked(part, height, width) for part in parts]
    polygons = [part for part in polygons if len(part) >= 2 * _POINTS]
    if not polygons:
        return np.array([pixels], np.int64)
    code = _pycoco.merge(_pycoco.frPyObjects(polygons, height, width))
    return runs_of(code["counts"], pixels)


def _checked(polygon: Sequence[float], height: int, width: int) -> list[float]:
    """Check a polygon that pycocotools would draw wrongly, or exhaust memory with."""
    points = np.array(polygon, np.float64)
    if points.ndim != 1 or points.size % 2:
        raise ValueError(f"needed a polygon [x1, y1, x2, y2, …], found {str(polygon)[:40]}")
    for values, length, axis in ((points[::2], width, "x"), (points[1::2], height, "y")):
        far = ~(np.abs(values - length / 2) <= 1.5 * length)
        if far.any():
            raise ValueError(
                f"a polygon reaches {axis} = {values[far][0]:g} in an image of "
                f"{height}x{width}, height x width; was it drawn on a larger one?"
            )
    return [float(value) for value in points]
