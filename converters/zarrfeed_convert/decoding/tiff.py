"""What pixels does a TIFF hold?

TIFFs are decoded by tifffile. Pillow reduces 16-bit colour to 8 bits and cannot read float colour.
"""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import tifffile

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.georeference import nodata_of, place_of
from zarrfeed_convert.decoding.jpeg import require_whole_jpeg
from zarrfeed_convert.decoding.pixels import Measure, Pixels, shown_channels, step_of, turn
from zarrfeed_convert.decoding.tiff_directories import require_end

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.limits import Limits
_EXTRA = tifffile.EXTRASAMPLE
PALETTE = tifffile.PHOTOMETRIC.PALETTE
_MOST_PAGES = 4096  # in a file of one image; all but one are smaller copies of it


def measure_tiff(file: BinaryIO, name: str, limits: Limits) -> Measure:
    """Read the header of a TIFF; see :func:`zarrfeed_convert.decoding.decode.measure`."""
    require_end(file, name, most=_MOST_PAGES)
    with tifffile.TiffFile(file) as tiff:
        page = _only_page(tiff, name)
        require_allowed(page, name, limits)
        return measure_page(page)


def measure_page(page: Any) -> Measure:
    """Read what the tags of a page say about the image that :func:`arrange_page` returns."""
    height, width = page.imagelength, page.imagewidth
    orientation = _orientation(page)
    if orientation >= 5:
        height, width = width, height
    place, turned = place_of(page), orientation > 1
    if page.photometric == PALETTE:
        palette = palette_of(page).tobytes()
        return Measure(height, width, 3, "uint8", palette, place, turned, nodata_of(page))
    if needs_conversion(page):
        return Measure(height, width, 3, "uint8", place=place, turned=turned)
    channels = page.samplesperpixel if _has_bands(page) else shown_channels(page.samplesperpixel)
    dtype = "uint8" if page.bitspersample < 8 else str(np.dtype(page.dtype))
    nodata = nodata_of(page)
    return Measure(height, width, channels, dtype, place=place, turned=turned, nodata=nodata)


def decode_tiff(data: bytes, name: str, limits: Limits) -> Pixels | None:
    """Decode a TIFF.

    Returns
    -------
    Pixels or None
        None if its colours need a conversion that tifffile does not do (CMYK, Lab).

    Raises
    ------
    SourceError
        The file is truncated, is a stack, or exceeds `limits`.
    """
    file = io.BytesIO(data)
    require_end(file, name, most=_MOST_PAGES)
    with tifffile.TiffFile(file) as tiff:
        page = _only_page(tiff, name)
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
        pixels, said = arrange_page(values, page), measure_page(page)
        if pixels.values.shape[:2] != (said.height, said.width):
            raise SourceError(
                f"{name}: needed as many pixels as the tags say, {said.height}×{said.width}, found "
                f"{pixels.values.shape}; save the file anew"
            )
        return pixels


def arrange_page(values: NDArray[Any], page: Any) -> Pixels:
    """Convert the stored values of a page to pixels, rotated as viewers show them.

    Parameters
    ----------
    values
        (H, W) or (H, W, C) stored values.
    page
        The page, whose tags say how to interpret the values.
    """
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if page.photometric == PALETTE:
        pixels = Pixels(values, palette_of(page), nodata=nodata_of(page))
    else:
        planes = values.ndim == 3 and values.shape[2] != page.samplesperpixel
        bands = planes or _has_bands(page)
        pixels = Pixels(
            _scaled(values, page),
            bands=bands,
            step=step_of(page.bitspersample),
            nodata=_shown_nodata(page, values.dtype),
        )
        if not bands and _EXTRA.ASSOCALPHA in page.extrasamples and values.shape[2] in (2, 4):
            pixels = Pixels(_divided(pixels.values))
    return turn(pixels, _orientation(page))


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


def _shown_nodata(page: Any, dtype: np.dtype[Any]) -> tuple[float, ...]:
    """Return the no-data values, inverted if 0 is white, as :func:`_scaled` inverts pixels."""
    declared = nodata_of(page)
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


def _only_page(tiff: tifffile.TiffFile, name: str) -> Any:
    full: list[Any] = [page for page in map(_keyed, tiff.pages) if not page.is_reduced]
    if len(full) != 1:
        raise SourceError(
            f"{name}: needed one image in the file, found {len(full)} TIFF pages; use --format "
            "tiff for stacks; save bands as one page (gdal_translate, or tifffile.imwrite with "
            "photometric='minisblack' and planarconfig='contig', of an array (H, W, C))"
        )
    page = full[0]
    if page.imagedepth > 1:
        raise SourceError(
            f"{name}: needed an image, found shape {page.shape} (axes {page.axes}); use --format "
            "tiff for stacks"
        )
    return page


def _has_bands(page: Any) -> bool:
    """Return whether the channels are independent bands, not colours or grey with alpha."""
    alpha = any(kind in (_EXTRA.ASSOCALPHA, _EXTRA.UNASSALPHA) for kind in page.extrasamples)
    return page.samplesperpixel > 4 or (page.samplesperpixel == 2 and not alpha)


def _keyed(page: Any) -> Any:
    """Return a page with all its tags; tifffile reads later pages (frames) only in part."""
    return page.aspage() if isinstance(page, tifffile.TiffFrame) else page


def needs_conversion(page: Any) -> bool:
    """Return whether a page has colours, such as CMYK, that tifffile does not convert to RGB."""
    photometric = page.photometric
    known = tifffile.PHOTOMETRIC
    if photometric == known.YCBCR:  # tifffile converts it only while it decodes JPEG
        return bool(page.compression != tifffile.COMPRESSION.JPEG)
    return photometric not in (known.MINISWHITE, known.MINISBLACK, known.RGB, known.PALETTE)


def require_allowed(page: Any, name: str, limits: Limits) -> None:
    """Check that neither a page nor one of its tiles exceeds the limits."""
    dtype = page.dtype or np.dtype(np.uint64)
    samples = (page.imagedepth, page.samplesperpixel)
    limits.require((page.imagelength, page.imagewidth, *samples), dtype, name)
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
        )
    end = max(map(sum, parts), default=0)
    if end > size:
        raise SourceError(
            f"{name}: cannot be decoded: its pixels end at byte {end}, the file at byte {size}; "
            "restore it, or take it out"
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


def _orientation(page: Any) -> int:
    tag = page.tags.get("Orientation")
    value = int(tag.value) if tag is not None else 1
    return value if value in range(1, 9) else 1
