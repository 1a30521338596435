"""Which pixels does a GeoTIFF hold, where are they, and which of them have no data?

The only module that asks GDAL, through rasterio. GDAL follows many kinds of references: virtual
files, URLs, and files beside the raster. Here it opens GeoTIFFs alone, by their absolute path, and
nothing beside them: no overviews (``.ovr``), masks (``.msk``), world files or ``.aux.xml``.
"""

from __future__ import annotations

import math
import os
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.enums import MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError
from rasterio.windows import Window as Rectangle

from zarrfeed.errors import SourceError
from zarrfeed_convert.affines import APART
from zarrfeed_convert.decoding.decode import TIFF, naming_file
from zarrfeed_convert.decoding.limits import require_regular
from zarrfeed_convert.decoding.pixels import Measure, Pixels
from zarrfeed_convert.decoding.tiff_directories import require_end

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.header import Affine

# Of tiles that GDAL keeps decoded; by default a twentieth of the machine's memory.
CACHE_NBYTES = 64 << 20
_MODEST = 16 << 20  # decoded bytes of a block that is decoded for a part of it
_OPTIONS: dict[str, Any] = {
    "GDAL_CACHEMAX": CACHE_NBYTES >> 20,
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_GEOREF_SOURCES": "INTERNAL",
    "GDAL_PAM_ENABLED": False,
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".none",
    "CPL_TMPDIR": os.devnull,
}


@dataclass(frozen=True, slots=True)
class Raster:
    """What the header of a GeoTIFF says.

    Attributes
    ----------
    measure
        Size, bands, dtype, palette and values of no data.
    affine
        From (row, column, 1) to (x, y, 1) of a pixel's upper left corner; None if it is not said.
    crs
        Coordinate reference system as WKT; empty if it is not said.
    has_gaps
        Whether pixels may have no data, by a value or a mask inside the file. Alpha does not count:
        GDAL calls the fourth band of 8-bit images so, even near infrared, unless told otherwise.
    block
        Rows and columns of a tile or strip, which is decoded as a whole.
    """

    measure: Measure
    affine: Affine | None
    crs: str
    has_gaps: bool
    block: tuple[int, ...] = ()


def measure_raster(path: str, limits: Limits) -> Raster:
    """Read the header of a GeoTIFF.

    Raises
    ------
    SourceError
        The file is no GeoTIFF, is damaged, or exceeds `limits`.
    """
    with _opened(path, limits) as file:
        transform = file.transform
        affine: Affine | None = None
        if not transform.is_identity:  # which rasterio gives where there is none
            affine = (
                (transform.b, transform.a, transform.c),
                (transform.e, transform.d, transform.f),
                (0.0, 0.0, 1.0),
            )
        nodata = dict.fromkeys(float(value) for value in file.nodatavals if value is not None)
        palette = _palette(file)
        measure = Measure(
            file.height,
            file.width,
            file.count if palette is None else palette.shape[1],
            file.dtypes[0] if palette is None else "uint8",
            b"" if palette is None else np.ascontiguousarray(palette[:, :3]).tobytes(),
            nodata=tuple(nodata),
            windows=_has_windows(file),
        )
        wkt = file.crs.to_wkt() if file.crs else ""
        return Raster(measure, affine, wkt, _has_gaps(file), tuple(file.block_shapes[0]))


def read_raster(
    path: str, limits: Limits, window: tuple[slice, slice] | None = None
) -> tuple[Pixels, NDArray[np.bool_] | None]:
    """Decode a GeoTIFF, or a window of it.

    Parameters
    ----------
    path, limits
        The file, and limits on what is decoded at once.
    window
        Rows and columns; None for all.

    Returns
    -------
    pixels
        (H, W) values or palette indices, or (H, W, C) bands as they are stored.
    gaps
        (H, W) bool, True where the file has no data; None if every pixel has data.

    Raises
    ------
    SourceError
        The file is damaged or truncated, or what is decoded exceeds `limits`.
    """
    with _opened(path, limits) as file:
        rows, columns = window or (slice(0, file.height), slice(0, file.width))
        size = rows.stop - rows.start, columns.stop - columns.start
        _require_allowed(file, size, path, limits)
        rectangle = Rectangle(columns.start, rows.start, size[1], size[0])  # pyright: ignore
        values: NDArray[Any] = file.read(window=rectangle)
        gaps = _gaps(file, values, rectangle)
        bands = values[0] if file.count == 1 else np.ascontiguousarray(np.moveaxis(values, 0, 2))
        return Pixels(bands, _palette(file), bands=True), gaps


def require_whole_raster(path: str, limits: Limits) -> None:
    """Refuse a GeoTIFF that is too large to be decoded as a whole.

    Raises
    ------
    SourceError
        It exceeds `limits`, or is damaged.
    """
    with _opened(path, limits) as file:
        _require_allowed(file, (file.height, file.width), path, limits)


def _require_allowed(file: Any, size: tuple[int, int], path: str, limits: Limits) -> None:
    advice = ", or store it as tiles, which are decoded one by one: --tile 256x256"
    limits.require(
        (*size, file.count), file.dtypes[0], path, advice=advice if _has_windows(file) else ""
    )


@contextmanager
def _opened(path: str, limits: Limits) -> Iterator[Any]:
    whole = os.path.abspath(path)  # noqa: PTH100 (GDAL reads "a:b" and "/vsi…" as other things)
    with naming_file(path):
        require_regular(Path(path))
        with Path(path).open("rb") as head:
            if head.read(4) not in TIFF:
                raise SourceError(
                    f"{path}: needed a GeoTIFF, found another file; use --format paired"
                )
            require_end(head, path)
        with (
            _naming_cause(),
            rasterio.Env(**_OPTIONS),
            _no_warning(),
            rasterio.open(whole, driver="GTiff") as file,
        ):
            if len(set(file.dtypes)) > 1:
                raise SourceError(
                    f"{path}: needed bands of one number type, found {', '.join(file.dtypes)}; "
                    "save those of each type as a file of their own"
                )
            nbytes = _block_nbytes(file)
            limits.require_nbytes(nbytes, path, "a block of pixels")
            yield file


@contextmanager
def _naming_cause() -> Iterator[None]:
    """Raise what GDAL says, to which rasterio's errors only point."""
    try:
        yield
    except RasterioIOError as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise RasterioIOError(str(cause)) from error


@contextmanager
def _no_warning() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def _block_nbytes(file: Any) -> int:
    """Return the bytes that are decoded together: a tile or strip, of all bands if they mix."""
    together = file.count if file.interleaving is not None and _mixes(file) else 1
    return int(math.prod(file.block_shapes[0]) * np.dtype(file.dtypes[0]).itemsize * together)


def _mixes(file: Any) -> bool:
    return str(file.interleaving.value).upper() == "PIXEL"


def _has_windows(file: Any) -> bool:
    return _block_nbytes(file) <= _MODEST


def _palette(file: Any) -> NDArray[np.uint8] | None:
    """Return the colours of palette indices, (n, 3), or (n, 4) if one is transparent."""
    if file.count != 1:
        return None
    try:
        colors = file.colormap(1)
    except ValueError:  # there is none
        return None
    table = np.zeros((max(colors) + 1, 4), np.uint8)
    table[:, 3] = 255
    for index, color in colors.items():
        table[index] = color
    return table if (table[:, 3] < 255).any() else np.ascontiguousarray(table[:, :3])


def _has_gaps(file: Any) -> bool:
    flags = file.mask_flag_enums[0]
    return not {MaskFlags.all_valid, MaskFlags.alpha} & {*flags}


def _gaps(file: Any, values: NDArray[Any], rectangle: Any) -> NDArray[np.bool_] | None:
    """Return where no band has data; values are (C, H, W)."""
    if not _has_gaps(file):
        return None
    if MaskFlags.nodata not in file.mask_flag_enums[0]:
        return np.asarray(file.dataset_mask(window=rectangle) == 0)
    gaps = np.ones(values.shape[1:], np.bool_)
    for band, nodata in zip(values, file.nodatavals, strict=True):
        gaps &= _equals(band, nodata)
    return gaps


def _equals(band: NDArray[Any], value: float | None) -> NDArray[np.bool_]:
    """Return where a band has a value of no data, which its dtype may not hold."""
    if value is not None and math.isnan(value):
        return np.asarray(np.isnan(band))
    if value is not None and band.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return np.asarray(band == band.dtype.type(value))
    holds = value is not None and float(value).is_integer() and band.dtype.kind in "iu"
    if value is None or not holds:
        return np.zeros(band.shape, np.bool_)
    limits = np.iinfo(band.dtype)
    fits = limits.min <= value <= limits.max
    return np.asarray(band == int(value)) if fits else np.zeros(band.shape, np.bool_)


def apart_by(image: Raster, mask: Raster) -> str:
    """Say by how much a mask is elsewhere than its image; empty if it is not, or that is unknown.

    Parameters
    ----------
    image, mask
        Headers. Corners may be a tenth of an image's pixel apart.
    """
    if image.crs and mask.crs and image.crs != mask.crs:
        one, other = (CRS.from_wkt(each.crs) for each in (image, mask))
        if one != other:
            return f"{shown_crs(mask.crs)} where the image has {shown_crs(image.crs)}"
    if image.affine is None or mask.affine is None:
        return ""
    to_image, to_mask = np.array(image.affine), np.array(mask.affine)
    height, width = image.measure.height, image.measure.width
    corners = np.array([(0, 0, 1), (0, width, 1), (height, 0, 1), (height, width, 1)])
    steps = (corners @ (to_mask - to_image).T)[:, :2]
    pixel = np.hypot(*to_image[:2, :2]).min()
    apart = np.hypot(*steps.T).max()
    if apart <= APART * pixel:
        return ""
    return (
        f"one whose corners are up to {apart / pixel if pixel else math.inf:.4g} pixels away: its "
        f"transform is {_shown(mask)}, the image's {_shown(image)}"
    )


def _shown(raster: Raster) -> str:
    """Return a transform as GDAL writes it: origin and steps of x, then of y."""
    assert raster.affine is not None
    (b, a, c), (e, d, f), _ = raster.affine
    return f"({', '.join(f'{number:.10g}' for number in (c, a, b, f, d, e))})"


def shown_crs(wkt: str) -> str:
    """Return a short name of a coordinate reference system, ``EPSG:32633`` if it has a number.

    Examples
    --------
    >>> shown_crs(CRS.from_epsg(4326).to_wkt())
    'EPSG:4326'
    """
    number = CRS.from_wkt(wkt).to_epsg()
    return f"EPSG:{number}" if number else wkt[:80]
