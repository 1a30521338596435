"""Parquet tables as a source: a sample per row."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.extra_fields import parse_fields
from zarrfeed_convert.sources.item_index import require_one_mask_each
from zarrfeed_convert.sources.read_errors import source_errors
from zarrfeed_convert.sources.records.column_types import has_masks, require_images
from zarrfeed_convert.sources.records.columns import Column
from zarrfeed_convert.sources.records.embedded import EmbeddedFields, numbers_by_role, parse_shape
from zarrfeed_convert.sources.records.parquet_files import Tables, classes_of
from zarrfeed_convert.sources.records.row_groups import RowGroups
from zarrfeed_convert.sources.value_options import ValueOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from zarrfeed_convert.decoding.pixels import Color, Measure
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.source import JSON
    from zarrfeed_convert.sources.records.embedded import EmbeddedImage

_MASK = "annotation"  # the usual name on the Hugging Face hub


@source_errors
class ParquetTables(EmbeddedFields):
    """Parquet tables with a column of images and one of masks, a sample per row.

    A column may hold Hugging Face images (bytes or paths), image or ``.npy`` files as bytes,
    paths relative to the table's folder, nested lists, Arrow's fixed-shape tensors, or raw
    numbers: bytes with a `dtype`, or flat lists, which need a shape. Class names come from the
    Hugging Face description of the masks, if these are ``ClassLabel``.

    Shuffled packing decodes half a row group for every row. With groups of 100 images, as on the
    Hugging Face hub, that takes some milliseconds per row. Tables with thousands of images per
    group, as pandas writes them, pack much faster with ``--order source``, or with a cache as
    large as the table.

    Parameters
    ----------
    images
        A file, a folder, or a glob like ``'data/train-*.parquet'``.
    masks
        Tables with a row of masks for each row of `images`, in the same order. Empty: the masks
        are in the rows of `images`. ``none``: pack images alone.
    image, mask
        The columns of the images and of the masks. Rows with a null in either are left out.
        `mask` empty: ``annotation``. Tables that have neither that column nor another one that
        could hold masks are packed as images alone.
    key
        The column that names the samples, with a different value in every row. Empty: samples are
        named by file and row number.
    shape
        The shape of raw numbers: ``HxW`` or ``HxWxC``, or the column that holds it. Empty: the
        columns `height` and `width`. Channels that are not given follow from the size.
    height, width
        The columns of the height and of the width.
    dtype, mask_dtype, target_dtype
        The dtype of bytes that are raw numbers, like ``uint8`` or ``<u2``, by the role of the
        field; `dtype` also that of integers of 32 and 64 bits in images. Empty: bytes are image
        files, and such integers are uint8. Integers of 64 bits are packed as 32 bits if they fit.
    channels_first
        Whether arrays are (C, H, W) instead of (H, W, C).
    cache_mib
        Memory for decoded rows in every process, in MiB.
    fields
        Further fields: name → ``ROLE:COLUMN`` of the tables of `images`, like
        ``{"depth": "target:depth"}``. The role ``image`` is read as the images are, ``mask`` as
        the masks are; ``target`` keeps its numbers.
    color
        ``auto`` keeps the channels of the images; ``grey``, ``rgb`` and ``rgba`` convert them.
    mask_map
        The meaning of mask values: a :class:`MaskMap`, or text as in :func:`parse_mask_map`.
    limits
        Limits on what the files may claim, and on the paths that they may name; see
        :class:`zarrfeed_convert.Limits`.

    Attributes
    ----------
    classes
        The class names, if the tables have them.
    left_out
        Rows without one of the fields and damaged tables, each with the reason.

    Raises
    ------
    SourceError
        There is no row, or a table lacks a column; the message lists the columns it has.

    Examples
    --------
    >>> scenes = ParquetTables("data/train-*.parquet", mask="annotation")  # doctest: +SKIP
    """

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str | os.PathLike[str] = "",
        *,
        image: str = "image",
        mask: str = "",
        key: str = "",
        shape: str = "",
        height: str = "height",
        width: str = "width",
        dtype: str = "",
        mask_dtype: str = "",
        target_dtype: str = "",
        channels_first: bool = False,
        cache_mib: int = 64,
        fields: Mapping[str, str] | None = None,
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        self._options = ValueOptions.of(color, mask_map)
        self._cache_mib = cache_mib
        del self.arguments["cache_mib"]  # samples do not depend on it
        limits = limits or Limits()
        extras = parse_fields(fields)
        wanted = self._masks_wanted(os.fspath(masks), extras, mask=mask, mask_dtype=mask_dtype)
        places = {extra.place for extra in extras}
        read = {image, mask or _MASK, key, shape, height, width, *places}
        tables = Tables.find(os.fspath(images), what="images", columns=read, limits=limits)
        numbers = numbers_by_role(dtype, mask_dtype, target_dtype, channels_first=channels_first)
        sized = _shape(tables, shape, height, width)
        rows = RowGroups(cache_mib << 20, limits, columns=2 + len(extras) + len(sized))
        self._columns = [Column(tables, image, numbers["image"], rows, sized, limits)]
        require_images(tables, image, option="-o image=")
        if wanted is None:
            others = {key, *map(str, sized), *places}
            wanted = has_masks(tables, _MASK, image=image, but_not=others)
        if wanted:
            mask_tables, sized_masks = tables, sized
            if masks:
                mask_tables = Tables.find(
                    os.fspath(masks), what="masks", columns=read, limits=limits, beside=tables.stems
                )
                require_one_mask_each(tables, mask_tables, what="row")
                sized_masks = _shape(mask_tables, shape, height, width)
            require_images(mask_tables, mask or _MASK, option="-o mask=")
            self._columns.append(
                Column(mask_tables, mask or _MASK, numbers["mask"], rows, sized_masks, limits)
            )
            if not str(self._options.mask_map):
                self.classes = classes_of(mask_tables, mask or _MASK)
        self._set_fields(extras, mask=mask or _MASK if wanted else "")
        for field, place in extras:
            require_images(tables, place, option=f"--field {field.name}={field.role}:")
            self._columns.append(Column(tables, place, numbers[field.role], rows, sized, limits))
        self._rows, self.left_out = self._find_rows()
        self._keys = [tables.key(row) for row in self._rows]
        if key:
            tables.require(key, option="-o key=")
            self._keys = self._read_keys(key)

    @property
    def keys(self) -> Sequence[str]:
        """Names of the rows: file and row number, or the values of the column `key`."""
        return self._keys

    @property
    def memory_nbytes(self) -> int:
        """Bytes that each process keeps: its cache, and one block of each column."""
        return (self._cache_mib << 20) + sum(column.block_nbytes() for column in self._columns)

    def describe(self) -> JSON:
        """Describe the tables as JSON, so that they can be opened again."""
        tables = self._columns[0].tables
        facts = {"files": len(tables.paths), "rows": len(tables)}
        return {"kind": "parquet", **self.arguments, **self._options.describe(), "facts": facts}

    def names(self, sample: int) -> tuple[str, ...]:
        """Name the cells of a sample by file, row number and column."""
        return tuple(column.name(self._rows[sample]) for column in self._columns)

    def _values(self, sample: int, fields: Sequence[int]) -> Iterator[EmbeddedImage]:
        row = self._rows[sample]
        return (self._columns[field].stored(row) for field in fields)

    def _measured_file(self, sample: int, field: int) -> Measure | None:
        return self._columns[field].measured_file(self._rows[sample])

    def _find_rows(self) -> tuple[list[int], list[tuple[str, str]]]:
        """Find the rows that have every field, and the reason why others are left out."""
        lacking: dict[int, tuple[str, str]] = {}
        for field, column in reversed([*zip(self.fields, self._columns, strict=True)]):
            for row in column.tables.doubtful_rows(column.column):
                if column.holds_nothing(row):
                    lacking[row] = (column.name(row), f"it holds no {field.name}")
        tables = self._columns[0].tables
        rows = [row for row in range(len(tables)) if row not in lacking]
        if not rows:
            name, why = lacking[0]
            raise SourceError(f"{name}: {why}, and neither do the other {len(lacking) - 1} rows")
        return rows, [*tables.broken, *(lacking[row] for row in sorted(lacking))]

    def _read_keys(self, column: str) -> list[str]:
        """Read the names of the rows."""
        tables = self._columns[0].tables
        names = ["" if value is None else str(value) for value in tables.values(column)]
        row_of: dict[str, int] = {}
        for row in self._rows:
            name = names[row]
            if not name or name in row_of:
                found = f"{name!r}, which row {row_of[name]} has, too" if name else "none"
                raise SourceError(
                    f"{tables.name(row, column)}: needed a name of its own, found {found}; choose "
                    "another -o key, or leave it out"
                )
            row_of[name] = row
        return list(row_of)


def _shape(
    tables: Tables, shape: str, height: str, width: str
) -> tuple[int, ...] | tuple[str, ...]:
    """Return the shape of raw numbers that the options give, or the columns that hold it."""
    given = parse_shape(shape)
    if given is not None:
        return given
    if shape:
        tables.require(shape, option="-o shape=")
        return (shape,)
    return (height, width) if tables.have(height, width) else ()
