"""How are single rows of a Parquet file read, without reading all the others again and again?

Parquet can only be read from the beginning of a row group on, column by column. So a process keeps
the blocks of rows that it decoded last, and where it stands in the groups that it is reading: in
order, everything is decoded once; in random order, half a row group is decoded for each row that
is not kept. Arrow believes what the headers of pages claim: they are looked at first.
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
from zarrfeed_convert.sources.records.parquet_claims import Group, Part, ThriftReader, read_groups

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from zarrfeed_convert.decoding.limits import Limits

_BLOCK = 8 << 20  # bytes that are decoded at once, as they are stored
_EXPANDED = 128 << 20  # what they may become, where values repeat
_BUFFER = 1 << 20  # read ahead; without, a whole row group is fetched before its first row
# Bytes: as much as is read to find a page's header, and as it may have.
_HEADER, _LONGEST_HEADER = 1 << 12, 1 << 22
_PAGE_UNPACKED, _PAGE_PACKED, _DATA_PAGES = 2, 3, (5, 8)  # fields of page headers
_FILES = 2  # of which a process has readings of all columns under way


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row is.

    Attributes
    ----------
    path
        The file.
    group
        The row group in it.
    row
        The row in the group.
    """

    path: str
    group: int
    row: int


class RowGroups:
    """Reads rows and caches the last ones. Thread-safe; pickled empty.

    Parameters
    ----------
    bound
        How many bytes of decoded rows are kept.
    limits
        What files may claim.
    columns
        How many are read of each row; besides `bound`, a block of each is kept.
    """

    def __init__(self, bound: int, limits: Limits, columns: int) -> None:
        self._bound, self._limits, self._columns = bound, limits, columns
        self._blocks: Cache[pa.ChunkedArray] = Cache(bound, _bytes_of, at_least=columns)
        self._readings: OrderedDict[tuple[str, str], _Reading] = OrderedDict()
        self._lock = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return RowGroups, (self._bound, self._limits, self._columns)

    def locate(self, place: Place, column: str) -> tuple[pa.ChunkedArray, int]:
        """Return a block of a column, and where in it a row is.

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
        """Put a reading where the next row finds it; close those that are too many."""
        with self._lock:
            surplus = [self._readings.pop(reading.key, None)]
            self._readings[reading.key] = reading
            while len(self._readings) > _FILES * self._columns:
                surplus.append(self._readings.popitem(last=False)[1])
        for old in surplus:
            if old is not None:
                old.close()


class _Reading:
    """A column of a file, and how far it is decoded. One thread has it at a time."""

    def __init__(self, path: str, column: str, limits: Limits) -> None:
        self.key = (path, column)
        self._groups = read_groups(path, limits)
        self._column = column
        # Not mapped into memory: a file that is cut meanwhile would end the process.
        self._file = pq.ParquetFile(
            path, buffer_size=_BUFFER, pre_buffer=False, page_checksum_verification=True
        )
        self._group, self._next = -1, 0
        self._rows: dict[int, int] = {}
        self._batches: Iterator[pa.RecordBatch] = iter(())

    def block_rows(self, group: int) -> int:
        """Return how many rows of a group are decoded at once: as many as their bytes allow."""
        rows = self._rows.get(group)
        if rows is None:
            about = self._groups[group]
            dictionary = dictionary_nbytes(self.key[0], about.of(self._column))
            rows = _block_rows(about, self._column, dictionary)
            self._rows[group] = rows
        return rows

    def read(self, group: int, block: int) -> pa.ChunkedArray:
        """Decode a block of rows; those between the last one and it, too, if they follow it."""
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
        """Take so many rows; Arrow may give them in several batches."""
        parts = []
        while rows > 0:
            batch = next(self._batches)
            parts.append(batch.column(self._column))
            rows -= batch.num_rows
        return pa.chunked_array(parts)


def _bytes_of(rows: pa.ChunkedArray) -> int:
    return sum(part.get_total_buffer_size() for part in rows.chunks)


def block_nbytes(group: Group, column: str) -> int:
    """Return how many bytes a block of a row group has: a few MiB, or one row that is larger."""
    return _block_rows(group, column) * _nbytes(group, column) // max(group.rows, 1)


def _block_rows(group: Group, column: str, dictionary: int = 0) -> int:
    fitting = group.rows * _BLOCK // max(_nbytes(group, column), 1)
    # Few bytes may say a long value very often.
    values = max((part.values for part in group.of(column)), default=0)
    expanded = min(_EXPANDED * group.rows // (8 * values or 1), _EXPANDED // (dictionary or 1))
    return max(1, min(group.rows, fitting, expanded))


def _nbytes(group: Group, column: str) -> int:
    return sum(part.unpacked for part in group.of(column))


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a column, as its header says."""

    unpacked: int
    packed: int
    values: int


def require_affordable(
    path: str, groups: Iterable[Group], columns: Collection[str], limits: Limits
) -> None:
    """Refuse a file with a page, or a row, that takes more than may be decoded at once.

    Parameters
    ----------
    path, groups
        The file, and its row groups.
    columns
        That are read.
    limits
        What they may claim.

    Raises
    ------
    SourceError
        It has one, or pages that do not follow each other.
    """
    with Path(path).open("rb") as file:
        for number, group in enumerate(groups):
            for part in group.parts:
                if part.path[0] in columns:
                    name = f"{path}: row group {number}, {'.'.join(part.path)}"
                    _require_pages(file, part, name, limits)
                    each = part.values // max(1, group.rows)
                    limits.require((max(1, each),), "int64", name, "a row")


def _require_pages(file: BinaryIO, part: Part, name: str, limits: Limits) -> None:
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


def dictionary_nbytes(path: str, parts: Iterable[Part]) -> int:
    """Return how many bytes a row can have at most that is in a dictionary, by the file."""
    with Path(path).open("rb") as file:
        return sum(
            read_page(file, part.dictionary)[0].unpacked for part in parts if part.dictionary
        )


def read_page(file: BinaryIO, at: int) -> tuple[Page, int]:
    """Read the header of a page, and say how long it is.

    Raises
    ------
    ValueError, KeyError, TypeError
        There is no page header at this byte.
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
