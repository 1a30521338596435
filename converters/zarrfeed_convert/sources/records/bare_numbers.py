"""Arrange numbers without a header, from bytes or lists, as arrays of pixels."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed_convert.source import Role

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
    """Return numbers as a shape.

    Parameters
    ----------
    numbers
        The numbers that the options give or the data hold.
    parts, name
        Where they come from, for errors.

    Raises
    ------
    SourceError
        The numbers are not a height and a width, with or without channels.
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
