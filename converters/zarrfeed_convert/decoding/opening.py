"""Which of Pillow's decoders may open a file, and does the file contain the pixels that it claims?

Pillow detects about forty formats. One of them starts a program (EPS runs the first ``gs`` in
``PATH``), others open further files. Therefore only some formats are allowed, by the first bytes of
the file, never by its name. Pillow's own limit of 179 million pixels is a global of the process and
is not used. The limit here belongs to the source.
"""

from __future__ import annotations

import re
import zlib
from math import ceil
from typing import TYPE_CHECKING, BinaryIO

from PIL import Image, UnidentifiedImageError

if TYPE_CHECKING:
    from zarrfeed_convert.decoding.limits import Limits

_FORMATS = {
    rb"\x89PNG\r\n\x1a\n": "PNG",
    rb"\xff\xd8\xff": "JPEG",  # and MPO, which begins with one
    rb"RIFF....WEBP": "WEBP",
    rb"BM": "BMP",
    rb"GIF8[79]a": "GIF",
    rb"P[1-6]\s": "PPM",
    rb"II\*\0|MM\0\*|II\+\0|MM\0\+": "TIFF",
}
_HEAD = 30
_DTYPES = {"F": "float32", "I": "int32", "I;16": "uint16", "I;16L": "uint16", "I;16B": "uint16"}
_PIECE = 1 << 20  # bytes to decompress at a time
# Adam7: first row and first column of each pass, and the steps to the next ones.
_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
           (1, 0, 2, 1))  # fmt: skip
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # colour type -> values per pixel


def open_image(file: BinaryIO, name: str, limits: Limits) -> Image.Image:
    """Open an image file with the decoder that its first bytes select, without decoding it.

    Raises
    ------
    UnidentifiedImageError
        The first bytes are those of no allowed format.
    SourceError
        The image exceeds `limits`.
    """
    head = file.read(_HEAD)
    file.seek(0)
    found = next((kind for start, kind in _FORMATS.items() if re.match(start, head, re.S)), None)
    if found is None:
        raise UnidentifiedImageError
    if found == "WEBP" and (size := _webp_size(head)):
        limits.require((*size, 4), "uint8", name)  # Pillow allocates the pixels on opening
    Image.preinit()
    if found not in Image.OPEN:
        Image.init()
    image = Image.OPEN[found][0](file, "")
    width, height = image.size
    limits.require((height, width, len(image.getbands())), _DTYPES.get(image.mode, "uint8"), name)
    return image


def _webp_size(head: bytes) -> tuple[int, int] | None:
    """Read (height, width) from the header of a WebP; None if the header is unknown."""
    if head[12:16] == b"VP8X":
        width, height = (int.from_bytes(head[at : at + 3], "little") + 1 for at in (24, 27))
    elif head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif head[12:16] == b"VP8 ":
        width, height = (int.from_bytes(head[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    else:
        return None
    return height, width


def require_whole_png(data: bytes) -> None:
    """Check that a PNG contains all pixels. Pillow silently fills missing ones with 0.

    Raises
    ------
    ValueError
        Pixels are missing.
    """
    unpacked, left, at = zlib.decompressobj(), _png_nbytes(data), 8
    while left > 0 and at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"IDAT":
            piece = unpacked.decompress(data[at + 8 : at + 8 + length], _PIECE)
            while piece:
                left -= len(piece)
                piece = unpacked.decompress(unpacked.unconsumed_tail, _PIECE)
        at += length + 12
    if left > 0:
        raise ValueError("truncated")


def _png_nbytes(data: bytes) -> int:
    """Return the size of a PNG's pixels before compression, including one filter byte per row."""
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    bits = data[24] * _SAMPLES[data[25]]
    passes = _PASSES if data[28] else ((0, 0, 1, 1),)
    sizes = (
        (ceil((height - top) / down), ceil((width - left) / right))
        for top, left, down, right in passes
    )
    return sum(rows * (1 + ceil(columns * bits / 8)) for rows, columns in sizes
               if rows > 0 and columns > 0)  # fmt: skip
