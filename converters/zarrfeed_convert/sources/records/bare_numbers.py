"""What array do numbers stand for that come without a header: bare bytes, or lists?"""

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

# An image file, a NumPy file or bare numbers; an array.
Value: TypeAlias = bytes | NDArray[Any]

_CHANNELS = 4  # an image has no more, as a rule


@dataclass(frozen=True, slots=True)
class Numbers:
    """How values that are no image files are understood.

    Attributes
    ----------
    dtype
        Of bytes that are bare numbers, and of numbers in lists. Empty: bytes are image or NumPy
        files, and an image's integers of 32 or 64 bits, as lists have them, are uint8.
    channels_first
        Arrays are (C, H, W) instead of (H, W, C).
    role
        Of the field that they are.
    """

    dtype: str = ""
    channels_first: bool = False
    role: Role = "image"

    @property
    def option(self) -> str:
        """The option that gives the dtype, for errors."""
        return "dtype" if self.role == "image" else f"{self.role}_dtype"

    def __post_init__(self) -> None:
        """Check the dtype."""
        try:
            known = np.dtype(self.dtype or "uint8").kind in "buif"
        except TypeError:
            known = False
        if not known:
            raise SourceError(
                f"option {self.option}: needed a type of numbers like uint8, int16 or float32, "
                f"found {self.dtype!r}"
            )

    def is_file(self, value: Value) -> TypeGuard[bytes]:
        """Return whether a value is a file, of an image or of NumPy's."""
        return isinstance(value, bytes) and not self.dtype


def numbers_by_role(
    dtype: str, mask_dtype: str, target_dtype: str, *, channels_first: bool = False
) -> dict[Role, Numbers]:
    """Say how the numbers of each role are understood, by the options of a format."""
    dtypes: dict[Role, str] = {"image": dtype, "mask": mask_dtype, "target": target_dtype}
    return {role: Numbers(said, channels_first, role) for role, said in dtypes.items()}


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


def numbers_dtype(array: NDArray[Any], value: Value, numbers: Numbers) -> np.dtype[Any]:
    """Return what numbers are taken for; those of a mask are never converted."""
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

    Of an image's shape, only the height and the width count for other roles.
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
