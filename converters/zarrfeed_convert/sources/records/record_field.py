"""What does a feature of TFRecord files' records hold?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError
from zarrfeed_convert.sources.records.bare_numbers import size_of
from zarrfeed_convert.sources.records.stored_image import StoredImage
from zarrfeed_convert.sources.records.tf_example import Example, parse_example, tensor_of, value_of

if TYPE_CHECKING:
    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.sources.records.bare_numbers import Numbers
    from zarrfeed_convert.sources.records.record_file import Records

_SHOWN = 20  # features that a message names
# What TF-Slim and DeepLab call them.
_SLIM = ("image/encoded", "image/segmentation/class/encoded")


@dataclass(frozen=True, slots=True)
class RecordField:
    """A feature of all records, and how its values are understood.

    Attributes
    ----------
    option
        By which it is named, for errors.
    records, feature, numbers
        Where its values are, and how they are understood.
    shape
        Of bare numbers: lengths, or the features that hold them.
    limits
        What its values may claim.
    """

    option: str
    records: Records
    feature: str
    numbers: Numbers
    shape: tuple[int, ...] | tuple[str, ...]
    limits: Limits

    def name(self, row: int) -> str:
        """Name a record's feature as a person would look for it."""
        return self.records.name(row, self.feature)

    def example(self, row: int) -> Example:
        """Read and parse a record."""
        name = self.name(row)
        return parse_example(self.records.read(row, name=name), name=name)

    def require(self, example: Example, name: str) -> None:
        """Refuse a record that lacks the feature; the message lists those it has."""
        if self.feature in example:
            return
        names = sorted(example)
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        advice = f"name it by -o {self.option}=FEATURE"
        if all(feature in example for feature in _SLIM):
            advice = f"add -o image={_SLIM[0]} -o mask={_SLIM[1]}"
        raise SourceError(
            f"{name}: needed the feature {self.feature!r}, found "
            f"{', '.join(names[:_SHOWN]) or 'none'}{more}; {advice}"
        )

    def stored(self, example: Example, row: int) -> StoredImage:
        """Give the image in a record, not yet decoded.

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
                return StoredImage(value, self.numbers, None, name, self.limits)
            value = tensor
        return StoredImage(value, self.numbers, self._shape_in(example, name), name, self.limits)

    def text(self, row: int) -> str:
        """Read a value that is a name."""
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
