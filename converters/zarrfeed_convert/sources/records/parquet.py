"""Which images and masks do the rows of Parquet tables hold?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.source import Source
from zarrfeed_convert.sources.item_index import require_one_mask_each
from zarrfeed_convert.sources.read_errors import source_errors
from zarrfeed_convert.sources.records.columns import Column, classes_of, require_images
from zarrfeed_convert.sources.records.embedded import Numbers, parse_shape
from zarrfeed_convert.sources.records.parquet_files import Tables
from zarrfeed_convert.sources.records.row_groups import RowGroups
from zarrfeed_convert.sources.value_options import ValueOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.source import JSON, Header, Image, Mask


@source_errors
class ParquetTables(Source):
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
        the same rows.
    image, mask
        The columns of both. Rows that hold nothing in one of them are left out.
    key
        The column that names samples, different in every row. Empty: samples are named by file
        and number.
    shape
        Of bare numbers: ``HxW`` or ``HxWxC``, or the column that holds these numbers. Empty: the
        columns `height` and `width` do. Channels that are not given are as many as fit.
    height, width
        The columns of both.
    dtype, mask_dtype
        Of bytes that are bare numbers, like ``uint8`` or ``<u2``; images' integers of 32 and 64
        bits are taken for `dtype`, too. Empty: bytes are image files, and such integers are uint8.
        Signed and long integers become float32 if it holds them exactly, and float64 is rounded
        to it.
    channels_first
        Arrays are (C, H, W) instead of (H, W, C).
    cache_mib
        Memory for decoded rows in every process, in MiB.
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
        mask: str = "annotation",
        key: str = "",
        shape: str = "",
        height: str = "height",
        width: str = "width",
        dtype: str = "",
        mask_dtype: str = "",
        channels_first: bool = False,
        cache_mib: int = 64,
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        self._options = ValueOptions.of(color, mask_map)
        numbers = (
            Numbers(dtype, channels_first),
            Numbers(mask_dtype, channels_first, option="mask_dtype"),
        )
        limits = limits or Limits()
        columns = {image, mask, key, shape, height, width}
        image_tables = Tables.find(os.fspath(images), what="images", columns=columns, limits=limits)
        mask_tables = image_tables
        if masks:
            mask_tables = Tables.find(
                os.fspath(masks),
                what="masks",
                columns=columns,
                limits=limits,
                beside=image_tables.stems,
            )
            require_one_mask_each(image_tables, mask_tables, what="row")
        self._cache_mib = cache_mib
        del self.arguments["cache_mib"]  # the samples do not depend on it
        rows = RowGroups(cache_mib << 20, limits)
        self._image, self._mask = (
            Column(tables, column, kind, rows, _shape(tables, shape, height, width), limits)
            for tables, column, kind in zip(
                (image_tables, mask_tables), (image, mask), numbers, strict=True
            )
        )
        require_images(image_tables, image, option="image")
        require_images(mask_tables, mask, option="mask")
        unmapped = not str(self._options.mask_map)
        self.classes = classes_of(mask_tables, mask) if unmapped else None
        self._rows, self.left_out = self._find_rows()
        self._keys = [image_tables.key(row) for row in self._rows]
        if key:
            image_tables.require(key, option="key")
            self._keys = self._read_keys(key)

    @property
    def keys(self) -> Sequence[str]:
        """The rows by file and number, or by the column that names them."""
        return self._keys

    @property
    def memory_nbytes(self) -> int:
        """How many bytes each process keeps: its cache, and the block of each column it is at."""
        blocks = self._image.block_nbytes() + self._mask.block_nbytes()
        return (self._cache_mib << 20) + blocks

    def describe(self) -> JSON:
        """Describe where the rows come from, as JSON."""
        tables = self._image.tables
        facts = {"files": len(tables.paths), "rows": len(tables)}
        return {"kind": "parquet", **self.arguments, **self._options.describe(), "facts": facts}

    def names(self, sample: int) -> tuple[str, str]:
        """Name a row's image and mask by file, number and column."""
        row = self._rows[sample]
        return self._image.name(row), self._mask.name(row)

    def probe(self, sample: int) -> Header:
        """Read a row, and measure what it holds; of files that it names, only the headers."""
        row = self._rows[sample]
        image = self._image.measured_file(row) or self._image.stored(row).measure()
        mask = self._mask.measured_file(row)
        mask = mask or self._mask.stored(row).measure_mask()
        return self._options.header(image, mask, name=self._image.name(row))

    def read(self, sample: int) -> tuple[Image, Mask]:
        """Decode a row's image and mask."""
        row = self._rows[sample]
        pixels = self._image.stored(row).pixels()
        return self._options.image(pixels, name=self._image.name(row)), self.read_mask(sample)

    def read_mask(self, sample: int) -> Mask:
        """Decode a row's mask; its image is not looked at."""
        return self._mask.stored(self._rows[sample]).ids(self._options)

    def shown_colors(self, sample: int) -> dict[int, int]:
        """Return what the palette of a row's mask shows where it is used."""
        return self._mask.stored(self._rows[sample]).shown_colors(self._options)

    def _find_rows(self) -> tuple[list[int], list[tuple[str, str]]]:
        """Find the rows that hold something, and say of the others what they lack."""
        lacking: dict[int, tuple[str, str]] = {}
        for what, column in (("mask", self._mask), ("image", self._image)):
            for row in column.tables.doubtful_rows(column.column):
                if column.holds_nothing(row):
                    lacking[row] = (column.name(row), f"it holds no {what}")
        tables = self._image.tables
        rows = [row for row in range(len(tables)) if row not in lacking]
        if not rows:
            name, why = lacking[0]
            raise SourceError(f"{name}: {why}, and neither do the other {len(lacking) - 1} rows")
        return rows, [*tables.broken, *(lacking[row] for row in sorted(lacking))]

    def _read_keys(self, column: str) -> list[str]:
        """Read the name of every row."""
        tables = self._image.tables
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
        tables.require(shape, option="shape")
        return (shape,)
    return (height, width) if tables.have(height, width) else ()
