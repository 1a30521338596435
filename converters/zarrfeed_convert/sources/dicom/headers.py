"""What do the headers of DICOM files say about their slices?"""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pydicom.filereader import _read_file_meta_info, read_file_meta_info, read_preamble
from pydicom.uid import UID

from zarrfeed.errors import SourceError
from zarrfeed_convert.sources.dicom.slices import PALETTE, Slice, plane_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.sources.dicom.slices import Plane

_PIECE = 1 << 20  # bytes in memory at a time
_SEGMENTS = (  # of a frame per segment; of segment numbers
    "1.2.840.10008.5.1.4.1.1.66.4",
    "1.2.840.10008.5.1.4.1.1.66.7",
)
_STRUCTURES = "1.2.840.10008.5.1.4.1.1.481.3"  # RTSTRUCT
_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "InstanceNumber",
    "FrameOfReferenceUID", "NumberOfFrames", "Rows", "Columns", "SamplesPerPixel",
    "PhotometricInterpretation", "BitsAllocated", "BitsStored", "PixelRepresentation",
    "RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence", "Modality",
    "PresentationLUTShape", "HighBit", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "RedPaletteColorLookupTableDescriptor",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    "SegmentSequence", "SegmentationType", "SegmentsOverlap", "MaximumFractionalValue",
    "ReferencedSeriesSequence", "TotalPixelMatrixRows", "PixelPaddingValue",
    "PixelPaddingRangeLimit", "ImageType", "SpacingBetweenSlices", "SliceThickness",
]  # fmt: skip


def read_header(path: str, limits: Limits) -> Any | None:
    """Read a file's header; None if the file is not DICOM.

    Raises
    ------
    SourceError
        It claims more pixels, frames or deflated data than are allowed.
    """
    _require_deflated_end(path, limits)
    try:
        header = dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
    except InvalidDicomError:
        return None
    if header.get("Rows") and header.get("Columns"):
        channels, stored = _decoded(header)
        limits.require((int(header.Rows), int(header.Columns), channels), stored, path)
        limits.require_count(int(header.get("NumberOfFrames") or 1), path, "frames")
    return header


def _require_deflated_end(path: str, limits: Limits) -> None:
    """Refuse a deflated file that inflates to more than is allowed: pydicom inflates it whole."""
    try:
        syntax = read_file_meta_info(path).get("TransferSyntaxUID")
    except (InvalidDicomError, EOFError):
        return
    if syntax is None or not UID(syntax).is_transfer_syntax or not UID(syntax).is_deflated:
        return
    with Path(path).open("rb") as file:
        read_preamble(file, force=False)
        _read_file_meta_info(file)
        unpacked, nbytes = zlib.decompressobj(-zlib.MAX_WBITS), 0
        left = file.read(_PIECE)
        while left and not unpacked.eof:
            nbytes += len(unpacked.decompress(left, _PIECE))
            limits.require_nbytes(nbytes, path, "deflated data")
            left = unpacked.unconsumed_tail or file.read(_PIECE)


def has_contours(header: Any) -> bool:
    """Return whether a file holds contours of structures, not an image."""
    return bool(header.get("SOPClassUID") == _STRUCTURES)


def is_segmentation(header: Any) -> bool:
    """Return whether a file holds segments, not an image."""
    return header.get("SOPClassUID") in _SEGMENTS


def slices_of(path: str, header: Any) -> Iterator[Slice]:
    """Yield the slices of a file; a file without pixels has none.

    Raises
    ------
    SourceError
        The header contradicts itself about the values.
    """
    if not header.get("Rows") or not header.get("Columns"):
        return
    _require_consistent(path, header)
    frames = int(header.get("NumberOfFrames") or 1)
    channels, stored = _decoded(header)
    for number, (shared, frame) in enumerate(functional_groups(header, frames)):
        slope, intercept = _rescale(header, shared, frame)
        yield Slice(
            path,
            number,
            frames,
            (int(header.Rows), int(header.Columns)),
            channels,
            stored,
            slope,
            intercept,
            bool(header.get("ModalityLUTSequence")),
            str(header.get("PhotometricInterpretation", "")),
            int(header.get("BitsStored") or header.get("BitsAllocated") or 8),
            _negative(header, shared, frame),
            str(header.get("SeriesInstanceUID", "")),
            str(header.get("SOPInstanceUID", "")),
            int(header.get("InstanceNumber") or 0),
            # Frames without groups of their own are at an unknown position, not at the first one's.
            plane_of_frame(header, shared, frame) if frame is not None or frames == 1 else None,
            _padding(header),
            _is_localizer(header, frame),
            _depth(header, shared, frame),
        )


def _padding(header: Any) -> tuple[float, ...]:
    ends = (header.get(name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit"))
    return tuple(sorted({float(end) for end in ends if isinstance(end, int | float)}))


def _is_localizer(header: Any, frame: Any) -> bool:
    items = (macro(f"{kind}FrameTypeSequence", frame) for kind in ("CTImage", "MRImage", "PET"))
    kinds = [header.get("ImageType"), *(item.get("FrameType") for item in items if item)]
    return any("LOCALIZER" in ([kind] if isinstance(kind, str) else kind or ()) for kind in kinds)


def _depth(header: Any, shared: Any, frame: Any) -> float | None:
    """Return the distance of slices that a file says, else their thickness; None if neither."""
    item = macro("PixelMeasuresSequence", frame, shared)
    for name in ("SpacingBetweenSlices", "SliceThickness"):
        try:
            depth = abs(float((item if item is not None else header).get(name)))
        except (TypeError, ValueError, OverflowError):  # it is needed for single slices alone
            continue
        if depth and math.isfinite(depth):
            return depth
    return None


def functional_groups(header: Any, frames: int) -> Iterator[tuple[Any, Any]]:
    """Yield the functional groups shared by all frames and those of each frame, or None."""
    shared = next(iter(header.get("SharedFunctionalGroupsSequence") or ()), None)
    each = list(header.get("PerFrameFunctionalGroupsSequence") or ())
    for number in range(frames):
        yield shared, each[number] if number < len(each) else None


def macro(name: str, *groups: Any) -> Any:
    """Return the first item of a sequence in the first group that has it, or None."""
    found = (group.get(name) for group in groups if group is not None)
    return next((sequence[0] for sequence in found if sequence), None)


def plane_of_frame(header: Any, shared: Any, frame: Any) -> Plane | None:
    """Return the plane of a frame, by its functional groups, else by the header of the file."""
    parts = [
        _numbers(macro(sequence, frame, shared), header, name, count)
        for sequence, name, count in (
            ("PlanePositionSequence", "ImagePositionPatient", 3),
            ("PlaneOrientationSequence", "ImageOrientationPatient", 6),
            ("PixelMeasuresSequence", "PixelSpacing", 2),
        )
    ]
    position, orientation, spacing = parts
    if position is None or orientation is None or spacing is None:
        return None
    return plane_of(position, orientation, spacing)


def _numbers(item: Any, header: Any, name: str, count: int) -> Sequence[float] | None:
    values = (item if item is not None else header).get(name)
    if values is None or isinstance(values, str | float) or len(values) != count:
        return None
    return [float(value) for value in values]


def _decoded(header: Any) -> tuple[int, str]:
    """Return the number of channels and the dtype after palette colours are looked up."""
    descriptor = header.get("RedPaletteColorLookupTableDescriptor")
    if header.get("PhotometricInterpretation") == PALETTE and descriptor:
        return 3, "uint16" if int(descriptor[2]) > 8 else "uint8"
    bits, channels = int(header.get("BitsAllocated") or 8), int(header.get("SamplesPerPixel") or 1)
    if bits == 1:
        return channels, "uint8"
    signed = header.get("PixelRepresentation")  # files of floats have none
    kind = "float" if signed is None and bits >= 32 else "int" if signed else "uint"
    return channels, f"{kind}{bits}"


def _require_consistent(path: str, header: Any) -> None:
    photometric = header.get("PhotometricInterpretation", "")
    if photometric == "MONOCHROME2" and header.get("PresentationLUTShape") == "INVERSE":
        raise SourceError(
            f"{path}: needed one meaning of the highest value, found white (MONOCHROME2) and black "
            "(PresentationLUTShape INVERSE); correct one of them, or take the file out"
        )
    bits, high = header.get("BitsStored"), header.get("HighBit")
    if bits and high is not None and int(high) != int(bits) - 1:
        raise SourceError(
            f"{path}: needed values in the low bits, HighBit {int(bits) - 1} for {bits} "
            f"BitsStored, found HighBit {high}; rewrite the file, or take it out"
        )


def _negative(header: Any, shared: Any, frame: Any) -> bool:
    """Return whether the lowest value is white; physical units such as Hounsfield's never are."""
    if header.get("PhotometricInterpretation") != "MONOCHROME1":
        return False
    item = _transformation(header, shared, frame)
    if item.get("RescaleSlope") is None:
        return True
    unspecified = "HU" if header.get("Modality") == "CT" else "US"
    return str(item.get("RescaleType") or unspecified) == "US"


def _transformation(header: Any, shared: Any, frame: Any) -> Any:
    item = macro("PixelValueTransformationSequence", frame, shared)
    return header if item is None else item


def _rescale(header: Any, shared: Any, frame: Any) -> tuple[float | None, float | None]:
    item = _transformation(header, shared, frame)
    slope, intercept = item.get("RescaleSlope"), item.get("RescaleIntercept")
    if slope is None and intercept is None:
        return None, None
    return float(1 if slope is None else slope), float(intercept or 0)
