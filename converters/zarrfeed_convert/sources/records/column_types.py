"""Which columns of Parquet tables can hold images or masks?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from zarrfeed.errors import SourceError
from zarrfeed.spelling import few
from zarrfeed_convert.decoding.decode import EXTENSIONS
from zarrfeed_convert.sources.option_checks import NO_MASKS, resembles_mask
from zarrfeed_convert.sources.records.parquet_files import Tables, schema_of

if TYPE_CHECKING:
    from collections.abc import Collection

_FILES = (*EXTENSIONS, ".npy")


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
    paths = is_text(_value_type(schema.field(image).type))
    others = [
        field.name
        for field in schema
        if field.name not in {image, *but_not}
        and _may_be_images(field.type)
        and (paths or not is_text(_value_type(field.type)) or _names_masks(tables, field.name))
    ]
    if others:
        raise SourceError(
            f"{path}: needed the column {column!r}, found {few(others, shown=20)}; if one of them "
            "holds the masks, name it with -o mask=COLUMN, otherwise pack images alone with "
            f"--masks {NO_MASKS}"
        )
    return False


def _names_masks(tables: Tables, column: str) -> bool:
    """Return whether a column of text may hold paths of masks, by its name or its first value."""
    return resembles_mask(column) or tables.first_text(column).lower().endswith(_FILES)


def _may_be_images(kind: pa.DataType) -> bool:
    kind = _value_type(kind)
    if pa.types.is_struct(kind):
        return not {"bytes", "path"}.isdisjoint(field.name for field in kind)
    return is_bytes(kind) or is_text(kind) or is_tensor(kind) or pa.types.is_nested(kind)


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def is_bytes(kind: pa.DataType) -> bool:
    """Return whether the values are byte strings."""
    types = pa.types
    tests = types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary
    return any(test(kind) for test in tests)


def is_text(kind: pa.DataType) -> bool:
    """Return whether the values are text."""
    types = pa.types
    return any(
        test(kind) for test in (types.is_string, types.is_large_string, types.is_string_view)
    )


def is_tensor(kind: pa.DataType) -> bool:
    """Return whether the values are tensors of one shape."""
    return isinstance(kind, pa.FixedShapeTensorType)
