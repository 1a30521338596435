"""What pixels does an image file hold?

The one module that knows decoders. Each format goes to the decoder that was fastest without
being wrong (CamVid, 480×360, one core): PNG by imagecodecs 3.0 ms against Pillow's 5.0, JPEG
0.49 against 1.39. Where a fast decoder is wrong, the slower one takes over:

- imagecodecs does not notice that a JPEG ends early; Pillow does.
- Pillow cuts 16-bit colour PNG and TIFF to 8 bits without a word; imagecodecs and tifffile don't.
- imagecodecs and OpenCV expand palettes to colours; in a palette mask the index is the class.

Grey of 1, 2 and 4 bits is scaled to 8 bits, as every viewer shows it.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import imagecodecs
import numpy as np
import tifffile
from PIL import ExifTags, Image

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

EXTENSIONS = frozenset([".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"])

Color: TypeAlias = Literal["auto", "grey", "rgb", "rgba"]
COLORS: tuple[Color, ...] = ("auto", "grey", "rgb", "rgba")
CHANNELS = {"grey": 1, "rgb": 3, "rgba": 4}

_IMAGE_DTYPES = ("uint8", "uint16", "float32")
_PNG_PALETTE = 3  # colour type in IHDR
# Pillow's modes that are an array as they are; every other mode is converted to RGB.
_PLAIN_MODES = frozenset(["L", "LA", "RGB", "RGBA", "I;16", "I;16L", "I;16B", "F"])


@dataclass(frozen=True, slots=True)
class Pixels:
    """A decoded file.

    Attributes
    ----------
    values
        (H, W) grey or palette indices, or (H, W, C) with C = 2 (grey, alpha), 3 or 4.
    palette
        (n, 3 or 4) uint8: the colours of the indices; None where `values` are no indices.
    """

    values: NDArray[Any]
    palette: NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True)
class Measure:
    """What a file's header says: its size as it is shown, and what :func:`decode` will return."""

    height: int
    width: int
    channels: int
    dtype: str


def measure(path: Path) -> Measure:
    """Read a file's header.

    Parameters
    ----------
    path
        An image file of any of the `EXTENSIONS`.

    Returns
    -------
    Measure
        `channels` are those of the file as an image in colour ``auto``: 1, 3 or 4.

    Raises
    ------
    SourceError
        The file is not an image, or not one that can be packed.
    """
    try:
        with path.open("rb") as file:
            if path.suffix.lower() in (".tif", ".tiff"):
                return _measure_tiff(file, path)
            ihdr = file.read(26)
            file.seek(0)
            with Image.open(file) as image:
                return _measure_pillow(image, ihdr)
    except SourceError:
        raise
    except Exception as error:  # decoders raise whatever they like on damaged files
        raise _undecodable(path, error) from error


def decode(path: Path) -> Pixels:
    """Decode a file, turned the way viewers show it (EXIF orientation).

    Parameters
    ----------
    path
        An image file of any of the `EXTENSIONS`.

    Raises
    ------
    SourceError
        The file is damaged, ends early, or is not an image.
    """
    try:
        data = path.read_bytes()
        if path.suffix.lower() in (".tif", ".tiff"):
            return _decode_tiff(data, path)
        with Image.open(io.BytesIO(data)) as image:
            return _turn(_decode_opened(image, data), _orientation(image))
    except SourceError:
        raise
    except Exception as error:  # decoders raise whatever they like on damaged files
        raise _undecodable(path, error) from error


def as_image(pixels: Pixels, color: Color) -> NDArray[Any]:
    """Arrange a file's pixels as an image.

    Parameters
    ----------
    pixels
        A decoded file.
    color
        ``auto`` keeps the channels that the file has; palettes become colours, and grey with
        alpha becomes RGBA. ``grey`` is ITU-R 601 luma, as in Pillow. A new alpha is opaque.

    Returns
    -------
    (H, W, C)
        C-contiguous, C = 1, 3 or 4.
    """
    values = pixels.values
    if pixels.palette is not None:
        values = pixels.palette[np.minimum(values, len(pixels.palette) - 1)]
    if values.ndim == 2:
        values = values[:, :, np.newaxis]
    channels = shown_channels(values.shape[2]) if color == "auto" else CHANNELS[color]
    return np.ascontiguousarray(_with_channels(values, channels))


def shown_channels(channels: int) -> int:
    """Count the channels that an image of so many has in colour ``auto``: alpha goes with RGB."""
    return 4 if channels == 2 else channels


def _with_channels(values: NDArray[Any], channels: int) -> NDArray[Any]:
    has = values.shape[2]
    if has == channels:
        return values
    if channels == 1:
        return values[:, :, :1] if has == 2 else _luma(values)
    colors = np.repeat(values[:, :, :1], 3, axis=2) if has < 3 else values[:, :, :3]
    if channels == 3:
        return colors
    opaque = 1 if values.dtype.kind == "f" else np.iinfo(values.dtype).max
    alpha = values[:, :, -1:] if has == 2 else np.full_like(colors[:, :, :1], opaque)
    return np.concatenate([colors, alpha], axis=2)


def _luma(values: NDArray[Any]) -> NDArray[Any]:
    red, green, blue = (values[:, :, [channel]] for channel in range(3))
    if values.dtype.kind == "f":
        return (0.299 * red + 0.587 * green + 0.114 * blue).astype(values.dtype)
    # Pillow's fixed-point weights, so that 8-bit luma is equal to its own.
    wide = (part.astype(np.uint64) for part in (red, green, blue))
    weighted = sum(part * np.uint64(w) for part, w in zip(wide, (19595, 38470, 7471), strict=True))
    return ((weighted + np.uint64(0x8000)) >> np.uint64(16)).astype(values.dtype)


def _undecodable(path: Path, error: Exception) -> SourceError:
    what = str(error).strip() or type(error).__name__
    if not isinstance(error, OSError) or error.errno is None:
        what += "; the file is damaged, ends early or is no image: restore it, or take it out"
    return SourceError(f"{path}: cannot be decoded: {what}")


# -- PNG, JPEG, BMP, WebP -------------------------------------------------------------------------


def _measure_pillow(image: Image.Image, ihdr: bytes) -> Measure:
    width, height = image.size
    if _orientation(image) >= 5:
        width, height = height, width
    mode = image.mode
    if mode == "P":
        channels = 4 if "transparency" in image.info else 3
    else:
        channels = {"1": 1, "L": 1, "F": 1, "LA": 4, "RGBA": 4}.get(mode, 3)
        if mode.startswith("I"):
            channels = 1
    dtype = "float32" if mode == "F" else "uint16" if mode.startswith("I") else "uint8"
    if image.format == "PNG" and ihdr[24] == 16:
        dtype = "uint16"
    return Measure(height, width, channels, dtype)


def _decode_opened(image: Image.Image, data: bytes) -> Pixels:
    if image.format == "PNG" and data[25] != _PNG_PALETTE:
        sixteen = data[24] == 16
        if sixteen or (data[24] == 8 and "transparency" not in image.info):
            values = imagecodecs.png_decode(data)
            bands = len(image.getbands())
            if values.ndim == 3 and values.shape[2] != bands:
                # A transparent colour key came out as an alpha channel; it is not one.
                values = values[:, :, 0] if bands == 1 else values[:, :, :bands]
            return Pixels(values)
    if image.format == "JPEG" and image.mode in ("L", "RGB") and _ends_whole(data):
        return Pixels(imagecodecs.jpeg8_decode(data))
    return _decode_pillow(image)


def _ends_whole(jpeg: bytes) -> bool:
    """Look for the end-of-image marker; some cameras pad with zeros after it."""
    return jpeg.rstrip(b"\0").endswith(b"\xff\xd9")


def _decode_pillow(image: Image.Image) -> Pixels:
    if image.mode == "P":
        indices = np.array(image, np.uint8)
        alpha = "transparency" in image.info
        # Pillow converts one pixel per index: its rules for transparency need no copy here.
        strip = Image.frombytes("P", (256, 1), bytes(range(256)))
        strip.putpalette(image.getpalette() or [])
        strip.info = dict(image.info)
        palette = np.array(strip.convert("RGBA" if alpha else "RGB"), np.uint8)[0]
        return Pixels(indices, palette)
    if image.mode == "1":
        return Pixels(np.array(image.convert("L")))
    if image.mode not in _PLAIN_MODES:
        return Pixels(np.array(image.convert("RGB")))
    values = np.array(image)
    return Pixels(values.astype(values.dtype.newbyteorder("="), copy=False))


def _orientation(image: Image.Image) -> int:
    # Pillow decodes a whole PNG to look for EXIF after the pixels: ask only where it is in front.
    if not image.info.get("exif"):
        return 1
    value = image.getexif().get(ExifTags.Base.Orientation, 1)
    return value if value in range(1, 9) else 1


def _turn(pixels: Pixels, orientation: int) -> Pixels:
    """Turn stored pixels the way that an EXIF orientation of 1 … 8 asks for."""
    values = pixels.values
    if orientation >= 5:
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return Pixels(values, pixels.palette)


# -- TIFF -----------------------------------------------------------------------------------------


def _measure_tiff(file: Any, path: Path) -> Measure:
    with tifffile.TiffFile(file) as tiff:
        page = _only_page(tiff, path)
        height, width = page.imagelength, page.imagewidth
        if _tiff_orientation(page) >= 5:
            height, width = width, height
        if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
            return Measure(height, width, 3, "uint8")
        if _needs_pillow(page):
            return Measure(height, width, 3, "uint8")
        channels = shown_channels(page.samplesperpixel)
        dtype = "uint8" if page.bitspersample < 8 else str(np.dtype(page.dtype))
        return Measure(height, width, channels, dtype)


def _decode_tiff(data: bytes, path: Path) -> Pixels:
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = _only_page(tiff, path)
        _require_whole(page, len(data), path)
        orientation = _tiff_orientation(page)
        if _needs_pillow(page):
            with Image.open(io.BytesIO(data)) as image:
                return _decode_pillow(image)  # Pillow turns TIFFs by itself
        values = page.asarray()
        if values.ndim == 3 and page.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
            values = np.moveaxis(values, 0, 2)
        if values.ndim == 3 and values.shape[2] == 1:
            values = values[:, :, 0]
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        palette = None
        if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
            palette = (np.asarray(page.colormap).T >> 8).astype(np.uint8)
        else:
            if page.bitspersample < 8:
                scale = 255 // ((1 << page.bitspersample) - 1)
                values = values.astype(np.uint8) * np.uint8(scale)
            if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and values.dtype.kind == "u":
                values = np.iinfo(values.dtype).max - values
        return _turn(Pixels(values, palette), orientation)


def _only_page(tiff: tifffile.TiffFile, path: Path) -> Any:
    full: list[Any] = [page for page in map(_keyed, tiff.pages) if not page.is_reduced]
    if len(full) != 1:
        raise SourceError(
            f"{path}: needed one image in the file, found {len(full)} TIFF pages; "
            "split the stack into one file a page"
        )
    page = full[0]
    if page.imagedepth > 1 or page.samplesperpixel > 4:
        raise SourceError(
            f"{path}: needed 1 to 4 channels, found shape {page.shape} (axes {page.axes})"
        )
    return page


def _keyed(page: Any) -> Any:
    """Give a frame's page: frames are later pages that tifffile has read only in part."""
    return page.aspage() if isinstance(page, tifffile.TiffFrame) else page


def _needs_pillow(page: Any) -> bool:
    photometric = page.photometric
    known = tifffile.PHOTOMETRIC
    if photometric == known.YCBCR:  # tifffile converts it only while it decodes JPEG
        return bool(page.compression != tifffile.COMPRESSION.JPEG)
    return photometric not in (known.MINISWHITE, known.MINISBLACK, known.RGB, known.PALETTE)


def _require_whole(page: Any, size: int, path: Path) -> None:
    """Refuse a file that ends before its pixels: a short strip may be filled up in silence."""
    end = max(map(sum, zip(page.dataoffsets, page.databytecounts, strict=True)), default=0)
    if end > size:
        raise SourceError(
            f"{path}: cannot be decoded: its pixels end at byte {end}, the file at byte {size}; "
            "restore it, or take it out"
        )


def _tiff_orientation(page: Any) -> int:
    tag = page.tags.get("Orientation")
    value = int(tag.value) if tag is not None else 1
    return value if value in range(1, 9) else 1


def require_packable(dtype: str, path: Path) -> None:
    """Refuse an image whose numbers no batch can hold.

    Raises
    ------
    SourceError
        Its dtype is not uint8, uint16 or float32.
    """
    if dtype not in _IMAGE_DTYPES:
        raise SourceError(
            f"{path}: needed an image of {', '.join(_IMAGE_DTYPES)}, found {dtype}; "
            "convert the file first"
        )
