"""What mask do an image's COCO annotations make?

Pure: annotations in, class ids out. pycocotools draws the polygons.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pycocotools import mask

from zarrfeed_convert.sources.coco.rle import area_of, paint, runs_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.source import Mask

_pycoco: Any = mask  # its types know no polygons of floats
_POINTS = 3  # of a polygon that covers anything; pycocotools takes two points for a box
_SEEN = 4  # pixels of a box that no rounding makes of nothing


def mask_of(
    annotations: Sequence[Mapping[str, Any]],
    ids: Mapping[Any, int],
    size: tuple[int, int],
    *,
    order: str,
    crowd: int | None,
    clash: int | None,
    dtype: np.dtype[Any],
) -> Mask:
    """Draw annotations, those that hide others last; crowds first of all.

    Parameters
    ----------
    annotations
        Of one image, in the file's order.
    ids
        Category id → class id.
    size
        (height, width) of the image.
    order
        ``area``: large ones first; anything else: in the file's order.
    crowd
        What crowds are drawn as; None for their class.
    clash
        What pixels become that several classes cover; None for the class drawn last.
    dtype
        Of the mask.

    Returns
    -------
    (H, W)
        C-contiguous; 0 where nothing is.

    Raises
    ------
    ValueError
        A shape does not fit the image; the message names the annotation.
    """
    drawn: list[tuple[bool, int, int, NDArray[np.int64]]] = []
    for annotation in annotations:
        try:
            runs = runs_of_shape(annotation["segmentation"], *size)
            _require_pixels(annotation, area_of(runs), size)
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise ValueError(f"annotation {annotation.get('id')!r}: {error}") from error
        crowds = bool(annotation.get("iscrowd"))
        number = ids[annotation["category_id"]]
        if crowds and crowd is not None:
            number = crowd
        drawn.append((not crowds, -area_of(runs) if order == "area" else 0, number, runs))
    flat = np.zeros(size[0] * size[1], dtype)
    for _, _, number, runs in sorted(drawn, key=lambda shape: shape[:2]):
        paint(flat, runs, number, clash)
    return np.ascontiguousarray(flat.reshape(size[1], size[0]).T)


def has_shape(segmentation: Any) -> bool:
    """Tell whether a segmentation draws anything: a code, or a polygon of three points or more.

    Examples
    --------
    >>> has_shape([[]]), has_shape([[2, 2, 9, 9]]), has_shape([[1, 1, 5, 1, 5, 5], []])
    (False, False, True)
    """
    if not isinstance(segmentation, list):
        return bool(segmentation)
    parts = segmentation if segmentation and isinstance(segmentation[0], list) else [segmentation]
    # What is no list is no shape either, but an error that names it when it is drawn.
    return any(not isinstance(part, list) or len(part) >= 2 * _POINTS for part in parts)


def _require_pixels(annotation: Mapping[str, Any], covered: int, size: tuple[int, int]) -> None:
    """Refuse a shape that covers nothing, or one pixel, of what its box says is an object.

    Raises
    ------
    ValueError
        So it is, as of polygons in shares of the image's size.
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
    """Turn polygons, or a run-length code of either kind, into runs along columns.

    Raises
    ------
    ValueError
        It is neither, or does not fit the image.
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
    """Refuse what pycocotools would draw somewhere, or fill all memory with."""
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
