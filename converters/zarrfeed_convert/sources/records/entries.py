"""What image does one value of a record or a table hold?

A value is bytes, which are an image file or bare numbers, or an array. Pure: it opens nothing.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.decode import decode_bytes, measure_bytes, require_packable
from zarrfeed_convert.decoding.pixels import Measure, Pixels
from zarrfeed_convert.sources.values import packable, packed_dtype, whole_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed_convert.source import Mask
    from zarrfeed_convert.sources.meaning import Meaning

Cell: TypeAlias = bytes | NDArray[Any]

_CHANNELS = 4  # an image has no more, as a rule


@dataclass(frozen=True, slots=True)
class Numbers:
    """How values that are no image files are understood.

    Attributes
    ----------
    dtype
        Of bytes that are bare numbers, and what the integers of lists are taken for. Empty: bytes
        are image files, and an image's integers of 32 or 64 bits, which say no more than that they
        were in a list, are uint8.
    channels_first
        Arrays are (C, H, W) instead of (H, W, C).
    option
        By which the dtype is given, for errors.
    """

    dtype: str = ""
    channels_first: bool = False
    option: str = "dtype"

    def __post_init__(self) -> None:
        """Refuse what is no dtype of numbers."""
        try:
            known = np.dtype(self.dtype or "uint8").kind in "buif"
        except TypeError:
            known = False
        if not known:
            raise SourceError(
                f"option {self.option}: needed a type of numbers like uint8, uint16 or float32, "
                f"found {self.dtype!r}"
            )

    def encloses(self, cell: Cell) -> bool:
        """Tell whether a value is an image file."""
        return isinstance(cell, bytes) and not self.dtype


def measure_image(
    cell: Cell, numbers: Numbers, *, shape: Sequence[int] | None, name: str
) -> Measure:
    """Measure an image without decoding it.

    Parameters
    ----------
    cell
        As it is stored.
    numbers
        How it is understood if it is no image file.
    shape
        (H, W) or all three, of numbers that are in a row.
    name
        For errors.

    Raises
    ------
    SourceError
        It is no image, or not one that can be packed.
    """
    if isinstance(cell, bytes) and numbers.encloses(cell):
        found = measure_bytes(cell, name)
        require_packable(found.dtype, name)
        return found
    array = _arranged(cell, numbers, shape, name)
    height, width, channels = array.shape if array.ndim == 3 else (*array.shape, 1)
    dtype = packed_dtype(_taken_for(array, cell, numbers), name)
    return Measure(height, width, channels, dtype)


def measure_mask(
    cell: Cell, numbers: Numbers, *, shape: Sequence[int] | None, name: str
) -> tuple[int, int]:
    """Give the height and width of a mask; the parameters are those of :func:`measure_image`."""
    if isinstance(cell, bytes) and numbers.encloses(cell):
        found = measure_bytes(cell, name)
        return found.height, found.width
    height, width = _arranged(cell, numbers, _plane(shape, numbers), name).shape[:2]
    return height, width


def pixels_of_image(
    cell: Cell, numbers: Numbers, *, shape: Sequence[int] | None, name: str
) -> Pixels:
    """Decode an image; the parameters are those of :func:`measure_image`.

    Raises
    ------
    SourceError
        It is damaged, or its numbers cannot be packed without changing them.
    """
    if isinstance(cell, bytes) and numbers.encloses(cell):
        return decode_bytes(cell, name)
    array = _arranged(cell, numbers, shape, name)
    dtype = _taken_for(array, cell, numbers)
    if dtype == array.dtype:
        values = packable(array, name)
        # A transform may write where it stands; what bytes and Arrow lend is read-only.
        return Pixels(values if values.flags.writeable else values.copy())
    with np.errstate(invalid="ignore", over="ignore"):
        taken = array.astype(dtype)
    if not np.array_equal(taken, array, equal_nan=dtype.kind == "f"):
        raise SourceError(
            f"{name}: needed numbers that {dtype} holds, found {array.dtype} from {array.min()} "
            f"to {array.max()}; say what they are, like -o dtype=uint16 or -o dtype=float32"
        )
    return Pixels(packable(taken, name))


def ids_of_mask(
    cell: Cell, numbers: Numbers, meaning: Meaning, *, shape: Sequence[int] | None, name: str
) -> Mask:
    """Decode a mask; the other parameters are those of :func:`measure_image`.

    Raises
    ------
    SourceError
        It is damaged, or holds no class ids.
    """
    if isinstance(cell, bytes) and numbers.encloses(cell):
        return meaning.mask(decode_bytes(cell, name), name=name)
    array = whole_numbers(_arranged(cell, numbers, _plane(shape, numbers), name), name)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim == 3 and array.shape[2] > _CHANNELS:
        raise SourceError(
            f"{name}: needed a mask (H, W) of class ids, found {array.shape}; if it has a channel "
            "per class, store the place of the largest instead"
        )
    return meaning.mask(array, name=name)


def parse_shape(text: str) -> tuple[int, ...] | None:
    """Read ``HxW`` or ``HxWxC``; None where the text is something else.

    Examples
    --------
    >>> parse_shape("256x320x3")
    (256, 320, 3)
    """
    if re.fullmatch(r"\d+(x\d+){1,2}", text) is None:
        return None
    return tuple(int(part) for part in text.split("x"))


def _plane(shape: Sequence[int] | None, numbers: Numbers) -> Sequence[int] | None:
    """Give the shape of a mask whose image has this one: it need not have as many channels."""
    if shape is None or len(shape) == 2:
        return shape
    return shape[1:] if numbers.channels_first else shape[:2]


def _taken_for(array: NDArray[Any], cell: Cell, numbers: Numbers) -> np.dtype[Any]:
    """Say what an image's numbers are taken for."""
    if isinstance(cell, bytes):
        return array.dtype
    if numbers.dtype:
        return np.dtype(numbers.dtype).newbyteorder("=")
    listed = array.dtype.kind in "iu" and array.dtype.itemsize >= 4
    return np.dtype(np.uint8) if listed else array.dtype


def _arranged(cell: Cell, numbers: Numbers, shape: Sequence[int] | None, name: str) -> NDArray[Any]:
    """Arrange numbers as (H, W) or (H, W, C), in native byte order."""
    array = _numbers_in(cell, numbers, name) if isinstance(cell, bytes) else cell
    if array.ndim == 1:
        array = array.reshape(_completed(shape, array.size, numbers, name))
    if array.ndim == 3 and numbers.channels_first:
        array = array.transpose(1, 2, 0)
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise SourceError(f"{name}: needed an array (H, W) or (H, W, C), found {array.shape}")
    if array.ndim == 3 and array.shape[0] <= _CHANNELS < array.shape[2]:
        raise SourceError(
            f"{name}: needed an image (H, W, C), found {array.shape}, whose channels seem to come "
            "first; if so, say -o channels_first=yes"
        )
    return array


def _numbers_in(data: bytes, numbers: Numbers, name: str) -> NDArray[Any]:
    dtype = np.dtype(numbers.dtype)
    if len(data) % dtype.itemsize:
        raise SourceError(
            f"{name}: needed numbers of {dtype.itemsize} bytes each ({dtype}), found "
            f"{len(data)} bytes; check -o {numbers.option}"
        )
    values: NDArray[Any] = np.frombuffer(data, dtype)
    return values.astype(dtype.newbyteorder("="), copy=False)


def _completed(
    shape: Sequence[int] | None, count: int, numbers: Numbers, name: str
) -> tuple[int, ...]:
    """Complete the shape of numbers in a row: there are as many channels as fit."""
    if shape is None:
        raise SourceError(
            f"{name}: needed the shape of {count} numbers in a row, found none; give it by "
            "-o shape=HxW"
        )
    needed = math.prod(shape)
    if len(shape) == 2 and needed and count and count % needed == 0:
        channels = count // needed
        if channels == 1:
            return tuple(shape)
        return (channels, *shape) if numbers.channels_first else (*shape, channels)
    if count != needed or not count or len(shape) != 3:
        raise SourceError(
            f"{name}: needed {'×'.join(map(str, shape))} numbers"
            f"{', or as many for each channel' if len(shape) == 2 else ''}, found {count}"
        )
    return tuple(shape)
