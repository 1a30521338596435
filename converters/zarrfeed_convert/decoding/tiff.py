"""What pixels does a TIFF hold?

TIFFs are decoded by tifffile. Pillow reduces 16-bit colour to 8 bits and cannot read float colour.
"""

from __future__ import annotations

import io
import math
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import tifffile

from zarrfeed.errors import SourceError, look_up
from zarrfeed_convert.decoding.georeference import nodata_of, place_of
from zarrfeed_convert.decoding.jpeg import require_whole_jpeg
from zarrfeed_convert.decoding.pixels import Measure, Pixels, shown_channels, step_of, turn
from zarrfeed_convert.decoding.tiff_directories import require_end
from zarrfeed_convert.decoding.tiff_levels import level_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.decoding.tiff_levels import Level
_EXTRA = tifffile.EXTRASAMPLE
PALETTE = tifffile.PHOTOMETRIC.PALETTE
_MOST_PAGES = 4096  # in a file of one image; all but one are smaller copies of it
_MODEST = 16 << 20  # decoded bytes of a tile or strip that is decoded for a part of it


@contextmanager
def opened_level(file: BinaryIO, name: str, number: int = 0) -> Iterator[Level]:
    """Open a TIFF of one image, at one of its resolutions.

    Raises
    ------
    SourceError
        The file is damaged, has several images, or no such level.
    """
    require_end(file, name, most=_MOST_PAGES)
    with tifffile.TiffFile(file) as tiff:
        yield level_of(tiff, name, number)


def measure_tiff(
    file: BinaryIO, name: str, limits: Limits, level: int = 0, *, windows: bool = True
) -> Measure:
    """Read the header of a TIFF; see :func:`zarrfeed_convert.decoding.decode.measure`."""
    with opened_level(file, name, level) as found:
        has = has_windows(found.page)
        require_allowed(found.page, name, limits, windows=windows and has)
        if not (windows and has):
            limits.require_nbytes(found.page.parent.filehandle.size, name, "a file")
        return replace(measure_page(found.page, found.full), windows=has, levels=found.levels)


def measure_page(page: Any, full: Any = None) -> Measure:
    """Read what the tags of a page say about the image that :func:`arrange_page` returns.

    Parameters
    ----------
    page
        The page.
    full
        The page of the same image at full resolution; None if it is this one.
    """
    height, width = page.imagelength, page.imagewidth
    orientation = orientation_of(page, full)
    place = place_of(page if full is None else full)
    if place is not None and full not in (None, page):
        place = place.scaled(full.imagelength / height, full.imagewidth / width)
    if orientation >= 5:
        height, width = width, height
    turned, nodata = orientation > 1, nodata_of(page) or nodata_of(full)
    if page.photometric == PALETTE:
        palette = palette_of(page).tobytes()
        return Measure(height, width, 3, "uint8", palette, place, turned, nodata)
    if needs_conversion(page):
        return Measure(height, width, 3, "uint8", place=place, turned=turned)
    channels = page.samplesperpixel if _has_bands(page) else shown_channels(page.samplesperpixel)
    dtype = "uint8" if page.bitspersample < 8 else str(np.dtype(page.dtype))
    return Measure(height, width, channels, dtype, place=place, turned=turned, nodata=nodata)


def decode_tiff(data: bytes, name: str, limits: Limits, level: int = 0) -> Pixels | None:
    """Decode a TIFF at one of its resolutions.

    Returns
    -------
    Pixels or None
        None if its colours need a conversion that tifffile does not do (CMYK, Lab).

    Raises
    ------
    SourceError
        The file is truncated, is a stack, or exceeds `limits`.
    """
    with opened_level(io.BytesIO(data), name, level) as found:
        page = found.page
        require_allowed(page, name, limits)
        require_whole(page, len(data), name)
        require_whole_parts(page, name, limits)
        if needs_conversion(page):
            return None
        values = page.asarray()
        if values.ndim == 3 and page.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
            values = np.moveaxis(values, 0, 2)
        if values.ndim == 3 and values.shape[2] == 1:
            values = values[:, :, 0]
        pixels, said = arrange_page(values, page, found.full), measure_page(page, found.full)
        if pixels.values.shape[:2] != (said.height, said.width):
            raise SourceError(
                f"{name}: needed as many pixels as the tags say, {said.height}×{said.width}, found "
                f"{pixels.values.shape}; save the file anew"
            )
        return pixels


def arrange_page(values: NDArray[Any], page: Any, full: Any = None) -> Pixels:
    """Convert the stored values of a page, or of a part of it, to pixels as viewers show them.

    Parameters
    ----------
    values
        (H, W) or (H, W, C) stored values.
    page, full
        The page, whose tags say how to interpret the values, and that of the same image at full
        resolution, whose tags hold where the page has none.
    """
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    nodata = nodata_of(page) or nodata_of(full)
    if page.photometric == PALETTE:
        pixels = Pixels(values, palette_of(page), nodata=nodata)
    else:
        planes = values.ndim == 3 and values.shape[2] != page.samplesperpixel
        bands = planes or _has_bands(page)
        pixels = Pixels(
            _scaled(values, page),
            bands=bands,
            step=step_of(page.bitspersample),
            nodata=_shown_nodata(nodata, page, values.dtype),
        )
        if not bands and _EXTRA.ASSOCALPHA in page.extrasamples and values.shape[2] in (2, 4):
            pixels = Pixels(_divided(pixels.values))
    return turn(pixels, orientation_of(page, full))


def palette_of(page: Any) -> NDArray[np.uint8]:
    """Return the colours of a page with a palette, (n, 3)."""
    colors = np.asarray(page.colormap).T
    # Some writers store 8-bit colours in the 16-bit colour map. libtiff accepts these, too.
    return np.ascontiguousarray(colors >> 8 if colors.max(initial=0) > 255 else colors, np.uint8)


def _scaled(values: NDArray[Any], page: Any) -> NDArray[Any]:
    """Scale grey of fewer bits to 8 bits, and invert values if 0 is white."""
    if page.bitspersample < 8:
        values = values.astype(np.uint8) * np.uint8(step_of(page.bitspersample))
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and values.dtype.kind == "u":
        values = np.iinfo(values.dtype).max - values
    return values


def _shown_nodata(
    declared: tuple[float, ...], page: Any, dtype: np.dtype[Any]
) -> tuple[float, ...]:
    """Return the no-data values, inverted if 0 is white, as :func:`_scaled` inverts pixels."""
    if page.photometric != tifffile.PHOTOMETRIC.MINISWHITE or dtype.kind not in "bu":
        return declared
    top = (1 << page.bitspersample) - 1
    return tuple(top - value for value in declared)


def _divided(values: NDArray[Any]) -> NDArray[Any]:
    """Divide colours by their opacity if they are stored premultiplied, as Pillow does."""
    alpha, kind = values[:, :, -1:], values.dtype.kind
    opaque = 1 if kind == "f" else np.iinfo(values.dtype).max
    colors: NDArray[Any] = values[:, :, :-1].astype(f"{kind}8") * opaque
    by: NDArray[Any] = np.where(alpha <= 0, 1, alpha).astype(colors.dtype)
    divided = np.minimum(colors / by if kind == "f" else colors // by, opaque) * (alpha > 0)
    return np.concatenate([divided.astype(values.dtype), alpha], axis=2)


def _has_bands(page: Any) -> bool:
    """Return whether the channels are independent bands, not colours or grey with alpha."""
    alpha = any(kind in (_EXTRA.ASSOCALPHA, _EXTRA.UNASSALPHA) for kind in page.extrasamples)
    return page.samplesperpixel > 4 or (page.samplesperpixel == 2 and not alpha)


def needs_conversion(page: Any) -> bool:
    """Return whether a page has colours, such as CMYK, that tifffile does not convert to RGB."""
    photometric = page.photometric
    known = tifffile.PHOTOMETRIC
    if photometric == known.YCBCR:  # tifffile converts it only while it decodes JPEG
        return bool(page.compression != tifffile.COMPRESSION.JPEG)
    return photometric not in (known.MINISWHITE, known.MINISBLACK, known.RGB, known.PALETTE)


def has_windows(page: Any) -> bool:
    """Return whether a part of a page is decoded without much of the rest.

    Its pixels are stored in one piece as they are, or in tiles or strips of modest size.
    """
    if needs_conversion(page) or page.jpegheader is not None or page.dtype is None:
        return False
    if is_mappable(page):
        return True
    return bool(
        getattr(page, "tiledepth", 1) == 1
        and segment_nbytes(page) <= _MODEST
        and len(page.dataoffsets) >= math.prod(page.chunked)
        and len(page.databytecounts) >= math.prod(page.chunked)
    )


def is_mappable(page: Any) -> bool:
    """Return whether all pixels of a page lie in the file in one piece, as they are."""
    if not (page.is_final and len(page.dataoffsets) == 1):
        return False
    return bool(page.dataoffsets[0] + page.nbytes <= page.parent.filehandle.size)


def segment_nbytes(page: Any) -> int:
    """Return the decoded bytes of a tile or strip."""
    nbytes: int = math.prod(page.chunks) * np.dtype(page.dtype).itemsize
    return nbytes


def require_allowed(page: Any, name: str, limits: Limits, *, windows: bool = False) -> None:
    """Check that neither a page nor one of its tiles exceeds the limits.

    Parameters
    ----------
    page, name, limits
        The page, the name of the file for errors, and the limits.
    windows
        Whether the page is read in windows, so that its own size does not count.
    """
    dtype = page.dtype or np.dtype(np.uint64)
    samples = (page.imagedepth, page.samplesperpixel)
    shape = (page.imagelength, page.imagewidth, *samples)
    advice = ", or store it as tiles, which are decoded one by one: --tile 256x256"
    limits.require(
        (1, 1) if windows and min(shape) > 0 else shape,
        dtype,
        name,
        advice=advice if has_windows(page) else "",
    )
    if page.is_tiled:
        limits.require((page.tilelength, page.tilewidth, *samples), dtype, name, "a tile")


def require_whole(page: Any, size: int, name: str) -> None:
    """Check that a file contains all strips or tiles of a page. tifffile silently fills others.

    Parameters
    ----------
    page
        The page.
    size
        Bytes of the file.
    name
        Name of the file, for errors.

    Raises
    ------
    SourceError
        Strips or tiles are missing.
    """
    parts = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    present = sum(count > 0 for _, count in parts)
    needed = 1 if page.is_contiguous else math.prod(page.chunked)
    if present < needed:
        raise SourceError(
            f"{name}: cannot be decoded: it contains {present} of its {needed} strips or tiles; "
            "save it with all of them (gdal_translate -co SPARSE_OK=FALSE), or take it out"
            f"{look_up('damaged-file')}"
        )
    end = max(map(sum, parts), default=0)
    if end > size:
        raise SourceError(
            f"{name}: cannot be decoded: its pixels end at byte {end}, the file at byte {size}; "
            "restore it, or take it out"
            f"{look_up('damaged-file')}"
        )


def require_whole_parts(page: Any, name: str, limits: Limits) -> None:
    """Check that JPEG-compressed strips or tiles are complete. Decoders silently fill others.

    Raises
    ------
    SourceError
        One of them exceeds `limits`.
    ValueError
        One of them is truncated.
    """
    if page.compression != tifffile.COMPRESSION.JPEG:
        return
    file = page.parent.filehandle
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        file.seek(offset)
        require_whole_jpeg(file.read(count), name, limits, tables=page.jpegtables)


def orientation_of(page: Any, full: Any = None) -> int:
    """Return a page's orientation, 1 … 8 as EXIF numbers them; else that of the `full` page."""
    tag = page.tags.get("Orientation") or (full and full.tags.get("Orientation"))
    value = int(tag.value) if tag else 1
    return value if value in range(1, 9) else 1
