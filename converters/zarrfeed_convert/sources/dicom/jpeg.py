"""Who decodes lossless JPEG, and JPEG of 12 bits, in DICOM files?

Archives of hospitals are full of the former, and pydicom leaves both to packages of other licences
or none on PyPI. imagecodecs is here anyway: importing this module makes it one of pydicom's
decoders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import imagecodecs
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1

from zarrfeed_convert.decoding.jpeg import parse_jpeg

if TYPE_CHECKING:
    from pydicom.pixels.decoders.base import DecodeRunner

_LABEL = "imagecodecs"
_DECODERS = {
    JPEGLossless: imagecodecs.jpegsof3_decode,
    JPEGLosslessSV1: imagecodecs.jpegsof3_decode,
    JPEGExtended12Bit: imagecodecs.jpeg8_decode,
}
# What pydicom looks for in a module of decoders is this, and the two functions below.
DECODER_DEPENDENCIES = dict.fromkeys(_DECODERS, ("numpy", "imagecodecs"))


def is_available(uid: str) -> bool:
    """Tell whether files of a transfer syntax can be decoded."""
    return uid in DECODER_DEPENDENCIES


def decode_frame(src: bytes, runner: DecodeRunner) -> bytes:
    """Decode a frame: its samples in C order, little-endian, channels last."""
    if runner.transfer_syntax == JPEGExtended12Bit and runner.samples_per_pixel > 1:
        raise NotImplementedError("colours of 12 bits")
    said = parse_jpeg(src, "frame").shape
    if said is None or said[:2] != (runner.rows, runner.columns):
        raise ValueError(f"needed a JPEG of {runner.rows}×{runner.columns}, found {said}")
    values = _DECODERS[runner.transfer_syntax](src)
    return bytes(values.astype(f"<u{runner.bits_allocated // 8}", copy=False).tobytes())


def _register(uid: UID) -> None:
    decoder = get_decoder(uid)
    if _LABEL not in decoder.available_plugins:
        decoder.add_plugin(_LABEL, (__name__, decode_frame.__name__))


for _uid in _DECODERS:
    _register(_uid)
