"""Who decodes lossless JPEG in DICOM files?

Most archives of hospitals hold it, and pydicom leaves it to packages of other licences or none on
PyPI. imagecodecs is here anyway: importing this module makes it one of pydicom's decoders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import imagecodecs
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, JPEGLossless, JPEGLosslessSV1

if TYPE_CHECKING:
    from pydicom.pixels.decoders.base import DecodeRunner

# What pydicom looks for in a module of decoders is this, and the two functions below.
DECODER_DEPENDENCIES = dict.fromkeys((JPEGLossless, JPEGLosslessSV1), ("numpy", "imagecodecs"))
_LABEL = "imagecodecs"


def is_available(uid: str) -> bool:
    """Tell whether files of a transfer syntax can be decoded."""
    return uid in DECODER_DEPENDENCIES


def decode_frame(src: bytes, runner: DecodeRunner) -> bytes:
    """Decode a frame: its samples in C order, little-endian, channels last."""
    values = imagecodecs.jpegsof3_decode(src)
    return bytes(values.astype(f"<u{runner.bits_allocated // 8}", copy=False).tobytes())


def _register(uid: UID) -> None:
    decoder = get_decoder(uid)
    if _LABEL not in decoder.available_plugins:
        decoder.add_plugin(_LABEL, (__name__, decode_frame.__name__))


for _uid in DECODER_DEPENDENCIES:
    _register(_uid)
