"""What do the markers of a JPEG say, and is the file complete?

    FF D8 | FF marker length payload … | FF DA length header, pixels … | FF DA … | FF D9

libjpeg, which all decoders use, fills missing pixels and only prints a warning. A truncated file
that has an end marker all the same looks complete. It is recognised by decoding it a second time
with other bytes inserted before that marker: the pixels change only if some were missing.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.limits import Limits

START = b"\xff\xd8\xff"
_END, _SCAN = 0xD9, 0xDA
_BARE = frozenset([0x01, *range(0xD0, 0xD9)])  # markers without a length
# Markers of frames. C4, C8 and CC have other meanings.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
_DISPLAY = (b"Exif", b"MPF\0")  # orientation; further pictures in the same file
_MOST_PASSES = 256  # encoders write about ten; the time to decode grows with their number
_COEFFICIENTS, _UNSEEN = 64, 99
_MARKER = re.compile(rb"\xff[^\x00\xff]")
_AFTER_PIXELS = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_JUNK = b"\x55\xaa\x92\x49\x24" * 40  # bits that decode as something with any Huffman table
_CORNER = 4  # pixels


@dataclass(slots=True)
class Jpeg:
    """What the markers of a JPEG say.

    Attributes
    ----------
    shape
        (H, W, C) as stored; None if no marker says it.
    plain
        Whether the file has neither an orientation nor further pictures.
    passes
        Number of passes over the pixels; 1 in baseline files.
    end
        Byte at which the end marker begins; None if there is none.
    missing
        Component → for each coefficient, the number of its bits that no pass contains.
    """

    shape: tuple[int, int, int] | None = None
    plain: bool = True
    passes: int = 0
    end: int | None = None
    missing: dict[int, list[int]] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether the file has an end marker and all passes before it."""
        return self.end is not None and not any(any(bits) for bits in self.missing.values())


def parse_jpeg(data: bytes, name: str) -> Jpeg:
    """Read the markers of a JPEG, ``FF marker length …``, as decoders do.

    Raises
    ------
    SourceError
        The file has more passes than any encoder writes. Decoding it could take very long.
    """
    jpeg, at, progressive = Jpeg(), 2, False
    while found := _MARKER.search(data, at):
        at, marker = found.end(), data[found.end() - 1]
        if marker == _END:
            jpeg.end = found.start()
            break
        if marker in _BARE:
            continue
        length = int.from_bytes(data[at : at + 2], "big")
        payload = data[at + 2 : at + length]
        at += max(length, 2)
        if marker in _FRAMES and len(payload) >= 6:
            height, width, parts = struct.unpack(">HHB", payload[1:6])
            jpeg.shape, progressive = (height, width, parts), marker in _PROGRESSIVE
            bits = [_UNSEEN] * (_COEFFICIENTS if progressive else 1)
            jpeg.missing = {part: list(bits) for part in payload[6 : 6 + 3 * parts : 3]}
        jpeg.plain = jpeg.plain and not payload.startswith(_DISPLAY)
        if marker == _SCAN:
            jpeg.passes += 1
            _note_pass(payload, jpeg.missing, progressive=progressive)
            pixels = _AFTER_PIXELS.search(data, at)
            at = pixels.start() if pixels else len(data)
    if jpeg.passes > _MOST_PASSES:
        raise SourceError(
            f"{name}: needed a JPEG of at most {_MOST_PASSES} passes over its pixels, found "
            f"{jpeg.passes}; save it anew"
        )
    return jpeg


def _note_pass(header: bytes, missing: dict[int, list[int]], *, progressive: bool) -> None:
    parts = header[0] if header else 0
    if len(header) < 4 + 2 * parts:
        return
    first, last, approximation = header[1 + 2 * parts : 4 + 2 * parts]
    places = range(first, min(last, _COEFFICIENTS - 1) + 1) if progressive else range(1)
    for bits in (missing[part] for part in header[1 : 1 + 2 * parts : 2] if part in missing):
        for place in places:
            bits[place] = min(bits[place], approximation & 15) if progressive else 0


def decode_jpeg(data: bytes, jpeg: Jpeg, name: str, limits: Limits) -> NDArray[Any]:
    """Decode a complete JPEG, without applying its orientation.

    Raises
    ------
    SourceError
        Its shape exceeds `limits`.
    ValueError
        Pixels are missing.
    """
    if jpeg.shape is not None:
        limits.require(jpeg.shape, np.uint8, name)
    values: NDArray[Any] = imagecodecs.jpeg8_decode(data)
    if not jpeg.whole or not _all_there(data, jpeg, values, imagecodecs.jpeg8_decode):
        raise ValueError("truncated")
    return values


def require_whole_jpeg(
    data: bytes, name: str, limits: Limits, *, tables: bytes | None = None
) -> None:
    """Check that a JPEG inside another file is complete and within the limits.

    Parameters
    ----------
    data, name
        The JPEG, and the name of the file for errors.
    limits
        Limits of the size that it may claim.
    tables
        Coding tables that all JPEGs of the file share, if it has such.

    Raises
    ------
    SourceError
        Its shape exceeds `limits`.
    ValueError
        Pixels are missing.
    """
    decode_whole_jpeg(data, name, limits, partial(imagecodecs.jpeg8_decode, tables=tables))


def decode_whole_jpeg(
    data: bytes, name: str, limits: Limits, decode: Callable[[bytes], NDArray[Any]]
) -> NDArray[Any]:
    """Decode a JPEG inside another file, and check that it is complete and within the limits.

    Parameters
    ----------
    data, name, limits
        As for :func:`require_whole_jpeg`.
    decode
        Decodes it to (…, H, W) or (…, H, W, C).

    Raises
    ------
    SourceError, ValueError
        As for :func:`require_whole_jpeg`.
    """
    jpeg = parse_jpeg(data, name)
    if jpeg.shape is not None:
        limits.require(jpeg.shape, np.uint8, name)
    values = decode(data)
    if not jpeg.whole or not _all_there(data, jpeg, values, decode):
        raise ValueError("truncated: a JPEG in it ends early")
    return values


def _all_there(
    data: bytes, jpeg: Jpeg, values: NDArray[Any], decode: Callable[[bytes], NDArray[Any]]
) -> bool:
    # In a truncated file of one pass, the last block has one colour. In few complete files it does,
    # so that few must be decoded twice.
    corner = values[-_CORNER:, -_CORNER:]
    if jpeg.passes == 1 and (corner != corner[:1, :1]).any():
        return True
    return np.array_equal(values, decode(data[: jpeg.end] + _JUNK + data[jpeg.end :]))
