"""What pixels does an image file hold?

This module and :mod:`~zarrfeed_convert.decoding.tiff` choose a decoder for each format: the fastest
one that decodes it correctly. For CamVid images (480×360, one core), imagecodecs takes 3.0 ms for a
PNG and 0.49 ms for a JPEG; Pillow takes 5.0 and 1.39 ms. A slower decoder is used where the faster
one is wrong:

- Decoders do not report every truncated JPEG. :mod:`~zarrfeed_convert.decoding.jpeg` does.
- Pillow silently reduces 16-bit colour PNG and TIFF to 8 bits. imagecodecs and tifffile do not.
- imagecodecs and OpenCV expand palettes to colours. In a palette mask, the index is the class.

NumPy's ``.npy`` files are images, too; their channels are independent bands.

Grey of 1, 2 and 4 bits is scaled to 8 bits, as viewers show it. For masks, the scaling is undone.
"""

from __future__ import annotations

import io
import os
import re
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

import imagecodecs
import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from zarrfeed.errors import SourceError, look_up
from zarrfeed_convert.decoding.jpeg import START, decode_jpeg, parse_jpeg
from zarrfeed_convert.decoding.limits import Limits, require_regular
from zarrfeed_convert.decoding.npy import NPY, decode_npy, measure_npy
from zarrfeed_convert.decoding.opening import open_image, require_whole_png
from zarrfeed_convert.decoding.pixels import Measure, Pixels, step_of, turn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

EXTENSIONS = frozenset([".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif"])
_ANIMATED = ("PNG", "WEBP", "GIF")  # not MPO, whose further pictures are previews

# First bytes of TIFF and BigTIFF, in either byte order.
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG_GREY, _PNG_PALETTE = 0, 3  # colour types in IHDR
# Position of the bits per pixel in a BMP. Pillow does not keep them if the palette is grey.
_BMP_DEPTH, _BMP_BITS = slice(28, 30), {"1": 1, "L": 8}
# Parts of the messages of libpng and Pillow about truncated files.
_TRUNCATED = ("input stream too small", "truncated", "Truncated", "Read Error", "Not enough")
# Pillow's modes whose values are used unchanged. Every other mode is converted to RGB.
_PLAIN_MODES = frozenset(["L", "LA", "RGB", "RGBA", "I;16", "I;16L", "I;16B", "F"])


def measure(
    path: Path, limits: Limits | None = None, *, level: int = 0, windows: bool = True
) -> Measure:
    """Read the header of an image file.

    Parameters
    ----------
    path
        Image file with one of the `EXTENSIONS`, or a ``.npy`` file.
    limits
        Limits of what the file may claim; by default :class:`Limits()`.
    level
        Number of the resolution; 0 is the full one, which files of one resolution have.
    windows
        Whether images that can be decoded in windows may exceed the limits; :func:`decode` refuses
        those.

    Returns
    -------
    Measure
        `channels` is the number of channels that the image has in colour ``auto``.

    Raises
    ------
    SourceError
        The file is not an image, is an animation or a stack, or exceeds `limits`.
    """
    with naming_file(str(path)):
        limits = limits or Limits()
        require_regular(path)
        with path.open("rb") as file:
            return _measure(
                file, str(path), limits, os.fstat(file.fileno()).st_size, level, windows
            )


def measure_bytes(data: bytes, name: str, limits: Limits | None = None) -> Measure:
    """Read the header of an image file in memory; see :func:`measure`.

    Parameters
    ----------
    data
        The file, or at least the beginning that contains its header.
    name
        Name of the file, for errors.
    limits
        Limits of what the file may claim; by default :class:`Limits()`.
    """
    with naming_file(name):
        return _measure(io.BytesIO(data), name, limits or Limits())


def decode(path: Path, limits: Limits | None = None, *, level: int = 0) -> Pixels:
    """Decode an image file, rotated as viewers show it (EXIF orientation).

    Parameters
    ----------
    path
        Image file with one of the `EXTENSIONS`, or a ``.npy`` file.
    limits
        Limits of what the file may claim; by default :class:`Limits()`.
    level
        Number of the resolution; 0 is the full one, which files of one resolution have.

    Raises
    ------
    SourceError
        The file is damaged, truncated, not an image, or exceeds `limits`.
    """
    with naming_file(str(path)):
        limits = limits or Limits()
        limits.require_readable(path)
        return _decode(path.read_bytes(), str(path), limits, level)


def decode_bytes(data: bytes, name: str, limits: Limits | None = None) -> Pixels:
    """Decode an image file in memory; see :func:`decode`.

    Parameters
    ----------
    data
        The whole file.
    name
        Name of the file, for errors.
    limits
        Limits of what the file may claim; by default :class:`Limits()`.
    """
    with naming_file(name):
        return _decode(data, name, limits or Limits())


@contextmanager
def naming_file(name: str) -> Iterator[None]:
    """Turn every exception of a decoder into a `SourceError` that names the file."""
    try:
        yield
    except SourceError:
        raise
    except Exception as error:  # decoders raise exceptions of any type for damaged files
        raise _undecodable(name, error) from error


def _measure(
    file: BinaryIO,
    name: str,
    limits: Limits,
    size: int | None = None,
    level: int = 0,
    windows: bool = False,
) -> Measure:
    head = file.read(26)
    if not head:
        raise ValueError("it is empty")
    file.seek(0)
    if head[:4] in TIFF:
        from zarrfeed_convert.decoding.tiff import measure_tiff  # its import takes 16 ms

        return measure_tiff(file, name, limits, level, windows=windows)
    if size is not None:
        limits.require_nbytes(size, name, "a file")
    _require_full(name, level)
    if head.startswith(NPY):
        return measure_npy(file, name, limits, size)
    with open_image(file, name, limits) as image:
        _require_one_picture(image, name)
        return _measure_pillow(image, head)


def _require_full(name: str, level: int) -> None:
    if level:
        raise SourceError(
            f"{name}: needed level {level}, found an image of one resolution; use -o level=0 for "
            "all images, or take it out"
        )


def _decode(data: bytes, name: str, limits: Limits, level: int = 0) -> Pixels:
    if not data:
        raise ValueError("it is empty")
    if data[:4] in TIFF:
        from zarrfeed_convert.decoding.tiff import decode_tiff

        pixels = decode_tiff(data, name, limits, level)
        if pixels is not None:
            return pixels
    _require_full(name, level)  # Pillow decodes no other one of TIFF, either
    if data.startswith(NPY):
        return decode_npy(data, name, limits)
    if data.startswith(START):
        jpeg = parse_jpeg(data, name)
        values = decode_jpeg(data, jpeg, name, limits)
        # Skip Pillow, which takes 0.03 ms to open a file; decoding a CamVid image takes 0.5.
        if jpeg.plain and values.dtype == np.uint8 and _is_grey_or_rgb(values):
            return Pixels(values, jpeg=True)
        with open_image(io.BytesIO(data), name, limits) as image:
            pixels = Pixels(values) if image.mode in ("L", "RGB") else _decode_pillow(image)
            return replace(turn(pixels, _orientation(image)), jpeg=True)
    with open_image(io.BytesIO(data), name, limits) as image:
        if image.format == "TIFF":  # Pillow rotates a TIFF itself
            return _decode_pillow(image)
        _require_one_picture(image, name)
        return turn(_decode_opened(image, data), _orientation(image))


def _require_one_picture(image: Image.Image, name: str) -> None:
    """Refuse an animation: Pillow would silently decode its first picture."""
    if image.format in _ANIMATED and getattr(image, "is_animated", False):
        raise SourceError(
            f"{name}: needed one image in the file, found an animation; save its frames as one "
            "file each"
        )


def _is_grey_or_rgb(values: NDArray[Any]) -> bool:
    return values.ndim == 2 or values.shape[2] == 3  # not CMYK


def _measure_pillow(image: Image.Image, ihdr: bytes) -> Measure:
    width, height = image.size
    orientation = _orientation(image)
    if orientation >= 5:
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
    return Measure(height, width, channels, dtype, _palette(image), turned=orientation > 1)


def _palette(image: Image.Image) -> bytes:
    """Return the colours of a palette; Pillow's `getpalette` would decode the pixels first."""
    if image.mode != "P" or image.palette is None:
        return b""
    raw = image.palette.rawmode or image.palette.mode
    bands = np.frombuffer(bytes(image.palette.palette), np.uint8)
    bands = bands[: bands.size - bands.size % len(raw)].reshape(-1, len(raw))
    return bands[:, [raw.index(band) for band in "RGB"]].tobytes()


def _decode_opened(image: Image.Image, data: bytes) -> Pixels:
    if image.format == "PNG" and data[25] != _PNG_PALETTE:
        sixteen = data[24] == 16
        if sixteen or (data[24] == 8 and "transparency" not in image.info):
            values = imagecodecs.png_decode(data)
            bands = len(image.getbands())
            if values.ndim == 3 and values.shape[2] != bands:
                # imagecodecs turned a transparent colour into an alpha channel, which is no data.
                values = values[:, :, 0] if bands == 1 else values[:, :, :bands]
            return Pixels(values)
    if image.format == "BMP" and image.mode in _BMP_BITS:
        bits = int.from_bytes(data[_BMP_DEPTH], "little")
        if bits != _BMP_BITS[image.mode]:
            indices = imagecodecs.bmp_decode(data, asrgb=False)
            step = 255 if image.mode == "1" else 1
            return Pixels(indices * np.uint8(step), step=step)
    if image.format != "PNG":
        return _decode_pillow(image)
    require_whole_png(data)
    grey = data[25] == _PNG_GREY
    return replace(_decode_pillow(image), step=step_of(data[24]) if grey else 1)


def _decode_pillow(image: Image.Image) -> Pixels:
    if image.mode == "P":
        indices = np.array(image, np.uint8)
        alpha = "transparency" in image.info
        # Pillow converts one pixel per index, so that its rules for transparency apply.
        strip = Image.frombytes("P", (256, 1), bytes(range(256)))
        strip.putpalette(image.getpalette() or [])
        strip.info = dict(image.info)
        palette = np.array(strip.convert("RGBA" if alpha else "RGB"), np.uint8)[0]
        return Pixels(indices, palette)
    if image.mode == "1":
        return Pixels(np.array(image.convert("L")), step=255)
    if image.mode not in _PLAIN_MODES:
        return Pixels(np.array(image.convert("RGB")))
    values = np.array(image)
    return Pixels(values.astype(values.dtype.newbyteorder("="), copy=False))


def _orientation(image: Image.Image) -> int:
    # `getexif` decodes a whole PNG to find EXIF behind the pixels. It is called only where EXIF
    # comes first.
    if not image.info.get("exif"):
        return 1
    value = image.getexif().get(ExifTags.Base.Orientation, 1)
    return value if value in range(1, 9) else 1


def _undecodable(name: str, error: Exception) -> SourceError:
    if isinstance(error, OSError) and error.errno is not None:
        return SourceError(f"{name}: cannot be decoded: {error}{look_up('damaged-file')}")
    return SourceError(
        f"{name}: cannot be decoded: {_readable(error)}; the file is damaged, truncated or not an "
        "image: restore it, or take it out"
        f"{look_up('damaged-file')}"
    )


def _readable(error: Exception) -> str:
    """Rewrite a decoder's message for users."""
    said = str(error).strip() or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        return "it does not begin like an image"
    if any(word in said for word in _TRUNCATED):
        return "truncated"
    return re.sub(r"\s*<_io\.\w+[^>]*>", "", said)
