"""Columns of Parquet tables: what a cell holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zarrfeed.errors import SourceError
from zarrfeed.spelling import few
from zarrfeed_convert.decoding.decode import measure
from zarrfeed_convert.sources.read_errors import naming_errors
from zarrfeed_convert.sources.records.column_types import is_bytes, is_tensor, is_text
from zarrfeed_convert.sources.records.embedded import EmbeddedImage, size_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.decoding.pixels import Measure
    from zarrfeed_convert.sources.records.embedded import Numbers, Value
    from zarrfeed_convert.sources.records.parquet_files import Tables
    from zarrfeed_convert.sources.records.row_groups import RowGroups

# A str is the path of an image file.
CellValue: TypeAlias = "Value | str | None"


def cell_value(value: pa.Scalar, *, name: str) -> CellValue:
    """Return the value of a cell.

    Returns
    -------
    bytes, array, str or None
        An image file or raw numbers; an array; the path of a file; None for a null.

    Raises
    ------
    SourceError
        A list holds several images, lists of different lengths, or nulls.
    """
    if not value.is_valid:
        return None
    kind = value.type
    if pa.types.is_struct(kind):
        fields = {field.name: value[field.name].as_py() for field in kind}
        held: CellValue = fields.get("bytes")
        return fields.get("path") if held is None else held
    if is_tensor(kind):
        tensor: NDArray[Any] = value.to_numpy()
        return tensor
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        if not _is_image(kind.value_type):
            return _array_of(value.values, name)
        if len(value.values) < 2:  # a list of one image is that image
            return cell_value(value.values[0], name=name) if len(value.values) else None
        raise SourceError(
            f"{name}: needed one image a row, found a list of {len(value.values)} ({kind}); choose "
            "another column, or make one mask of class ids of several"
        )
    plain: CellValue = value.as_py()
    return plain


def _array_of(values: pa.Array, name: str) -> NDArray[Any]:
    """Convert lists of lists to an array."""
    shape = [len(values)]
    while not pa.types.is_primitive(values.type) and pa.types.is_nested(values.type):
        lengths = pc.call_function("list_value_length", [values]).unique().to_pylist()
        if len(lengths) != 1 or lengths[0] is None:
            raise SourceError(f"{name}: needed lists of one length, found {few(map(str, lengths))}")
        shape.append(lengths[0])
        values = values.flatten()
    if values.null_count:
        raise SourceError(f"{name}: needed numbers, found {values.null_count} places without one")
    array: NDArray[Any] = values.to_numpy(zero_copy_only=False)
    return array.reshape(shape)


def _is_image(kind: pa.DataType) -> bool:
    """Return whether the values of a list are images, rather than numbers or lists of them."""
    return bool(pa.types.is_struct(kind) or is_bytes(kind) or is_text(kind))


@dataclass(frozen=True, slots=True)
class Column:
    """A column, and how its values are read.

    Attributes
    ----------
    tables, column
        The tables, and the name of the column.
    numbers
        How values are read that are not image files.
    rows
        The reader of the rows.
    shape
        The shape of raw numbers, or the columns that hold it.
    limits
        Limits on what the values may claim, and on the paths that they may name.
    """

    tables: Tables
    column: str
    numbers: Numbers
    rows: RowGroups
    shape: tuple[int, ...] | tuple[str, ...]
    limits: Limits

    def name(self, row: int) -> str:
        """Name a cell for a person: file, row and column."""
        return self.tables.name(row, self.column)

    def block_nbytes(self) -> int:
        """Return the most bytes that are decoded at once to read a cell and its shape."""
        parts = (part for part in self.shape if isinstance(part, str))
        return self.tables.block_nbytes({self.column, *parts})

    def holds_nothing(self, row: int) -> bool:
        """Return whether a cell is null. A cell that cannot be read is not."""
        try:
            return self._cell(row, self.column) is None
        except SourceError:
            return False

    def stored(self, row: int) -> EmbeddedImage:
        """Read a cell, or the file that it names.

        Raises
        ------
        SourceError
            The cell is null, or the file is missing.
        """
        held = self._image(row)
        if not isinstance(held, str):
            return self._embedded(held, row)
        try:
            data = self._file(held, row).read_bytes()
        except OSError as error:
            raise SourceError(
                f"{self.name(row)}: needed the file {error.filename}, found none that can be "
                f"read: {error.strerror}"
            ) from error
        return self._embedded(data, row)

    def measured_file(self, row: int) -> Measure | None:
        """Measure the file that a cell names; None if the cell holds the image itself.

        Raises
        ------
        SourceError
            The cell is null, or the file cannot be read.
        """
        held = self._image(row)
        if not isinstance(held, str):
            return None
        file = self._file(held, row)
        try:
            return measure(file, self.limits)
        except SourceError as error:
            raise SourceError(f"{self.name(row)}: {error}") from error

    def _embedded(self, value: Value, row: int) -> EmbeddedImage:
        shape = self._shape_of(value, row)
        return EmbeddedImage(value, self.name(row), self.limits, self.numbers, shape)

    def _image(self, row: int) -> Value | str:
        held = self._cell(row, self.column)
        if held is None:
            raise SourceError(f"{self.name(row)}: needed an image, found nothing")
        return held

    def _shape_of(self, value: Value, row: int) -> tuple[int, ...] | None:
        """Return the shape of raw numbers; None if there is none, or none is needed."""
        if not self.shape or self.numbers.is_file(value):
            return None
        numbers: list[int] = []
        for part in self.shape:
            held = part if isinstance(part, int) else self._cell(row, part)
            try:
                numbers += np.ravel(np.array(held, np.int64)).tolist()
            except (TypeError, ValueError) as error:
                raise SourceError(
                    f"{self.name(row)}: needed a shape of integers in {part}, found {held!r}"
                ) from error
        return size_of(numbers, self.shape, self.name(row))

    def _cell(self, row: int, column: str) -> CellValue:
        name = self.name(row)
        place = self.tables.place(row)
        with naming_errors(name):
            block, number = self.rows.locate(place, column)
            return cell_value(block[number], name=name)

    def _file(self, path: str, row: int) -> Path:
        """Resolve a path, which is relative to the table's folder."""
        folder = Path(self.tables.place(row).path).parent
        self.limits.require_own(path, str(folder), self.name(row))
        return folder / path
