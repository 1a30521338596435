"""What does a column of Parquet files hold, row by row?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.decode import measure
from zarrfeed_convert.sources.read_errors import reading
from zarrfeed_convert.sources.records.arrow_values import held_by
from zarrfeed_convert.sources.records.bare_numbers import size_of
from zarrfeed_convert.sources.records.stored_image import StoredImage

if TYPE_CHECKING:
    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.decoding.pixels import Measure
    from zarrfeed_convert.sources.records.arrow_values import Held
    from zarrfeed_convert.sources.records.bare_numbers import Numbers, Value
    from zarrfeed_convert.sources.records.parquet_files import Tables
    from zarrfeed_convert.sources.records.row_groups import RowGroups


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column, and how its values are understood.

    Attributes
    ----------
    tables, column, numbers
        Where its values are, and what they are if they are no image files.
    rows
        Reads them.
    shape
        Of bare numbers: lengths, or the columns that hold them.
    limits
        What its values may claim, and whether they may name files outside the table's folder.
    """

    tables: Tables
    column: str
    numbers: Numbers
    rows: RowGroups
    shape: tuple[int, ...] | tuple[str, ...]
    limits: Limits

    def name(self, row: int) -> str:
        """Name a cell as a person would look for it."""
        return self.tables.name(row, self.column)

    def block_nbytes(self) -> int:
        """Say how many bytes are decoded at once, at most, to read a cell and its shape."""
        parts = (part for part in self.shape if isinstance(part, str))
        return self.tables.block_nbytes({self.column, *parts})

    def holds_nothing(self, row: int) -> bool:
        """Tell whether a cell is empty; one that cannot be read is not."""
        try:
            return self._held(row, self.column) is None
        except SourceError:
            return False

    def stored(self, row: int) -> StoredImage:
        """Read a cell, or the file that it names.

        Raises
        ------
        SourceError
            It holds nothing, or the file is not there.
        """
        held = self._image(row)
        if not isinstance(held, str):
            return StoredImage(
                held, self.numbers, self._shape_of(held, row), self.name(row), self.limits
            )
        try:
            data = self._file(held, row).read_bytes()
        except OSError as error:
            raise SourceError(
                f"{self.name(row)}: needed the file {error.filename}, found none that can be "
                f"read: {error.strerror}"
            ) from error
        return StoredImage(
            data, self.numbers, self._shape_of(data, row), self.name(row), self.limits
        )

    def measured_file(self, row: int) -> Measure | None:
        """Measure the file that a cell names; None where it holds the image itself.

        Raises
        ------
        SourceError
            It holds nothing, or the file cannot be read.
        """
        held = self._image(row)
        if not isinstance(held, str):
            return None
        file = self._file(held, row)
        try:
            return measure(file, self.limits)
        except SourceError as error:
            raise SourceError(f"{self.name(row)}: {error}") from error

    def _image(self, row: int) -> Value | str:
        held = self._held(row, self.column)
        if held is None:
            raise SourceError(f"{self.name(row)}: needed an image, found nothing")
        return held

    def _shape_of(self, value: Value, row: int) -> tuple[int, ...] | None:
        """Find the shape of bare numbers; None where there is none, or none is needed."""
        if not self.shape or self.numbers.encloses(value):
            return None
        numbers: list[int] = []
        for part in self.shape:
            held = part if isinstance(part, int) else self._held(row, part)
            try:
                numbers += np.ravel(np.array(held, np.int64)).tolist()
            except (TypeError, ValueError) as error:
                raise SourceError(
                    f"{self.name(row)}: needed a shape of integers in {part}, found {held!r}"
                ) from error
        return size_of(numbers, self.shape, self.name(row))

    def _held(self, row: int, column: str) -> Held:
        name = self.name(row)
        place = self.tables.place(row)
        with reading(name):
            block, number = self.rows.locate(place, column)
            return held_by(block, number, name=name)

    def _file(self, path: str, row: int) -> Path:
        """Find a file: its path counts from the table's folder."""
        folder = Path(self.tables.place(row).path).parent
        self.limits.require_own(path, str(folder), self.name(row))
        return folder / path
