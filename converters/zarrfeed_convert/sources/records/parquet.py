"""Which images and masks do the rows of Parquet tables hold?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.extra_fields import parse_fields
from zarrfeed_convert.sources.item_index import require_one_mask_each
from zarrfeed_convert.sources.read_errors import source_errors
from zarrfeed_convert.sources.records.bare_numbers import numbers_by_role, parse_shape
from zarrfeed_convert.sources.records.columns import Column, has_masks, require_images
from zarrfeed_convert.sources.records.embedded import EmbeddedFields
from zarrfeed_convert.sources.records.parquet_files import Tables, classes_of
from zarrfeed_convert.sources.records.row_groups import RowGroups
from zarrfeed_convert.sources.value_options import ValueOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from zarrfeed_convert.decoding.pixels import Color, Measure
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.source import JSON
    from zarrfeed_convert.sources.records.embedded import EmbeddedImage

_MASK = "annotation"  # as the Hugging Face hub has it


@source_errors
class ParquetTables(EmbeddedFields):
    """Parquet tables with a column of images and one of masks, a sample per row.

    Columns may be Hugging Face images (of bytes or paths), image or ``.npy`` files as bytes,
    paths that count from the table's folder, nested lists, Arrow's fixed-shape tensors, or bare
    numbers, as bytes with a `dtype` or as plain lists, which need a shape. Class names are taken
    from the Hugging Face description of the masks, if they are ``ClassLabel``.

    Shuffled packing decodes half a row group for every row. With groups of 100 images, as on the
    Hugging Face hub, that is some milliseconds a row; tables with thousands of images per group,
    as pandas writes them, are packed far faster by ``--order source``, or with a cache as large
    as the table.

    Parameters
    ----------
    images
        A file, a folder, or a glob like ``'data/train-*.parquet'``.
    masks
        Tables whose rows hold the masks of those of `images`, one by one. Empty: the masks are in
        the same rows. ``none``: only images are packed.
    image, mask
        The columns of both. Rows that hold nothing in one of them are left out. `mask` empty:
        ``annotation``; of tables without such a column, or another that may hold masks, only
        images are packed.
    key
        The column that names samples, different in every row. Empty: samples are named by file
        and number.
    shape
        Of bare numbers: ``HxW`` or ``HxWxC``, or the column that holds these numbers. Empty: the
        columns `height` and `width` do. Channels that are not given are as many as fit.
    height, width
        The columns of both.
    dtype, mask_dtype, target_dtype
        Of bytes that are bare numbers, like ``uint8`` or ``<u2``, by the role of the field;
        images' integers of 32 and 64 bits are taken for `dtype`, too. Empty: bytes are image
        files, and such integers are uint8. Integers of 64 bits become 32, if these hold them.
    channels_first
        Arrays are (C, H, W) instead of (H, W, C).
    cache_mib
        Memory for decoded rows in every process, in MiB.
    fields
        Name → ``ROLE:COLUMN`` of further fields of the rows of `images`, like
        ``{"depth": "target:depth"}``. Role ``image``: read as images are; ``mask``: as masks are;
        ``target``: any numbers, which stay as they are.
    color
        ``auto`` keeps the channels that images have; ``grey``, ``rgb``, ``rgba`` convert.
    mask_map
        What mask values mean: a :class:`MaskMap`, or text as in :func:`parse_mask_map`.
    limits
        What files may claim, and name besides themselves; see :class:`zarrfeed_convert.Limits`.

    Attributes
    ----------
    classes
        The class names, where the tables say them.
    left_out
        Rows that hold no image or no mask, damaged tables, and why.

    Raises
    ------
    SourceError
        There is no row, or a table lacks a column: the message lists those it has.

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
        del self.arguments["cache_mib"]  # the samples do not depend on it
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
        """The rows by file and number, or by the column that names them."""
        return self._keys

    @property
    def memory_nbytes(self) -> int:
        """How many bytes each process keeps: its cache, and the block of each column it is at."""
        return (self._cache_mib << 20) + sum(column.block_nbytes() for column in self._columns)

    def describe(self) -> JSON:
        """Describe where the rows come from, as JSON."""
        tables = self._columns[0].tables
        facts = {"files": len(tables.paths), "rows": len(tables)}
        return {"kind": "parquet", **self.arguments, **self._options.describe(), "facts": facts}

    def names(self, sample: int) -> tuple[str, ...]:
        """Name the cells of a row by file, number and column."""
        return tuple(column.name(self._rows[sample]) for column in self._columns)

    def _values(self, sample: int, fields: Sequence[int]) -> Iterator[EmbeddedImage]:
        row = self._rows[sample]
        return (self._columns[field].stored(row) for field in fields)

    def _measured_file(self, sample: int, field: int) -> Measure | None:
        return self._columns[field].measured_file(self._rows[sample])

    def _find_rows(self) -> tuple[list[int], list[tuple[str, str]]]:
        """Find the rows that hold something, and say of the others what they lack."""
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
        """Read the name of every row."""
        tables = self._columns[0].tables
        names = ["" if value is None else str(value) for value in tables.values(column)]
        row_of: dict[str, int] = {}
        for row in self._rows:
            name = names[row]
            if not name or name in row_of:
                found = f"{name!r}, which row {row_of[name]} has, too" if name else "none"
                raise SourceError(
                    f"{tables.name(row, column)}: needed a name of its own, found {found}; choose "
                    "another -o key, or none"
                )
            row_of[name] = row
        return list(row_of)


def _shape(
    tables: Tables, shape: str, height: str, width: str
) -> tuple[int, ...] | tuple[str, ...]:
    """Return the shape of bare numbers from the option, or the columns that hold it."""
    given = parse_shape(shape)
    if given is not None:
        return given
    if shape:
        tables.require(shape, option="-o shape=")
        return (shape,)
    return (height, width) if tables.have(height, width) else ()
