"""Decode values of records, table cells and tar members as images, masks and targets.

A value is an image file, a NumPy file, raw numbers (bytes or a list) or an array.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

from zarrfeed.errors import SourceError, look_up
from zarrfeed_convert.decoding.decode import decode_bytes, measure_bytes
from zarrfeed_convert.decoding.npy import NPY
from zarrfeed_convert.decoding.pixels import Measure, Pixels
from zarrfeed_convert.source import IMAGES_ONLY, PAIR
from zarrfeed_convert.sources.field_values import DecodedFields
from zarrfeed_convert.sources.option_checks import NO_MASKS
from zarrfeed_convert.sources.values import packed_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.extra_fields import ExtraField
    from zarrfeed_convert.source import Role

# Formats with the header at the beginning, and the bytes that nearly all of them need for it.
_HEADED = (b"\x89PNG", b"\xff\xd8\xff", NPY)
HEAD = 1 << 16
# An image file, a NumPy file or raw numbers; an array.
Value: TypeAlias = bytes | NDArray[Any]

_CHANNELS = 4  # images rarely have more


@dataclass(frozen=True, slots=True)
class Numbers:
    """How values are read that are not image files.

    Attributes
    ----------
    dtype
        The dtype of bytes that are raw numbers, and of numbers in lists. Empty: bytes are image or
        NumPy files, and integers of 32 or 64 bits, as in lists, are uint8 in images.
    channels_first
        Whether arrays are (C, H, W) instead of (H, W, C).
    role
        The role of the field.
    """

    dtype: str = ""
    channels_first: bool = False
    role: Role = "image"

    @property
    def option(self) -> str:
        """The option that gives the dtype."""
        return "dtype" if self.role == "image" else f"{self.role}_dtype"

    def __post_init__(self) -> None:
        """Check that the dtype is numeric."""
        try:
            known = np.dtype(self.dtype or "uint8").kind in "buif"
        except TypeError:
            known = False
        if not known:
            raise SourceError(
                f"option {self.option}: needed a type of numbers, like uint8, int16 or float32, "
                f"found {self.dtype!r}"
            )

    def is_file(self, value: Value) -> TypeGuard[bytes]:
        """Return whether a value is an image file or a NumPy file."""
        return isinstance(value, bytes) and not self.dtype


@dataclass(frozen=True, slots=True)
class EmbeddedImage:
    """An image, a mask or a target before decoding.

    Attributes
    ----------
    value
        The value as it is stored.
    name
        Its name in errors.
    limits
        Limits on what it may claim.
    numbers
        How it is read if it is not a file.
    shape
        (H, W) or (H, W, C) of flat numbers; None if unknown.
    """

    value: Value
    name: str
    limits: Limits
    numbers: Numbers = field(default_factory=Numbers)
    shape: Sequence[int] | None = None

    def measure(self) -> Measure:
        """Return the size and the dtype without decoding.

        Raises
        ------
        SourceError
            The value is damaged, or is not an image that can be packed.
        """
        if self._file is not None:
            return measure_bytes(self._file, self.name, self.limits)
        array = arrange_numbers(self.value, self.numbers, self.shape, self.name)
        dtype = numbers_dtype(array, self.value, self.numbers)
        packed_dtype(dtype, self.name)
        height, width, channels = (*array.shape, 1)[:3]
        return Measure(height, width, channels, dtype.name)

    def pixels(self) -> Pixels:
        """Decode the value.

        Raises
        ------
        SourceError
            The value is damaged, or its numbers do not fit the dtype that the user gave.
        """
        if self._file is not None:
            return decode_bytes(self._file, self.name, self.limits)
        array = arrange_numbers(self.value, self.numbers, self.shape, self.name)
        packed_dtype(array.dtype, self.name)
        dtype = numbers_dtype(array, self.value, self.numbers)
        with np.errstate(invalid="ignore", over="ignore"):
            taken = array.astype(dtype, copy=False)
        if taken is not array and not np.array_equal(taken, array, equal_nan=dtype.kind == "f"):
            raise SourceError(
                f"{self.name}: needed numbers that {dtype} holds, found {array.dtype} from "
                f"{array.min()} to {array.max()}; say what they are, like "
                f"-o {self.numbers.option}=uint16 or -o {self.numbers.option}=float32"
            )
        # Transforms may write in place, but views of bytes and of Arrow buffers are read-only.
        return Pixels(taken if taken.flags.writeable else taken.copy(), bands=True)

    @property
    def _file(self) -> bytes | None:
        return self.value if self.numbers.is_file(self.value) else None


class EmbeddedFields(DecodedFields):
    """Base class of sources with an embedded value for each field of a sample."""

    takes_names = True

    def _masks_wanted(
        self, masks: str, extras: Sequence[ExtraField], *, mask: str, mask_dtype: str = ""
    ) -> bool | None:
        """Return whether the user asks for masks; None if the data decide.

        Raises
        ------
        SourceError
            The user asks for images alone, and gives an option of masks.
        """
        said = {"-o mask": mask}
        if not any(extra.field.role == "mask" for extra in extras):  # to which they apply, too
            said |= {"-o mask-dtype": mask_dtype, "--mask-map": str(self._options.mask_map)}
        given = [option for option, value in said.items() if value]
        if masks != NO_MASKS:
            return True if masks or given else None
        if given:
            raise SourceError(
                f"{given[0]}: needed no value with --masks {NO_MASKS}, found "
                f"{said[given[0]]!r}; leave out one of the two"
            )
        return False

    def _set_fields(self, extras: Sequence[ExtraField], *, mask: str) -> None:
        """Set and record the fields; `mask` is empty for images alone."""
        self.fields = (*(PAIR if mask else IMAGES_ONLY), *(extra.field for extra in extras))
        self.arguments |= {"mask": mask} if mask else {"masks": NO_MASKS}
        if not self.arguments.get("target_dtype"):  # older stores do not record it
            self.arguments.pop("target_dtype", None)


def measure_head(head: bytes, name: str, limits: Limits) -> Measure | None:
    """Measure a file by its first `HEAD` bytes; None if that needs the whole file."""
    if len(head) < HEAD or not head.startswith(_HEADED):
        return None
    try:
        return EmbeddedImage(head, name, limits).measure()
    except SourceError:
        return None  # a longer header or damage: decide by the whole file


def numbers_by_role(
    dtype: str, mask_dtype: str, target_dtype: str, *, channels_first: bool = False
) -> dict[Role, Numbers]:
    """Return how numbers are read for each role."""
    dtypes: dict[Role, str] = {"image": dtype, "mask": mask_dtype, "target": target_dtype}
    return {role: Numbers(said, channels_first, role) for role, said in dtypes.items()}


def parse_shape(text: str) -> tuple[int, ...] | None:
    """Parse ``HxW`` or ``HxWxC``; None for other text.

    Examples
    --------
    >>> parse_shape("256x320x3")
    (256, 320, 3)
    """
    if re.fullmatch(r"\d+(x\d+){1,2}", text) is None:
        return None
    return tuple(int(part) for part in text.split("x"))


def size_of(numbers: Sequence[int], parts: Sequence[object], name: str) -> tuple[int, ...]:
    """Return the numbers of some columns or features as a shape.

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


def numbers_dtype(array: NDArray[Any], value: Value, numbers: Numbers) -> np.dtype[Any]:
    """Return the dtype to which numbers are converted; that of masks stays."""
    if isinstance(value, bytes) or numbers.role == "mask":
        return array.dtype
    if numbers.dtype:
        return np.dtype(numbers.dtype).newbyteorder("=")
    listed = numbers.role == "image" and array.dtype.kind in "iu" and array.dtype.itemsize >= 4
    return np.dtype(np.uint8) if listed else array.dtype


def arrange_numbers(
    value: Value, numbers: Numbers, shape: Sequence[int] | None, name: str
) -> NDArray[Any]:
    """Arrange numbers as (H, W) or (H, W, C), in native byte order.

    The shape is that of the images; other roles take the height and the width from it.
    """
    if shape is not None and len(shape) == 3 and numbers.role != "image":
        shape = shape[1:] if numbers.channels_first else shape[:2]
    array = _numbers_in(value, numbers, name) if isinstance(value, bytes) else value
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
            f"{look_up('axes')}"
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
    """Return the shape of flat numbers, with as many channels as fit."""
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
