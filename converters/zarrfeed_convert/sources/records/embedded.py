"""What image, or which class ids, does one value of a record, a table or a tar hold?

A value is an image file, a NumPy file, bare numbers, or an array in hand. :class:`EmbeddedFields`
is the base of the sources whose samples are such values.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.decode import decode_bytes, measure_bytes
from zarrfeed_convert.decoding.npy import NPY
from zarrfeed_convert.decoding.pixels import Measure, Pixels
from zarrfeed_convert.source import Source
from zarrfeed_convert.sources.records.bare_numbers import (
    Numbers,
    Value,
    arrange_numbers,
    numbers_dtype,
    shape_of_mask,
)
from zarrfeed_convert.sources.values import packable, packed_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.source import Header, Mask
    from zarrfeed_convert.sources.value_options import ValueOptions

# Formats whose header comes first, and as many bytes as almost all of them need for it.
_HEADED = (b"\x89PNG", b"\xff\xd8\xff", NPY)
HEAD = 1 << 16


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


class EmbeddedFields(Source):
    """A source whose samples are one value for each field: the base of all such sources."""

    _options: ValueOptions

    @abstractmethod
    def _values(self, sample: int, fields: Sequence[int]) -> Iterator[EmbeddedImage]:
        """Find what a sample holds in some of the fields, given by their places."""

    def _measured_file(self, sample: int, field: int) -> Measure | None:  # noqa: ARG002
        """Measure a file that a field is in by its beginning; None where it takes the value."""
        return None

    def probe(self, sample: int) -> Header:
        """Measure what a sample holds; of files, only the headers are read."""
        files = [self._measured_file(sample, field) for field in range(len(self.fields))]
        values = self._values(sample, [field for field, found in enumerate(files) if not found])
        image, *masks = (
            found or (next(values).measure_mask() if field else next(values).measure())
            for field, found in enumerate(files)
        )
        name = self.names(sample)[0]
        return self._options.header(image, masks[0] if masks else None, name=name)

    def read(self, sample: int) -> tuple[NDArray[Any], ...]:
        """Decode what a sample holds."""
        image, *masks = self._values(sample, range(len(self.fields)))
        pixels = self._options.image(image.pixels(), name=image.name)
        return pixels, *(mask.ids(self._options) for mask in masks)

    def read_mask(self, sample: int) -> Mask:
        """Decode a sample's mask; its image is not looked at."""
        return self._mask(sample).ids(self._options)

    def shown_colors(self, sample: int) -> dict[int, int]:
        """Return what the palette of a sample's mask shows where it is used."""
        return self._mask(sample).shown_colors(self._options)

    def _mask(self, sample: int) -> EmbeddedImage:
        return next(self._values(sample, [1]))


def measure_head(head: bytes, name: str, limits: Limits) -> Measure | None:
    """Measure a file by its first `HEAD` bytes; None where it takes the whole file."""
    if len(head) < HEAD or not head.startswith(_HEADED):
        return None
    try:
        return EmbeddedImage(head, name, limits).measure()
    except SourceError:
        return None  # its header is longer, or it is damaged: the whole file tells
