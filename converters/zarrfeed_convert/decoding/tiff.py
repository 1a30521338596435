"""What pixels does a TIFF hold?

By tifffile: Pillow cuts 16-bit colour to 8 bits, and knows no colour of floats.
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
_MOST_PAGES = 4096  # of a file with one image: the others are smaller copies of it


def measure_tiff(file: BinaryIO, name: str, limits: Limits) -> Measure:
    """Read a TIFF's header, as :func:`zarrfeed_convert.decoding.decode.measure` does."""
    require_end(file, name, most=_MOST_PAGES)
    with tifffile.TiffFile(file) as tiff:
        page = _only_page(tiff, name)
        require_allowed(page, name, limits)
        return measure_page(page)


def measure_page(page: Any) -> Measure:
    """Read what a page's tags say of the image that :func:`arrange_page` gives."""
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
        None where its colours need a conversion that tifffile leaves to others (CMYK, Lab).

    Raises
    ------
    SourceError
        It ends early, or is a stack.
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
                f"{name}: needed tags that agree on the pixels, found {said.height}×{said.width} "
                f"and {pixels.values.shape}; save the file anew"
            )
        return pixels


def arrange_page(values: NDArray[Any], page: Any) -> Pixels:
    """Return what a page's values show, turned the way viewers show them.

    Parameters
    ----------
    values
        (H, W) or (H, W, C), as they are stored.
    page
        Whose tags say what they mean.
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
    """Return the colours of a page that has a palette, (n, 3)."""
    colors = np.asarray(page.colormap).T
    # Some write 8 bits where 16 belong, which libtiff takes for what they are, too.
    return np.ascontiguousarray(colors >> 8 if colors.max(initial=0) > 255 else colors, np.uint8)


def _scaled(values: NDArray[Any], page: Any) -> NDArray[Any]:
    """Bring grey of fewer bits to 8, and make white the highest value."""
    if page.bitspersample < 8:
        values = values.astype(np.uint8) * np.uint8(step_of(page.bitspersample))
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and values.dtype.kind == "u":
        values = np.iinfo(values.dtype).max - values
    return values


def _shown_nodata(page: Any, dtype: np.dtype[Any]) -> tuple[float, ...]:
    """Return which of :func:`_scaled` values are none."""
    declared = nodata_of(page)
    if page.photometric != tifffile.PHOTOMETRIC.MINISWHITE or dtype.kind not in "bu":
        return declared
    top = (1 << page.bitspersample) - 1
    return tuple(top - value for value in declared)


def _divided(values: NDArray[Any]) -> NDArray[Any]:
    """Undo that colours were multiplied by their opacity, as Pillow does."""
    alpha, floats = values[:, :, -1:], values.dtype.kind == "f"
    opaque = 1 if floats else np.iinfo(values.dtype).max
    colors: NDArray[Any] = values[:, :, :-1].astype(np.float64 if floats else np.uint64) * opaque
    by: NDArray[Any] = np.where(alpha == 0, 1, alpha).astype(colors.dtype)
    divided = np.minimum(colors / by if floats else colors // by, opaque) * (alpha != 0)
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
    """Return whether samples of a pixel are neither colours nor grey and alpha."""
    alpha = any(kind in (_EXTRA.ASSOCALPHA, _EXTRA.UNASSALPHA) for kind in page.extrasamples)
    return page.samplesperpixel > 4 or (page.samplesperpixel == 2 and not alpha)


def _keyed(page: Any) -> Any:
    """Return a frame's page: frames are later pages that tifffile has read only in part."""
    return page.aspage() if isinstance(page, tifffile.TiffFrame) else page


def needs_conversion(page: Any) -> bool:
    """Return whether a page's colours are of a kind that tifffile leaves as they are stored."""
    photometric = page.photometric
    known = tifffile.PHOTOMETRIC
    if photometric == known.YCBCR:  # tifffile converts it only while it decodes JPEG
        return bool(page.compression != tifffile.COMPRESSION.JPEG)
    return photometric not in (known.MINISWHITE, known.MINISBLACK, known.RGB, known.PALETTE)


def require_allowed(page: Any, name: str, limits: Limits) -> None:
    """Refuse a page that claims more pixels than may be decoded, or has parts that do."""
    dtype = page.dtype or np.dtype(np.uint64)
    samples = (page.imagedepth, page.samplesperpixel)
    limits.require((page.imagelength, page.imagewidth, *samples), dtype, name)
    if page.is_tiled:
        limits.require((page.tilelength, page.tilewidth, *samples), dtype, name, "a tile")


def require_whole(page: Any, size: int, name: str) -> None:
    """Refuse a file that lacks some of a page's pixels: tifffile fills them silently.

    Parameters
    ----------
    page
        The page.
    size
        Of the file.
    name
        For errors.
    """
    parts = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    present = sum(count > 0 for _, count in parts)
    needed = 1 if page.is_contiguous else math.prod(page.chunked)
    if present < needed:
        raise SourceError(
            f"{name}: cannot be decoded: it has the pixels of {present} of its {needed} strips or "
            "tiles; save it with all of them (gdal_translate -co SPARSE_OK=FALSE), or take it out"
        )
    end = max(map(sum, parts), default=0)
    if end > size:
        raise SourceError(
            f"{name}: cannot be decoded: its pixels end at byte {end}, the file at byte {size}; "
            "restore it, or take it out"
        )


def require_whole_parts(page: Any, name: str, limits: Limits) -> None:
    """Refuse strips or tiles that are JPEGs and end early: decoders fill them silently.

    Raises
    ------
    ValueError
        One does.
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
