"""How is one frame of a DICOM file decoded, and what do its values mean?

pydicom leaves lossless JPEG, which hospital archives are full of, and JPEG of 12 bits to packages
of other licences, or none on PyPI. Importing this module registers imagecodecs for both.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import imagecodecs
import numpy as np
from pydicom import dcmread
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut
from pydicom.pixels.utils import as_pixel_options, pixel_array
from pydicom.uid import UID, JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1

from zarrfeed_convert.decoding.jpeg import parse_jpeg, require_whole_jpeg
from zarrfeed_convert.sources.cache import Cache, file_version
from zarrfeed_convert.sources.dicom import frames  # noqa: F401 (for what importing it does)
from zarrfeed_convert.sources.rescale import rescaled

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.pixels.decoders.base import DecodeRunner

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.sources.dicom.slices import Slice

_LABEL = "imagecodecs"
_DECODERS = {
    JPEGLossless: imagecodecs.jpegsof3_decode,
    JPEGLosslessSV1: imagecodecs.jpegsof3_decode,
    JPEGExtended12Bit: imagecodecs.jpeg8_decode,
}
# What pydicom looks for in a module of decoders is this, and the two functions below.
DECODER_DEPENDENCIES = dict.fromkeys(_DECODERS, ("numpy", "imagecodecs"))


def is_available(uid: str) -> bool:
    """Return whether files of a transfer syntax can be decoded."""
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


_COLORS = [
    f"{part}{color}PaletteColorLookupTable{end}"
    for color in ("Red", "Green", "Blue")
    for part, end in (("", "Descriptor"), ("", "Data"), ("Segmented", "Data"))
]
_TAGS = [
    "BitsAllocated", "BitsStored", "Columns", "ExtendedOffsetTable", "ExtendedOffsetTableLengths",
    "ModalityLUTSequence", "NumberOfFrames", "PhotometricInterpretation", "PixelRepresentation",
    "PlanarConfiguration", "Rows", "SamplesPerPixel", *_COLORS,
]  # fmt: skip
_REMEMBERED = 64  # files whose frames a process can find without looking at the header again
_KINDS = ("OB", "OW", "OF", "OD", "UN")
_KEYWORDS = {0x0008: "FloatPixelData", 0x0009: "DoubleFloatPixelData", 0x0010: "PixelData"}


@dataclass(frozen=True, slots=True)
class _Pixels:
    """Where a file's pixels are, and how they are decoded.

    `start` is None if the file is deflated or mixes two encodings. `table_bits` is the number of
    bits of the values in its modality table.
    """

    header: Any
    options: dict[str, Any]
    start: int | None
    table_bits: int


class FrameReader:
    """Decodes frames one at a time. Picklable and thread-safe; it keeps no file open."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._known: Cache[_Pixels] = Cache(_REMEMBERED)

    def read(self, path: str, frame: int) -> NDArray[Any]:
        """Decode a frame: (H, W) or (H, W, C), colours as RGB."""
        return self._decode(path, self._find(path), frame)

    def read_slice(
        self, one: Slice, *, rescale: bool, within: tuple[slice, ...] = ()
    ) -> NDArray[Any]:
        """Decode a slice, or a part of it.

        Parameters
        ----------
        one
            The slice.
        rescale
            Apply the modality transformation, if the file has one.
        within
            The rows and columns of the part.
        """
        found = self._find(one.path)
        values = self._decode(one.path, found, one.frame)[within]
        if one.has_palette:
            return np.asarray(apply_color_lut(values, found.header))
        if rescale and one.table:
            values = np.asarray(apply_modality_lut(values, found.header))
            return _positive(values, found.table_bits) if one.negative else values
        if one.negative:
            values = _positive(values, one.bits)
        if rescale:
            return rescaled(values, *one.scale, one.packed(rescale=True))
        return values

    def _find(self, path: str) -> _Pixels:
        return self._known.get(file_version(path), lambda: _find_pixels(path))

    def _decode(self, path: str, found: _Pixels, frame: int) -> NDArray[Any]:
        if found.start is None:
            return pixel_array(dcmread(path), index=frame)
        syntax = found.options["transfer_syntax_uid"]
        with Path(path).open("rb") as file:
            if found.options["bits_allocated"] == 1 and not syntax.is_compressed:
                return _unpack(file, found, frame)
            if syntax == JPEGBaseline8Bit:  # Pillow fills up what is missing
                file.seek(found.start)
                count = int(found.options.get("number_of_frames") or 1)
                frames = get_frame(file, frame, number_of_frames=count)
                require_whole_jpeg(frames, path, self._limits)
            file.seek(found.start)
            values, _ = get_decoder(syntax).as_array(file, index=frame, **found.options)
        return values


def _positive(values: NDArray[Any], bits: int) -> NDArray[Any]:
    """Invert the values, so that the highest is white as in other images."""
    highest = (1 << bits) - 1 if values.dtype.kind == "u" else -1  # of signed ones: -1 - value
    return np.asarray(values.dtype.type(highest) - values)


def _find_pixels(path: str) -> _Pixels:
    with Path(path).open("rb") as file:
        header = dcmread(file, stop_before_pixels=True, specific_tags=list(_TAGS))
        syntax = header.file_meta.TransferSyntaxUID
        options = as_pixel_options(header, transfer_syntax_uid=syntax)
        options["transfer_syntax_uid"] = syntax
        bits = _whole_bytes(header)
        if syntax.is_deflated:
            return _Pixels(header, options, None, bits)
        # pydicom has stopped in front of the pixels' own header: tag, then VR, then length.
        group, element = struct.unpack(f"{'<' if syntax.is_little_endian else '>'}2H", file.read(4))
        if group != 0x7FE0 or element not in _KEYWORDS:
            raise ValueError("it has no pixels")
        options["pixel_keyword"] = _KEYWORDS[element]
        if syntax.is_implicit_VR:
            return _Pixels(header, options, file.tell() + 4, bits)
        options["pixel_vr"] = file.read(2).decode("latin-1")
        whole = options["pixel_vr"] in _KINDS
        return _Pixels(header, options, file.tell() + 6 if whole else None, bits)


def _whole_bytes(header: Any) -> int:
    """Give a modality table 8 or 16 bits, as pydicom needs; return those that it says."""
    tables: Any = header.get("ModalityLUTSequence")
    if not tables:
        return 0
    table = tables[0]
    entries, first, bits = table.LUTDescriptor
    table.LUTDescriptor = [entries, first, 16 if bits > 8 else 8]
    return int(bits)


def _unpack(file: BinaryIO, found: _Pixels, frame: int) -> NDArray[np.uint8]:
    """Read a frame of bits, which may begin within a byte.

    pydicom reads missing bytes as zeros and fails on some frames of odd sizes.
    """
    size = found.options["rows"], found.options["columns"]
    count = size[0] * size[1]
    first = frame * count
    start, stop = first // 8, -(-(first + count) // 8)
    file.seek((found.start or 0) + start)
    data = file.read(stop - start)
    if len(data) < stop - start:
        raise ValueError(f"it ends before frame {frame + 1} does")
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    return bits[first % 8 :][:count].reshape(size)
