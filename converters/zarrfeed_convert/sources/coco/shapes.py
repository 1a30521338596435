"""How are the COCO annotations of an image drawn as a mask?

Pure functions of annotations. pycocotools draws polygons. Run-length codes are decoded here, since
pycocotools returns uninitialised memory for truncated ones. A code must cover its image exactly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pycocotools import mask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.source import Mask

_MOST_DIGITS = 12  # 5 bits each: enough for any run that an int64 counts


def runs_of(counts: str | bytes | Sequence[int], pixels: int) -> NDArray[np.int64]:
    """Decode a run-length code.

    Parameters
    ----------
    counts
        Lengths of runs along columns, alternately outside and inside the shape, outside first; or
        these lengths compressed, as ``pycocotools.mask.encode`` writes them.
    pixels
        Number of pixels of the image.

    Returns
    -------
    ndarray
        (n,) int64 lengths.

    Raises
    ------
    ValueError
        The runs do not cover the image exactly, or `counts` is not a run-length code.

    Examples
    --------
    >>> runs_of("13", 4).tolist()
    [1, 3]
    """
    if isinstance(counts, str):
        counts = counts.encode("ascii")
    runs = _decompressed(counts) if isinstance(counts, bytes) else _listed(counts)
    if runs.size and int(runs.min()) < 0:
        raise ValueError(f"a run of {runs.min()} pixels")
    covered = sum(runs.tolist())
    if covered != pixels:
        raise ValueError(f"runs of {covered} pixels in all for an image of {pixels}")
    return runs


def area_of(runs: NDArray[np.int64]) -> int:
    """Return the number of pixels inside the shape.

    Examples
    --------
    >>> area_of(np.array([1, 3, 2, 4]))
    7
    """
    return int(runs[1::2].sum())


def paint(
    flat: NDArray[np.integer], runs: NDArray[np.int64], number: int, clash: int | None
) -> None:
    """Set the pixels inside a shape to a number.

    Parameters
    ----------
    flat
        (H·W,) numbers of the image's pixels along columns; changed in place.
    runs
        Run-length code of the shape; see :func:`runs_of`.
    number
        New number of the pixels.
    clash
        New number of pixels that have another number than 0 and `number`; None for `number`.

    Examples
    --------
    >>> flat = np.array([0, 5, 0, 0])
    >>> paint(flat, np.array([1, 2, 1]), 7, 255)
    >>> flat.tolist()
    [0, 255, 7, 0]
    """
    if runs.size < 2:
        return
    # Only the part from the first run inside to the last is processed: small shapes are fast.
    inner = runs[1 : runs.size - runs.size % 2]
    begin = int(runs[0])
    window = flat[begin : begin + int(inner.sum())]
    inside = np.repeat(np.arange(inner.size) % 2 == 0, inner)
    if clash is None:
        window[inside] = number
        return
    taken = inside & (window != 0) & (window != number)
    window[inside] = number
    window[taken] = clash


def _listed(counts: Sequence[int]) -> NDArray[np.int64]:
    runs = np.array(counts)
    if runs.ndim != 1 or (runs.size and runs.dtype.kind not in "iu"):
        raise ValueError("lengths that are no integers")
    return runs.astype(np.int64)


def _decompressed(code: bytes) -> NDArray[np.int64]:
    """Undo ``rleToString``: 5 bits per character, low ones first; bit 5 says that more follow.

    From the fourth number on, each is stored as the difference from the last but one.
    """
    digits = np.frombuffer(code, np.uint8).astype(np.int64) - 48
    if not digits.size:
        return digits
    if digits.min() < 0 or digits.max() > 63 or digits[-1] & 32:
        raise ValueError("text that is no compressed run-length code, or ends early")
    last = np.flatnonzero(digits & 32 == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    if int((last - first).max()) >= _MOST_DIGITS:
        raise ValueError("text that is no compressed run-length code")
    place = np.arange(digits.size) - np.repeat(first, last - first + 1)
    numbers: NDArray[np.int64] = np.add.reduceat((digits & 31) << (5 * place), first)
    negative = digits[last] & 16 != 0
    numbers[negative] -= np.int64(1) << (5 * (last - first + 1)[negative])
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


_pycoco: Any = mask  # its type hints do not allow polygons of floats
_POINTS = 3  # minimum for a polygon that covers an area; pycocotools takes two points for a box
_SEEN = 4  # a box of so many pixels is not the result of rounding


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
    """Draw the annotations of an image as a mask, crowds first.

    Parameters
    ----------
    annotations
        Annotations of the image, in the order of the file.
    ids
        Category id → class id.
    size
        (height, width) of the image.
    order
        ``area``: large shapes first, so that small ones are on top. Otherwise in the order of the
        file.
    crowd
        Id of crowds; None for that of their class.
    clash
        Id of pixels that several classes cover; None for that of the class that is drawn last.
    dtype
        Dtype of the mask.

    Returns
    -------
    ndarray
        (H, W) ids, C-contiguous; 0 outside all shapes.

    Raises
    ------
    ValueError
        A shape does not fit the image. The message names the annotation.
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
