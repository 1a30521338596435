"""Which pixels does a region of Label Studio cover?

Pure functions of parsed JSON.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zarrfeed_convert.sources.annotations.json_files import points_of, size_of, value_of
from zarrfeed_convert.sources.instances.runs import runs_of_pixels

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.source import JSON

_ELLIPSE = 72  # corners of the polygon that an ellipse becomes
_CHANNELS = 4  # brushes are RGBA, of which alpha is the shape
_POINTS = 3


class Region(NamedTuple):
    """A region of an image.

    Attributes
    ----------
    label
        Its label.
    size
        (height, width) of the image.
    segmentation
        A list of polygons in percent of the image's width and height; ``{"rle": …}`` of a brush;
        None for key points and lines.
    """

    label: str
    size: tuple[int, int]
    segmentation: Any


def regions_of(results: list[Any]) -> Iterator[Region]:
    """Yield the regions of an annotation; what is about the whole image is none.

    Raises
    ------
    ValueError
        A region is damaged, or has not one label.

    Examples
    --------
    >>> value = {"points": [[0, 0], [50, 0], [50, 100]], "polygonlabels": ["car"]}
    >>> said = {"type": "polygonlabels", "original_width": 8, "original_height": 4, "value": value}
    >>> next(regions_of([said]))
    Region(label='car', size=(4, 8), segmentation=[[0.0, 0.0, 50.0, 0.0, 50.0, 100.0]])
    """
    for number, said in enumerate(results):
        try:
            value = value_of(said, "value", dict)
            if not value.keys() & {"points", "rle", "x", "vertices"}:
                continue
            labels = value.get(str(said.get("type")), value.get("labels"))
            if labels is None and said.get("type") in ("polygon", "brush", "rectangle", "ellipse"):
                continue  # the region itself, whose label is in an entry of its own
            if not isinstance(labels, list) or len(labels) != 1 or not isinstance(labels[0], str):
                raise ValueError(f"the labels {str(labels)[:40]}, where one is needed")
            size = size_of(said, "original_height", "original_width")
            if said.get("image_rotation"):
                raise ValueError("an image that was rotated in Label Studio; rotate the file")
            yield Region(labels[0], size, _segmentation(value, size))
        except (ValueError, TypeError, OverflowError) as error:
            raise ValueError(f"region {number}: {error}") from error


def _segmentation(value: JSON, size: tuple[int, int]) -> Any:
    if "rle" in value:
        code = value_of(value, "rle", list)
        if not all(isinstance(each, int) and 0 <= each <= 255 for each in code):
            raise ValueError("a brush whose code is no list of bytes")
        return {"rle": code}
    if "points" in value:
        points = points_of(value["points"])
        if value.get("closed") is False:
            return None
        if len(points) < 2 * _POINTS:
            raise ValueError(f"a polygon of {len(points) // 2} points")
        return [points]
    if "radiusX" in value:
        x, y, across, down = _numbers(value, "x", "y", "radiusX", "radiusY")
        angles = np.arange(_ELLIPSE) * (2 * math.pi / _ELLIPSE)
        corners = np.stack([x + across * np.cos(angles), y + down * np.sin(angles)], axis=1)
        return [_turned(corners, (x, y), value, size)]
    if "height" in value:
        x, y, width, height = _numbers(value, "x", "y", "width", "height")
        right, bottom = x + width, y + height
        corners = np.array([[x, y], [right, y], [right, bottom], [x, bottom]])
        return [_turned(corners, (x, y), value, size)]
    return None


def _numbers(value: JSON, *names: str) -> list[float]:
    return points_of([[value.get(first), value.get(second)] for first, second in
                      zip(names[::2], names[1::2], strict=True)])  # fmt: skip


def _turned(
    corners: NDArray[np.float64], around: tuple[float, float], value: JSON, size: tuple[int, int]
) -> list[float]:
    """Turn corners, in percent, clockwise by the rotation of a region, in degrees of pixels."""
    (degrees, _) = points_of([[value.get("rotation") or 0, 0]])
    if not degrees:
        return [float(each) for each in corners.ravel()]
    if not all(size):
        raise ValueError("a rotated region of an image of unknown size")
    angle = math.radians(degrees)
    scale = np.array([size[1], size[0]]) / 100
    x, y = ((corners - around) * scale).T
    turned = np.stack(
        [x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)],
        axis=1,
    )
    return [float(each) for each in (turned / scale + around).ravel()]


def scaled(points: Sequence[float], size: tuple[int, int]) -> list[float]:
    """Convert corners in percent to pixels of an image of (height, width).

    Examples
    --------
    >>> scaled([0, 0, 50, 100], (10, 20))
    [0.0, 0.0, 10.0, 10.0]
    """
    return [value * size[1 - number % 2] / 100 for number, value in enumerate(points)]


def runs_of_brush(code: Sequence[int], size: tuple[int, int]) -> NDArray[np.int64]:
    """Decode the code of a brush to runs along columns.

    The code is a stream of bits, high ones first: 32 of the number of values; 5 of the bits of a
    value, minus 1; four times 4 of the bits of a length, minus 1; then groups. A group begins with
    1 if its values are all the same, and with 2 bits that choose one of the four lengths; then come
    its length, minus 1, and one value, or all of them. Values are RGBA along rows.

    Parameters
    ----------
    code
        Bytes of the code.
    size
        (height, width) of the image.

    Returns
    -------
    ndarray
        (n,) int64 lengths; see :func:`zarrfeed_convert.sources.instances.runs.runs_of`.

    Raises
    ------
    ValueError
        The code does not cover the image exactly, or ends early.
    """
    bits = _Bits(code)
    count = bits.number(32)
    if count != size[0] * size[1] * _CHANNELS:
        raise ValueError(f"a brush of {count} values in an image of {size[0]}x{size[1]} RGBA")
    width = bits.number(5) + 1
    lengths = [bits.number(4) + 1 for _ in range(4)]
    if width != 8:
        raise ValueError(f"a brush of {width} bits, where 8 are needed")
    values = np.zeros(count, np.uint8)
    at = 0
    while at < count:
        same = bits.number(1)
        length = bits.number(lengths[bits.number(2)]) + 1
        if at + length > count:
            raise ValueError("a brush of more values than its image has")
        if same:
            values[at : at + length] = bits.number(width)
        else:
            values[at : at + length] = [bits.number(width) for _ in range(length)]
        at += length
    inside = values.reshape(*size, _CHANNELS)[:, :, -1] > 0
    return runs_of_pixels(inside)


class _Bits:
    """A stream of bits, high ones first."""

    def __init__(self, code: Sequence[int]) -> None:
        self._text = "".join(f"{byte:08b}" for byte in code)
        self._at = 0

    def number(self, bits: int) -> int:
        """Read a number of some bits."""
        begin, self._at = self._at, self._at + bits
        if self._at > len(self._text):
            raise ValueError("a brush whose code ends early")
        return int(self._text[begin : self._at], 2)
