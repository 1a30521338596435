"""A feature of all records: how its values are read, and whether it may hold masks."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import UnidentifiedImageError

from zarrfeed.errors import SourceError
from zarrfeed.spelling import few
from zarrfeed_convert.sources.option_checks import NO_MASKS
from zarrfeed_convert.sources.records.embedded import EmbeddedImage, size_of
from zarrfeed_convert.sources.records.features import (
    RAW_NUMBERS,
    parse_example,
    tensor_of,
    value_of,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.decoding.pixels import Measure, Pixels
    from zarrfeed_convert.sources.records.embedded import Numbers
    from zarrfeed_convert.sources.records.features import Example
    from zarrfeed_convert.sources.records.record_file import Records

_NO_TEXT = re.compile(rb"[\0-\x08\x0e-\x1f]")
# The names of images and masks in TF-Slim and DeepLab.
_SLIM = ("image/encoded", "image/segmentation/class/encoded")


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature of all records, and how its values are read.

    Attributes
    ----------
    option
        The option that names it, such as ``-o image=``.
    records, feature
        The records, and the name of the feature.
    numbers
        How values are read that are not image files.
    shape
        The shape of raw numbers, or the features that hold it.
    limits
        Limits on what values may claim.
    """

    option: str
    records: Records
    feature: str
    numbers: Numbers
    shape: tuple[int, ...] | tuple[str, ...]
    limits: Limits

    def name(self, row: int) -> str:
        """Name a feature of a record for a person."""
        return self.records.name(row, self.feature)

    def example(self, row: int) -> Example:
        """Read and parse a record."""
        name = self.name(row)
        return parse_example(self.records.read(row, name=name), name=name)

    def require(self, example: Example, name: str) -> None:
        """Raise if a record lacks the feature; the message lists the features it has."""
        if self.feature in example:
            return
        names = sorted(example)
        advice = f"name it with {self.option}FEATURE"
        if self.numbers.role != "target" and all(feature in example for feature in _SLIM):
            advice = f"add -o image={_SLIM[0]} -o mask={_SLIM[1]}"
        raise SourceError(
            f"{name}: needed the feature {self.feature!r}, found "
            f"{few(names, shown=20) or 'none'}; {advice}"
        )

    def stored(self, example: Example, row: int) -> EmbeddedImage:
        """Return the value in a record before decoding.

        Raises
        ------
        SourceError
            The record lacks the feature.
        """
        name = self.name(row)
        self.require(example, name)
        value = value_of(example[self.feature], name=name)
        if isinstance(value, bytes) and not self.numbers.dtype:
            tensor = tensor_of(value, name=name)
            if tensor is None:  # an image file knows its shape
                return _ImageFile(value, name, self.limits, self.numbers)
            value = tensor
        shape = self._shape_in(example, name)
        return EmbeddedImage(value, name, self.limits, self.numbers, shape)

    def text(self, row: int) -> str:
        """Return the value in a record as a name."""
        name = self.name(row)
        example = self.example(row)
        self.require(example, name)
        value = value_of(example[self.feature], name=name)
        try:
            return value.decode() if isinstance(value, bytes) else str(value.item())
        except ValueError as error:
            raise SourceError(f"{name}: needed a name or a number, found {error}") from error

    def _shape_in(self, example: Example, name: str) -> tuple[int, ...] | None:
        numbers: list[int] = []
        for part in self.shape:
            if isinstance(part, int):
                numbers.append(part)
                continue
            if part not in example:
                return None
            value = value_of(example[part], name=name)
            if isinstance(value, bytes):
                raise SourceError(f"{name}: needed a shape of integers in {part}, found bytes")
            numbers += value.astype(int).tolist()
        return size_of(numbers, self.shape, name)


class _ImageFile(EmbeddedImage):
    """Bytes without a dtype: an image file, unless they are raw numbers."""

    def measure(self) -> Measure:
        with _saying_what_else():
            return super().measure()

    def pixels(self) -> Pixels:
        with _saying_what_else():
            return super().pixels()


@contextmanager
def _saying_what_else() -> Iterator[None]:
    """Say what bytes may be that do not begin like an image."""
    try:
        yield
    except SourceError as error:
        if not isinstance(error.__cause__, UnidentifiedImageError):
            raise
        raise SourceError(f"{error}; {RAW_NUMBERS}") from error


def has_masks(
    image: Feature, example: Example, name: str, *, mask: str, but_not: Collection[str]
) -> bool:
    """Return whether a record has a mask, where the user has not named its feature.

    Parameters
    ----------
    image
        The feature of the image.
    example, name
        The record, and its name in errors.
    mask
        The usual name of the feature of the mask.
    but_not
        Features that are known to hold something else.

    Raises
    ------
    SourceError
        Another feature could be the mask.
    """
    if mask in example:
        return True
    try:
        found = image.stored(example, 0).measure()
        pixels = found.height * found.width
    except SourceError:  # raised again when the image is read
        pixels = 1
    known = {image.feature, *but_not, *map(str, image.shape)}
    others = [
        feature
        for feature in sorted(example)
        if feature not in known and _may_be_mask(example[feature], pixels)
    ]
    if others:
        raise SourceError(
            f"{name}: needed the feature {mask!r}, found {few(others, shown=20)}; if one of them "
            "is the mask, name it with -o mask=FEATURE, otherwise pack images alone with "
            f"--masks {NO_MASKS}"
        )
    return False


def _may_be_mask(feature: Any, pixels: int) -> bool:
    """Return whether a feature holds bytes other than text, or a number for each pixel."""
    numbers = len(feature.float_list.value) + len(feature.int64_list.value)
    values = feature.bytes_list.value
    return numbers >= pixels or any(len(v) >= pixels or _NO_TEXT.search(v) for v in values)
