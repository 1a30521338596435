"""Decode values of records, table cells and tar members as images, masks and targets.

A value is an image file, a NumPy file, raw numbers or an array. :class:`EmbeddedFields` is the base
class of the sources whose samples consist of such values.
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
from zarrfeed_convert.source import IMAGES_ONLY, PAIR, Source
from zarrfeed_convert.sources.field_values import field_values, with_fields
from zarrfeed_convert.sources.records.bare_numbers import (
    Numbers,
    Value,
    arrange_numbers,
    numbers_dtype,
)
from zarrfeed_convert.sources.value_options import NO_MASKS
from zarrfeed_convert.sources.values import packed_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.extra_fields import ExtraField
    from zarrfeed_convert.source import Header, Mask
    from zarrfeed_convert.sources.value_options import ValueOptions

# Formats with the header at the beginning, and the bytes that nearly all of them need for it.
_HEADED = (b"\x89PNG", b"\xff\xd8\xff", NPY)
HEAD = 1 << 16


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


class EmbeddedFields(Source):
    """Base class of sources with one embedded value for each field of a sample."""

    takes_names = True
    _options: ValueOptions

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

    @abstractmethod
    def _values(self, sample: int, fields: Sequence[int]) -> Iterator[EmbeddedImage]:
        """Read the values of some fields of a sample, given by the numbers of the fields."""

    def _measured_file(self, sample: int, field: int) -> Measure | None:  # noqa: ARG002
        """Measure a field by the beginning of its file; None if that needs the whole value."""
        return None

    def probe(self, sample: int) -> Header:
        """Measure a sample; of files, only the headers are decoded."""
        files = [self._measured_file(sample, field) for field in range(len(self.fields))]
        values = self._values(sample, [field for field, found in enumerate(files) if not found])
        measures = [found or next(values).measure() for found in files]
        image, mask = measures[0], measures[1] if self.fields[1:2] == PAIR[1:] else None
        names = self.names(sample)
        header = self._options.header(image, mask, name=names[0])
        extras = {
            field: (name, measure)
            for field, name, measure in zip(self.fields, names, measures, strict=True)
            if field not in PAIR
        }
        return with_fields(header, image, extras, self._options)

    def read(self, sample: int) -> tuple[NDArray[Any], ...]:
        """Decode a sample: an array for each field."""
        values = self._values(sample, range(len(self.fields)))
        return tuple(
            self._ids(value)
            if field == PAIR[1]
            else field_values(field, value.pixels(), self._options, name=value.name)
            for field, value in zip(self.fields, values, strict=True)
        )

    def read_mask(self, sample: int) -> Mask:
        """Decode the mask of a sample without its image."""
        return self._ids(next(self._values(sample, [1])))

    def shown_colors(self, sample: int) -> dict[int, int]:
        """Return the colours of the palette indices that the mask of a sample uses."""
        return self._options.shown_colors(next(self._values(sample, [1])).pixels())

    def _ids(self, mask: EmbeddedImage) -> Mask:
        return self._options.mask(mask.pixels(), name=mask.name)


def measure_head(head: bytes, name: str, limits: Limits) -> Measure | None:
    """Measure a file by its first `HEAD` bytes; None if that needs the whole file."""
    if len(head) < HEAD or not head.startswith(_HEADED):
        return None
    try:
        return EmbeddedImage(head, name, limits).measure()
    except SourceError:
        return None  # a longer header or damage: decide by the whole file
