"""What image, or which class ids, does one value of a record, a table or a tar hold?

A value is an image file, a NumPy file, bare numbers, or an array in hand. Pure: it opens nothing.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.decode import decode_bytes, measure_bytes
from zarrfeed_convert.decoding.npy import NPY
from zarrfeed_convert.decoding.pixels import Measure, Pixels
from zarrfeed_convert.sources.values import packable, packed_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.source import Mask
    from zarrfeed_convert.sources.value_options import ValueOptions

# An image file, a NumPy file or bare numbers; an array.
Value: TypeAlias = bytes | NDArray[Any]

CHANNELS = 4  # an image has no more, as a rule
# Formats whose header comes first, and as many bytes as almost all of them need for it.
_HEADED = (b"\x89PNG", b"\xff\xd8\xff", NPY)
HEAD = 1 << 16


@dataclass(frozen=True, slots=True)
class Numbers:
    """How values that are no image files are understood.

    Attributes
    ----------
    dtype
        Of bytes that are bare numbers, and of integers in lists. Empty: bytes are image or NumPy
        files, and an image's integers of 32 or 64 bits, as lists have them, are uint8.
    channels_first
        Arrays are (C, H, W) instead of (H, W, C).
    option
        The option that gives the dtype, for errors.
    """

    dtype: str = ""
    channels_first: bool = False
    option: str = "dtype"

    def __post_init__(self) -> None:
        """Check the dtype."""
        try:
            known = np.dtype(self.dtype or "uint8").kind in "buif"
        except TypeError:
            known = False
        if not known:
            raise SourceError(
                f"option {self.option}: needed a type of numbers like uint8, uint16 or float32, "
                f"found {self.dtype!r}"
            )

    def is_file(self, value: Value) -> TypeGuard[bytes]:
        """Return whether a value is a file, of an image or of NumPy's."""
        return isinstance(value, bytes) and not self.dtype


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


def size_of(numbers: Sequence[int], parts: Sequence[object], name: str) -> tuple[int, ...]:
    """Check that numbers are a shape.

    Parameters
    ----------
    numbers
        As given or stored.
    parts, name
        Where they come from, for errors.

    Raises
    ------
    SourceError
        They are not a height and a width, with or without channels.
    """
    if len(numbers) not in (2, 3) or min(numbers) < 1:
        raise SourceError(
            f"{name}: needed a height and a width in {', '.join(map(str, parts))}, found "
            f"{list(numbers)}"
        )
    return tuple(numbers)


def shape_of_mask(shape: Sequence[int] | None, numbers: Numbers) -> Sequence[int] | None:
    """Return the shape of a mask whose image has this one: it need not have as many channels."""
    if shape is None or len(shape) == 2:
        return shape
    return shape[1:] if numbers.channels_first else shape[:2]


def numbers_dtype(array: NDArray[Any], value: Value, numbers: Numbers) -> np.dtype[Any]:
    """Return what an image's numbers are taken for."""
    if isinstance(value, bytes):
        return array.dtype
    if numbers.dtype:
        return np.dtype(numbers.dtype).newbyteorder("=")
    listed = array.dtype.kind in "iu" and array.dtype.itemsize >= 4
    return np.dtype(np.uint8) if listed else array.dtype


def arrange_numbers(
    value: Value, numbers: Numbers, shape: Sequence[int] | None, name: str
) -> NDArray[Any]:
    """Arrange numbers as (H, W) or (H, W, C), in native byte order."""
    array = _numbers_in(value, numbers, name) if isinstance(value, bytes) else value
    if array.ndim == 1:
        array = array.reshape(_completed(shape, array.size, numbers, name))
    if array.ndim == 3 and numbers.channels_first:
        array = array.transpose(1, 2, 0)
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise SourceError(f"{name}: needed an array (H, W) or (H, W, C), found {array.shape}")
    if array.ndim == 3 and array.shape[0] <= CHANNELS < array.shape[2]:
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


@dataclass(frozen=True, slots=True)
class EmbeddedImage:
    """A value that is an image or a mask, not yet decoded.

    Attributes
    ----------
    value
        As it is stored.
    name
        For errors.
    limits
        What it may claim.
    numbers
        How it is understood if it is no file.
    shape
        (H, W) or all three, of numbers in a row; None where nothing gives it.
    """

    value: Value
    name: str
    limits: Limits
    numbers: Numbers = field(default_factory=Numbers)
    shape: Sequence[int] | None = None

    def measure(self) -> Measure:
        """Measure an image without decoding it.

        Raises
        ------
        SourceError
            It is damaged, no image, or not one that can be packed.
        """
        if self._file is not None:
            return measure_bytes(self._file, self.name, self.limits)
        array = arrange_numbers(self.value, self.numbers, self.shape, self.name)
        height, width, channels = (*array.shape, 1)[:3]
        dtype = numbers_dtype(array, self.value, self.numbers)
        return Measure(height, width, channels, packed_dtype(dtype, self.name))

    def pixels(self) -> Pixels:
        """Decode an image.

        Raises
        ------
        SourceError
            It is damaged, or its numbers cannot be packed without changing them.
        """
        if self._file is not None:
            return decode_bytes(self._file, self.name, self.limits)
        array = arrange_numbers(self.value, self.numbers, self.shape, self.name)
        dtype = numbers_dtype(array, self.value, self.numbers)
        if dtype == array.dtype:
            values = packable(array, self.name)
            # A transform may write where it stands; what bytes and Arrow lend is read-only.
            return Pixels(values if values.flags.writeable else values.copy(), bands=True)
        with np.errstate(invalid="ignore", over="ignore"):
            taken = array.astype(dtype)
        if not np.array_equal(taken, array, equal_nan=dtype.kind == "f"):
            raise SourceError(
                f"{self.name}: needed numbers that {dtype} holds, found {array.dtype} from "
                f"{array.min()} to {array.max()}; say what they are, like -o dtype=uint16 or "
                "-o dtype=float32"
            )
        return Pixels(packable(taken, self.name), bands=True)

    def measure_mask(self) -> Measure:
        """Measure a mask; its numbers are not looked at."""
        if self._file is not None:
            return self.measure()
        height, width = self._mask_pixels().values.shape[:2]
        return Measure(height, width, 1, "")

    def ids(self, options: ValueOptions) -> Mask:
        """Decode a mask.

        Raises
        ------
        SourceError
            It is damaged, or holds no class ids.
        """
        return options.mask(self._mask_pixels(), name=self.name)

    def shown_colors(self, options: ValueOptions) -> dict[int, int]:
        """Return what a mask's palette shows where it is used."""
        return options.shown_colors(self._mask_pixels()) if self._file is not None else {}

    @property
    def _file(self) -> bytes | None:
        return self.value if self.numbers.is_file(self.value) else None

    def _mask_pixels(self) -> Pixels:
        if self._file is not None:
            return decode_bytes(self._file, self.name, self.limits)
        shape = shape_of_mask(self.shape, self.numbers)
        return Pixels(arrange_numbers(self.value, self.numbers, shape, self.name))


def measure_head(head: bytes, name: str, limits: Limits) -> Measure | None:
    """Measure a file by its first `HEAD` bytes; None where it takes the whole file."""
    if len(head) < HEAD or not head.startswith(_HEADED):
        return None
    try:
        return EmbeddedImage(head, name, limits).measure()
    except SourceError:
        return None  # its header is longer, or it is damaged: the whole file tells
