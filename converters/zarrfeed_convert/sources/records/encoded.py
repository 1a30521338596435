"""What pixels does a file hold that is in memory: an image file, or a NumPy array?"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.decode import decode_bytes, measure_bytes
from zarrfeed_convert.decoding.pixels import Measure, Pixels
from zarrfeed_convert.sources.npy_header import NPY, read_npy_header
from zarrfeed_convert.sources.read_errors import reading
from zarrfeed_convert.sources.values import packed_dtype

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.limits import Limits

# Formats whose header is in front, and as many bytes as almost all of them need for it.
_HEADED = (b"\x89PNG", b"\xff\xd8\xff", NPY)
HEAD = 1 << 16


def measure_head(head: bytes, name: str, limits: Limits) -> Measure | None:
    """Measure a file by its first `HEAD` bytes; None where it takes the whole file."""
    if len(head) < HEAD or not head.startswith(_HEADED):
        return None
    try:
        return measure_file(head, name, limits)
    except SourceError:
        return None  # its header is longer, or it is damaged: the whole file tells


def measure_file(data: bytes, name: str, limits: Limits) -> Measure:
    """Measure a file, as :func:`zarrfeed_convert.decoding.decode.measure` does.

    Raises
    ------
    SourceError
        It is damaged, or neither an image nor an array of one.
    """
    if not data.startswith(NPY):
        return measure_bytes(data, name, limits)
    with reading(name):
        shape, _, dtype = read_npy_header(io.BytesIO(data), name)
    limits.require(shape, dtype, name)
    channels = _require_image(shape, name)
    return Measure(shape[0], shape[1], channels, packed_dtype(dtype, name))


def decode_image(data: bytes, name: str, limits: Limits) -> Pixels:
    """Decode an image."""
    if not data.startswith(NPY):
        return decode_bytes(data, name, limits)
    values = _load(data, name, limits)
    _require_image(values.shape, name)
    return Pixels(values, bands=True)


def decode_mask(data: bytes, name: str, limits: Limits) -> Pixels:
    """Decode a mask, (H, W) or (H, W, C)."""
    if not data.startswith(NPY):
        return decode_bytes(data, name, limits)
    values = _load(data, name, limits)
    _require_image(values.shape, name)
    return Pixels(values)


def _load(data: bytes, name: str, limits: Limits) -> NDArray[Any]:
    with reading(name):
        shape, _, dtype = read_npy_header(io.BytesIO(data), name)
        limits.require(shape, dtype, name)
        packed_dtype(dtype, name)  # says more than np.load of what it refuses
        values: NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
    return values


def _require_image(shape: tuple[int, ...], name: str) -> int:
    """Count the channels of an array that is an image."""
    channels = shape[2] if len(shape) == 3 else 1
    if len(shape) not in (2, 3) or not all(shape):
        raise SourceError(f"{name}: needed an array (H, W) or (H, W, C), found shape {shape}")
    return channels
