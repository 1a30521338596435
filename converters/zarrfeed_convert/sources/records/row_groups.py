"""Read single rows of Parquet files, and check pages before Arrow decodes them.

Parquet is decoded from the beginning of a row group, column by column. A process therefore caches
blocks of decoded rows and its position in the row groups that it reads. In order, every row is
decoded once; in random order, each row that is not cached costs half a row group. Arrow trusts the
sizes in page headers, which are checked here first.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from zarrfeed.errors import SourceError
from zarrfeed_convert.sources.cache import Cache
from zarrfeed_convert.sources.records.parquet_claims import (
    ColumnChunk,
    Group,
    ThriftReader,
    read_groups,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from zarrfeed_convert.decoding.limits import Limits

_BLOCK = 8 << 20  # bytes of pages that are decoded at once
_EXPANDED = 128 << 20  # bytes that these may become, where values repeat
_BUFFER = 1 << 20  # bytes to read ahead; without, Arrow fetches a whole row group first
# Bytes to read for the header of a page, and the most that a header may have.
_HEADER, _LONGEST_HEADER = 1 << 12, 1 << 22
_PAGE_UNPACKED, _PAGE_PACKED, _DATA_PAGES = 2, 3, (5, 8)  # fields of page headers
_FILES = 2  # files of which a process keeps its position in all columns


@dataclass(frozen=True, slots=True)
class RowPlace:
    """The place of a row.

    Attributes
    ----------
    path
        The file.
    group
        Number of the row group in the file.
    row
        Number of the row in the group.
    """

    path: str
    group: int
    row: int


class RowGroups:
    """Reads rows and caches decoded blocks. Thread-safe; pickled without its cache.

    Parameters
    ----------
    bound
        Bytes of decoded rows to cache.
    limits
        Limits on what files may claim.
    columns
        Number of columns that are read of each row. One block of each is cached regardless of
        `bound`.
    """

    def __init__(self, bound: int, limits: Limits, columns: int) -> None:
        self._bound, self._limits, self._columns = bound, limits, columns
        self._blocks: Cache[pa.ChunkedArray] = Cache(bound, _bytes_of, at_least=columns)
        self._readings: OrderedDict[tuple[str, str], _Reading] = OrderedDict()
        self._lock = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return RowGroups, (self._bound, self._limits, self._columns)

    def locate(self, place: RowPlace, column: str) -> tuple[pa.ChunkedArray, int]:
        """Return a block of a column, and the number of a row in it.

        Raises
        ------
        OSError, pyarrow.ArrowException
            The file cannot be read.
        """
        with self._lock:
            reading = self._readings.pop((place.path, column), None)
        try:
            reading = reading or _Reading(place.path, column, self._limits)
            block, row = divmod(place.row, reading.block_rows(place.group))
            key = (place.path, column, place.group, block)
            rows = self._blocks.get(key, lambda: reading.read(place.group, block))
        except BaseException:
            if reading is not None:
                reading.close()
            raise
        self._keep(reading)
        return rows, row

    def _keep(self, reading: _Reading) -> None:
        """Keep a reading for the next row, and close the oldest readings."""
        with self._lock:
            surplus = [self._readings.pop(reading.key, None)]
            self._readings[reading.key] = reading
            while len(self._readings) > _FILES * self._columns:
                surplus.append(self._readings.popitem(last=False)[1])
        for old in surplus:
            if old is not None:
                old.close()


class _Reading:
    """A column of a file and the position in it. Used by one thread at a time."""

    def __init__(self, path: str, column: str, limits: Limits) -> None:
        self.key = (path, column)
        self._groups = read_groups(path, limits)
        self._column = column
        # Not mapped into memory: truncating a mapped file would kill the process.
        self._file = pq.ParquetFile(
            path, buffer_size=_BUFFER, pre_buffer=False, page_checksum_verification=True
        )
        self._group, self._next = -1, 0
        self._rows: dict[int, int] = {}
        self._batches: Iterator[pa.RecordBatch] = iter(())

    def block_rows(self, group: int) -> int:
        """Return the number of rows of a group that are decoded at once, by their bytes."""
        rows = self._rows.get(group)
        if rows is None:
            about = self._groups[group]
            dictionary = dictionary_nbytes(self.key[0], about.of(self._column))
            rows = _block_rows(about, self._column, dictionary)
            self._rows[group] = rows
        return rows

    def read(self, group: int, block: int) -> pa.ChunkedArray:
        """Decode a block of rows, and those since the last block, which come before it."""
        rows = self.block_rows(group)
        if group != self._group or block < self._next:
            self._batches = self._file.iter_batches(
                rows, row_groups=[group], columns=[self._column], use_threads=False
            )
            self._group, self._next = group, 0
        left = self._groups[group].rows - self._next * rows
        while True:
            found = self._take(min(rows, left))
            left -= rows
            self._next += 1
            if self._next > block:
                return found

    def close(self) -> None:
        self._batches = iter(())
        self._file.close()

    def _take(self, rows: int) -> pa.ChunkedArray:
        """Take a number of rows, which Arrow may return in several batches."""
        parts = []
        while rows > 0:
            batch = next(self._batches)
            parts.append(batch.column(self._column))
            rows -= batch.num_rows
        return pa.chunked_array(parts)


def _bytes_of(rows: pa.ChunkedArray) -> int:
    return sum(part.get_total_buffer_size() for part in rows.chunks)


def block_nbytes(group: Group, column: str) -> int:
    """Return the bytes of a block of a row group: a few MiB, or one larger row."""
    return _block_rows(group, column) * _nbytes(group, column) // max(group.rows, 1)


def _block_rows(group: Group, column: str, dictionary: int = 0) -> int:
    fitting = group.rows * _BLOCK // max(_nbytes(group, column), 1)
    # A few bytes can repeat a long value of the dictionary many times.
    values = max((part.values for part in group.of(column)), default=0)
    expanded = min(_EXPANDED * group.rows // (8 * values or 1), _EXPANDED // (dictionary or 1))
    return max(1, min(group.rows, fitting, expanded))


def _nbytes(group: Group, column: str) -> int:
    return sum(part.unpacked for part in group.of(column))


@dataclass(frozen=True, slots=True)
class Page:
    """The header of a page."""

    unpacked: int
    packed: int
    values: int


def require_affordable(
    path: str, groups: Iterable[Group], columns: Collection[str], limits: Limits
) -> None:
    """Raise if a page or a row of a file takes more memory than the limits allow.

    Parameters
    ----------
    path, groups
        The file and its row groups.
    columns
        The columns that are read.
    limits
        Limits on what they may claim.

    Raises
    ------
    SourceError
        A page or a row is too large, or the pages do not fill the column.
    """
    with Path(path).open("rb") as file:
        for number, group in enumerate(groups):
            for part in group.parts:
                if part.path[0] in columns:
                    name = f"{path}: row group {number}, {'.'.join(part.path)}"
                    _require_pages(file, part, name, limits)
                    each = part.values // max(1, group.rows)
                    limits.require((max(1, each),), "int64", name, "a row")


def _require_pages(file: BinaryIO, part: ColumnChunk, name: str, limits: Limits) -> None:
    at, left, values = part.start, part.packed, part.values
    while left > 0 and values > 0:
        try:
            page, header = read_page(file, at)
        except (ValueError, KeyError, TypeError) as error:
            raise SourceError(
                f"{name}: needed a page at byte {at}, found {error}; write the file again"
            ) from error
        limits.require_nbytes(page.unpacked, name, "a page")
        if min(page.packed, page.unpacked, page.values) < 0 or header + page.packed > left:
            raise SourceError(
                f"{name}: needed pages of {left} bytes, found one of {page.packed} at byte {at}; "
                "write the file again"
            )
        limits.require((max(1, page.values),), "int64", name, "a page")
        at, left = at + header + page.packed, left - header - page.packed
        values -= page.values


def dictionary_nbytes(path: str, parts: Iterable[ColumnChunk]) -> int:
    """Return the bytes of the dictionaries, which bound those of a row that uses them."""
    with Path(path).open("rb") as file:
        return sum(
            read_page(file, part.dictionary)[0].unpacked for part in parts if part.dictionary
        )


def read_page(file: BinaryIO, at: int) -> tuple[Page, int]:
    """Read the header of a page; return it and its bytes.

    Raises
    ------
    ValueError, KeyError, TypeError
        There is no page header at this offset.
    """
    file.seek(at)
    reader = ThriftReader(file.read(_HEADER))
    try:
        said = reader.struct()
    except ValueError:  # statistics may make it longer
        file.seek(at)
        reader = ThriftReader(file.read(_LONGEST_HEADER))
        said = reader.struct()
    pages: list[Any] = [said[field] for field in _DATA_PAGES if field in said]
    values = int(pages[0][1]) if pages else 0
    return Page(int(said[_PAGE_UNPACKED]), int(said[_PAGE_PACKED]), values), reader.at
