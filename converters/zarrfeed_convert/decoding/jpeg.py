"""What does a JPEG say of itself, and does all of it come?

    FF D8 | FF marker length payload … | FF DA length header, pixels … | FF DA … | FF D9

libjpeg, in every decoder, fills up what is missing and warns where nobody hears it. A file that
was cut and has an end marker again looks whole, until it is decoded once more with other bytes
before that marker: only a decoder that still waits for pixels takes them for some.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.limits import Limits

START = b"\xff\xd8\xff"
_END, _SCAN = 0xD9, 0xDA
_BARE = frozenset([0x01, *range(0xD0, 0xD9)])  # markers without a length
# Frames, by their markers: C4, C8 and CC are none.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
_SAYS = (b"Exif", b"MPF\0")  # orientation; other pictures in the same file
_MOST_PASSES = 256  # honest files have ten or so; each goes over all pixels again
_COEFFICIENTS, _UNSEEN = 64, 99
_MARKER = re.compile(rb"\xff[^\x00\xff]")
_AFTER_PIXELS = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_JUNK = b"\x55\xaa\x92\x49\x24" * 40  # bits that are codes of whatever table
_CORNER = 4  # pixels


@dataclass(slots=True)
class Jpeg:
    """A JPEG, as its markers say.

    Attributes
    ----------
    shape
        (H, W, C) as it is stored; None where no marker says it.
    plain
        Whether nothing says how it is to be shown: no orientation, no further pictures.
    passes
        How often its pixels are gone over; baseline files do it once.
    end
        Where its end marker is; None where there is none.
    missing
        Component → for every coefficient, how many of its bits are in none of the passes.
    """

    shape: tuple[int, int, int] | None = None
    plain: bool = True
    passes: int = 0
    end: int | None = None
    missing: dict[int, list[int]] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Return whether there are an end, and all passes before it."""
        return self.end is not None and not any(any(bits) for bits in self.missing.values())


def parse_jpeg(data: bytes, name: str) -> Jpeg:
    """Go from marker to marker, ``FF marker length …``, as decoders do.

    Raises
    ------
    SourceError
        It has more passes than any encoder writes: decoding it would take for ever.
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
        jpeg.plain = jpeg.plain and not payload.startswith(_SAYS)
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
    """Decode a JPEG as its values are stored, all of them or none.

    Raises
    ------
    SourceError
        It claims too much, or pixels are missing.
    """
    if jpeg.shape is not None:
        limits.require(jpeg.shape, np.uint8, name)
    values: NDArray[Any] = imagecodecs.jpeg8_decode(data)
    if not jpeg.whole or not _all_there(data, jpeg, values):
        raise ValueError("truncated")
    return values


def require_whole_jpeg(
    data: bytes, name: str, limits: Limits, *, tables: bytes | None = None
) -> None:
    """Refuse a JPEG within another file that lacks pixels, or claims too many.

    Parameters
    ----------
    data, name
        The JPEG, and the file for errors.
    limits
        What it may claim.
    tables
        Of all JPEGs in the file, where they are not in each.

    Raises
    ------
    SourceError
        It claims too many.
    ValueError
        It lacks some.
    """
    jpeg = parse_jpeg(data, name)
    if jpeg.shape is not None:
        limits.require(jpeg.shape, np.uint8, name)
    values = imagecodecs.jpeg8_decode(data, tables=tables)
    if not jpeg.whole or not _all_there(data, jpeg, values, tables):
        raise ValueError("truncated: a JPEG in it ends early")


def _all_there(data: bytes, jpeg: Jpeg, values: NDArray[Any], tables: bytes | None = None) -> bool:
    # Where a file of one pass is cut, its last block is of one colour. Few whole files look so.
    corner = values[-_CORNER:, -_CORNER:]
    if jpeg.passes == 1 and (corner != corner[:1, :1]).any():
        return True
    again = imagecodecs.jpeg8_decode(data[: jpeg.end] + _JUNK + data[jpeg.end :], tables=tables)
    return np.array_equal(values, again)
