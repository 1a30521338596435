"""Where are the pixels of a TIFF located, and is a mask at the same location as its image?

GeoTIFF tags locate pixels on the earth, a GDAL tag declares the value of missing pixels, and
OME-XML and ImageJ record their physical size. A file may have none of these.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zarrfeed.errors import SourceError, look_up

_TOLERANCE = 0.6  # pixels: tools differ by half a pixel, as they locate its corner or its centre
_SCALE, _TIEPOINT, _TRANSFORMATION, _KEYS = 33550, 33922, 34264, 34735
_NODATA = 42113
_SYSTEMS = (3072, 2048)  # GeoTIFF's keys of the projected and of the geographic coordinate system
_UNKNOWN = (0, 32767)
_SIZE = re.compile(r'\bPhysicalSize([XY])="([^"]+)"')
_UNIT = re.compile(r'\bPhysicalSize([XY])Unit="([^"]+)"')
_OME = "OME"
_IMAGEJ_UNIT = re.compile(r"^unit=(.+?)\s*$", re.M)
_IMAGEJ_UNITS = {"micron": "um", "microns": "um", "\\u00B5m": "um", "\\u00b5m": "um"}
_METRES = {"nm": 1e-9, "µm": 1e-6, "um": 1e-6, "mm": 1e-3, "cm": 1e-2, "m": 1.0}


@dataclass(frozen=True, slots=True)
class Georeference:
    """Location of an image's pixels.

    Attributes
    ----------
    column, row
        (x, y) step from one column to the next, and from one row to the next, in units of `system`.
    first
        (x, y) coordinates of the first pixel.
    system
        Coordinate system: an EPSG number, or ``OME`` (metres, also for ImageJ). Empty if unknown.
    """

    column: tuple[float, float]
    row: tuple[float, float]
    first: tuple[float, float]
    system: str = ""

    def at(self, row: int, column: int) -> tuple[float, float]:
        """Return the coordinates (x, y) of a pixel."""
        x, y = (
            first + row * down + column * across
            for first, down, across in zip(self.first, self.row, self.column, strict=True)
        )
        return x, y

    def scaled(self, rows: float, columns: float) -> Georeference:
        """Return the location of pixels that are so many times as high and wide."""
        x, y = (step * columns for step in self.column)
        down_x, down_y = (step * rows for step in self.row)
        return replace(self, column=(x, y), row=(down_x, down_y))


def place_of(page: Any) -> Georeference | None:
    """Read the location of a page's pixels; None if its tags do not say, or are damaged."""
    try:
        return _place(page)
    except (TypeError, ValueError, IndexError, KeyError):
        return None


def _place(page: Any) -> Georeference | None:
    tags = {code: page.tags[code].value for code in _GEO if code in page.tags}
    system = _system(tags.get(_KEYS, ()))
    matrix = tags.get(_TRANSFORMATION, ())
    if len(matrix) == 16:
        a, b, _, x, c, d, _, y = (float(number) for number in matrix[:8])
        return Georeference((a, c), (b, d), (x, y), system)
    scale, tie = tags.get(_SCALE, ()), tags.get(_TIEPOINT, ())
    if len(scale) >= 2 and len(tie) >= 6:
        across, down = float(scale[0]), float(scale[1])
        column, row, _, x, y, _ = (float(number) for number in tie[:6])
        return Georeference(
            (across, 0.0), (0.0, -down), (x - column * across, y + row * down), system
        )
    if page.is_ome:
        return _place_in_ome(str(page.description))
    return _place_in_imagej(page) if page.is_imagej else None


def nodata_of(page: Any) -> tuple[float, ...]:
    """Read the value that GDAL declares as no data, as a tuple of one; empty if there is none."""
    tag = page.tags.get(_NODATA) if page is not None else None
    try:
        return () if tag is None else (float(str(tag.value).strip("\0 ")),)
    except ValueError:
        return ()


_GEO = (_SCALE, _TIEPOINT, _TRANSFORMATION, _KEYS)


def _system(keys: Any) -> str:
    entries = dict(zip(keys[4::4], keys[7::4], strict=False)) if len(keys) > 4 else {}
    found = (entries.get(key) for key in _SYSTEMS)
    return next((str(code) for code in found if code and code not in _UNKNOWN), "")


def _place_in_ome(text: str) -> Georeference | None:
    # Reversed, so that of several images the first one counts.
    sizes, units = (dict(reversed(pattern.findall(text))) for pattern in (_SIZE, _UNIT))
    if not {"X", "Y"} <= sizes.keys():
        return None
    across, down = (
        float(sizes[axis]) * _METRES.get(units.get(axis, "µm"), math.nan) for axis in "XY"
    )
    return Georeference((across, 0.0), (0.0, down), (0.0, 0.0), _OME) if across > 0 < down else None


def _place_in_imagej(page: Any) -> Georeference | None:
    unit = _IMAGEJ_UNIT.search(str(page.description))
    metres = _METRES.get(_IMAGEJ_UNITS.get(unit[1], unit[1])) if unit else None
    across, down = (page.tags[name].value for name in ("XResolution", "YResolution"))
    if metres is None or not (across[0] and down[0]):
        return None
    column, row = across[1] / across[0] * metres, down[1] / down[0] * metres
    return Georeference((column, 0.0), (0.0, row), (0.0, 0.0), _OME)


def require_same_place(
    image: Georeference | None,
    mask: Georeference | None,
    size: tuple[int, int],
    *,
    name: str,
    what: str = "mask",
) -> None:
    """Check that a mask is at the same location as its image.

    Parameters
    ----------
    image, mask
        Locations. There is no error if one of them is unknown.
    size
        (height, width) of the image.
    name, what
        Name of the image, and role of the other array, for errors.

    Raises
    ------
    SourceError
        Their corners are more than 0.6 pixels apart, or their coordinate systems differ.
    """
    if image is None or mask is None or (image.system == _OME) != (mask.system == _OME):
        return
    todo = (
        f"resample the {what} to the image's pixels or, if they match as they are, save the {what} "
        "without its georeference"
    )
    if image.system and mask.system and image.system != mask.system:
        raise SourceError(
            f"{name}: needed the {what} in the image's coordinates, EPSG:{image.system}, found "
            f"EPSG:{mask.system}; {todo}"
            f"{look_up('geometry')}"
        )
    pixel = min(math.hypot(*image.column), math.hypot(*image.row))
    corners = [(row, column) for row in (0, size[0] - 1) for column in (0, size[1] - 1)]
    apart = max(math.dist(image.at(*corner), mask.at(*corner)) for corner in corners)
    if not apart <= _TOLERANCE * pixel:
        shift = np.round(np.subtract(mask.at(0, 0), image.at(0, 0)), 6).tolist()
        raise SourceError(
            f"{name}: needed the {what} at the location of the image, found one up to "
            f"{apart / pixel if pixel else math.inf:.4g} pixels away (its first pixel is off by "
            f"{shift}); {todo}"
            f"{look_up('geometry')}"
        )
