"""What mask do an image's COCO annotations make?

Pure: annotations in, class ids out. pycocotools draws the polygons. It decodes run-length codes,
too, but does not notice one that ends early and then returns uninitialised memory; here, a code
fits its image or is refused.
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
    """Read a run-length code.

    Parameters
    ----------
    counts
        The lengths of runs outside and inside by turns, outside first, along columns; or these
        compressed, as ``pycocotools.mask.encode`` writes them.
    pixels
        Of the image; so many the runs must cover.

    Returns
    -------
    (n,) int64
        The lengths.

    Raises
    ------
    ValueError
        They do not cover the image exactly, or are no run-length code.

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
    """Count the pixels inside.

    Examples
    --------
    >>> area_of(np.array([1, 3, 2, 4]))
    7
    """
    return int(runs[1::2].sum())


def paint(
    flat: NDArray[np.integer], runs: NDArray[np.int64], number: int, clash: int | None
) -> None:
    """Return the pixels inside a number.

    Parameters
    ----------
    flat
        The image's numbers along its columns; changed in place.
    runs
        What is inside.
    number
        What pixels become.
    clash
        What pixels become that have another number already, other than 0; None for `number`.

    Examples
    --------
    >>> flat = np.array([0, 5, 0, 0])
    >>> paint(flat, np.array([1, 2, 1]), 7, 255)
    >>> flat.tolist()
    [0, 255, 7, 0]
    """
    if runs.size < 2:
        return
    # From the first run inside to the last: a small shape in a large image costs little.
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
    """Undo ``rleToString``: 5 bits a character, low ones first; bit 5 says that more follow.

    From the fourth on, numbers are differences to the last but one.
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
    """Return whether a segmentation draws anything: a code, or a polygon of three points or more.

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
    """Refuse a shape of at most one pixel in a box that is larger.

    Raises
    ------
    ValueError
        The shape is that small, like a polygon in fractions of the image's size.
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
