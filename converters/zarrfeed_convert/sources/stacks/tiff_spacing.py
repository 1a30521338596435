"""How far apart are the voxels of a TIFF stack, by its metadata?

ImageJ and OME-TIFF say it in units; other TIFFs have a resolution for printing, which is no size of
anything. A distance in pixels, or in a unit that is not known, is unknown.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias
from xml.etree import ElementTree

from zarrfeed_convert.decoding.tiff import orientation_of

if TYPE_CHECKING:
    import tifffile

Spacing: TypeAlias = tuple[float, float, float]  # of planes, rows and columns, in mm

_UNITS = {
    "nm": 1e-6, "nanometer": 1e-6, "nanometre": 1e-6, "å": 1e-7, "angstrom": 1e-7,
    "µm": 1e-3, "um": 1e-3, "micron": 1e-3, "micrometer": 1e-3, "micrometre": 1e-3,
    "mm": 1.0, "millimeter": 1.0, "millimetre": 1.0,
    "cm": 10.0, "centimeter": 10.0, "centimetre": 10.0,
    "m": 1e3, "meter": 1e3, "metre": 1e3,
    "inch": 25.4, "in": 25.4,
}  # fmt: skip


def spacing_of(tiff: tifffile.TiffFile, page: Any) -> Spacing | None:
    """Return the distances of planes, rows and columns of a stack, in mm.

    Parameters
    ----------
    tiff
        The open file.
    page
        Its first page.

    Returns
    -------
    tuple of float, or None
        None if the file does not say all three, or in no known unit. Rows and columns are those
        that viewers show.
    """
    try:
        found = _of_ome(tiff) or _of_imagej(tiff, page)
    except (ElementTree.ParseError, ValueError, TypeError, KeyError, ArithmeticError, IndexError):
        return None  # what is no number is unknown, too
    if found is None or not all(math.isfinite(each) and each > 0 for each in found):
        return None
    planes, rows, columns = found
    return (planes, columns, rows) if orientation_of(page) >= 5 else (planes, rows, columns)


def millimetres(unit: str) -> float | None:
    """Return the millimetres of a unit; None if it is none of length, or not known.

    Examples
    --------
    >>> millimetres("microns"), millimetres("µm"), millimetres("pixel")
    (0.001, 0.001, None)
    """
    known = unit.strip().lower().replace("\\u00b5", "µ").replace("\u03bc", "µ")
    return _UNITS.get(known, _UNITS.get(known.removesuffix("s")))


def _of_imagej(tiff: tifffile.TiffFile, page: Any) -> Spacing | None:
    said: dict[str, Any] = tiff.imagej_metadata or {}
    unit = millimetres(str(said.get("unit", "")))
    if unit is None or "spacing" not in said:
        return None
    across = []
    for name in ("YResolution", "XResolution"):
        pixels, units = page.tags[name].value
        across.append(units / pixels * unit)
    return abs(float(said["spacing"])) * unit, across[0], across[1]


def _of_ome(tiff: tifffile.TiffFile) -> Spacing | None:
    if tiff.ome_metadata is None:
        return None
    root = ElementTree.fromstring(tiff.ome_metadata)
    pixels = next((one for one in root.iter() if one.tag.rpartition("}")[2] == "Pixels"), None)
    if pixels is None:
        return None
    found = []
    for axis in "ZYX":
        unit = millimetres(pixels.attrib.get(f"PhysicalSize{axis}Unit", "µm"))
        if unit is None:
            return None
        found.append(float(pixels.attrib[f"PhysicalSize{axis}"]) * unit)
    return found[0], found[1], found[2]
