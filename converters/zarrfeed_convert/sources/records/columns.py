"""Columns of Parquet tables: which can hold images or masks, and what a cell holds."""

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
from zarrfeed_convert.sources.option_checks import NO_MASKS
from zarrfeed_convert.sources.read_errors import naming_errors
from zarrfeed_convert.sources.records.embedded import EmbeddedImage, size_of
from zarrfeed_convert.sources.records.parquet_files import Tables, schema_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.decoding.pixels import Measure
    from zarrfeed_convert.sources.records.embedded import Numbers, Value
    from zarrfeed_convert.sources.records.row_groups import RowGroups

# A str is the path of an image file.
CellValue: TypeAlias = "Value | str | None"


def require_images(tables: Tables, column: str, *, option: str) -> None:
    """Raise if a file lacks a column, or if the column cannot hold images.

    Raises
    ------
    SourceError
        The message lists the columns of the file, or gives the type of the column.
    """
    tables.require(column, option=option)
    for path in tables.paths:
        kind = schema_of(path).field(column).type
        if not _may_be_images(kind):
            needed = "images as bytes, paths, nested lists or tensors"
            raise SourceError(
                f"{path}: column {column}: needed {needed}, found {_value_type(kind)}"
            )


def has_masks(tables: Tables, column: str, *, image: str, but_not: Collection[str]) -> bool:
    """Return whether tables have masks, where the user has not named their column.

    Parameters
    ----------
    tables
        The tables.
    column
        The usual name of the column of masks.
    image
        The column of the images.
    but_not
        Columns that are known to hold something else.

    Raises
    ------
    SourceError
        Only some of the tables have the column, or another column could hold masks.
    """
    schemas = {path: schema_of(path) for path in tables.paths}
    having = [path for path, schema in schemas.items() if column in schema.names]
    if having:
        lacking = [path for path in schemas if path not in having]
        if lacking:
            raise SourceError(
                f"{lacking[0]}: needed the column {column!r}, as {having[0]} has, found none; "
                f"give tables of one kind, or pack images alone with --masks {NO_MASKS}"
            )
        return True
    path, schema = next(iter(schemas.items()))
    paths = _is_text(_value_type(schema.field(image).type))
    others = [
        field.name
        for field in schema
        if field.name not in {image, *but_not}
        and _may_be_images(field.type)
        and (paths or not _is_text(_value_type(field.type)))
    ]
    if others:
        raise SourceError(
            f"{path}: needed the column {column!r}, found {few(others, shown=20)}; if one of them "
            "holds the masks, name it with -o mask=COLUMN, otherwise pack images alone with "
            f"--masks {NO_MASKS}"
        )
    return False


def _may_be_images(kind: pa.DataType) -> bool:
    kind = _value_type(kind)
    if pa.types.is_struct(kind):
        return not {"bytes", "path"}.isdisjoint(field.name for field in kind)
    return _is_bytes(kind) or _is_text(kind) or _is_tensor(kind) or pa.types.is_nested(kind)


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


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
    if _is_tensor(kind):
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
    return bool(pa.types.is_struct(kind) or _is_bytes(kind) or _is_text(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    types = pa.types
    tests = types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary
    return any(test(kind) for test in tests)


def _is_text(kind: pa.DataType) -> bool:
    types = pa.types
    return any(
        test(kind) for test in (types.is_string, types.is_large_string, types.is_string_view)
    )


def _is_tensor(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.FixedShapeTensorType)


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
