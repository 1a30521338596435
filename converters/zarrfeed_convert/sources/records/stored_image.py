"""What image, or which class ids, does one value of a record or a table hold?

Pure: it opens nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.decode import decode_bytes, measure_bytes
from zarrfeed_convert.decoding.pixels import Measure, Pixels
from zarrfeed_convert.sources.records.bare_numbers import (
    arranged,
    shape_of_mask,
    taken_for,
)
from zarrfeed_convert.sources.values import packable, packed_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.source import Mask
    from zarrfeed_convert.sources.records.bare_numbers import Numbers, Value
    from zarrfeed_convert.sources.value_options import Meaning


@dataclass(frozen=True, slots=True)
class StoredImage:
    """A value that is an image or a mask, not yet decoded.

    Attributes
    ----------
    value
        As it is stored.
    numbers
        How it is understood if it is no image file.
    shape
        (H, W) or all three, of numbers that are in a row; None where nothing says it.
    name
        For errors.
    limits
        What it may claim.
    """

    value: Value
    numbers: Numbers
    shape: Sequence[int] | None
    name: str
    limits: Limits

    def measure(self) -> Measure:
        """Measure an image without decoding it.

        Raises
        ------
        SourceError
            It is no image, or not one that can be packed.
        """
        if isinstance(self.value, bytes) and self.numbers.encloses(self.value):
            return measure_bytes(self.value, self.name, self.limits)
        array = arranged(self.value, self.numbers, self.shape, self.name)
        height, width, channels = array.shape if array.ndim == 3 else (*array.shape, 1)
        dtype = packed_dtype(taken_for(array, self.value, self.numbers), self.name)
        return Measure(height, width, channels, dtype)

    def pixels(self) -> Pixels:
        """Decode an image.

        Raises
        ------
        SourceError
            It is damaged, or its numbers cannot be packed without changing them.
        """
        if isinstance(self.value, bytes) and self.numbers.encloses(self.value):
            return decode_bytes(self.value, self.name, self.limits)
        array = arranged(self.value, self.numbers, self.shape, self.name)
        dtype = taken_for(array, self.value, self.numbers)
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
        """Measure a mask; its numbers are not looked at.

        Raises
        ------
        SourceError
            It is none.
        """
        if isinstance(self.value, bytes) and self.numbers.encloses(self.value):
            return measure_bytes(self.value, self.name, self.limits)
        shape = shape_of_mask(self.shape, self.numbers)
        height, width = arranged(self.value, self.numbers, shape, self.name).shape[:2]
        return Measure(height, width, 1, "")

    def shown_colors(self, meaning: Meaning) -> dict[int, int]:
        """Say what a mask's palette shows where it is used."""
        if isinstance(self.value, bytes) and self.numbers.encloses(self.value):
            return meaning.shown_colors(decode_bytes(self.value, self.name, self.limits))
        return {}

    def ids(self, meaning: Meaning) -> Mask:
        """Decode a mask.

        Raises
        ------
        SourceError
            It is damaged, or holds no class ids.
        """
        name = self.name
        if isinstance(self.value, bytes) and self.numbers.encloses(self.value):
            return meaning.mask(decode_bytes(self.value, name, self.limits), name=name)
        shape = shape_of_mask(self.shape, self.numbers)
        return meaning.mask(arranged(self.value, self.numbers, shape, name), name=name)
