"""Is what a Parquet file says of itself true as far as it can be told, and is it affordable?

Arrow believes a file's metadata: rows that are in no page, columns that are not there, and pages
of any size. Some of it ends the process. So the metadata is looked at here first:

    PAR1 | pages of columns … | FileMetaData | its length (4 bytes) | PAR1
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from zarrfeed.errors import SourceError
from zarrfeed_convert.sources.records.thrift import Struct, ThriftReader

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from zarrfeed_convert.decoding.limits import Limits

_MAGIC, _END = b"PAR1", 8
# Bytes: as much as is read to find a page's header, and as it may have.
_HEADER, _LONGEST_HEADER = 1 << 12, 1 << 22
# FileMetaData and SchemaElement, RowGroup and ColumnChunk, ColumnMetaData, and page headers.
_SCHEMA, _ROWS, _GROUPS = 2, 3, 4
_TYPE, _REPETITION, _NAME, _CHILDREN = 1, 3, 4, 5
_COLUMNS, _GROUP_ROWS, _CHUNK = 1, 3, 3
_PATH, _VALUES, _UNPACKED, _PACKED, _DATA, _DICTIONARY, _STATISTICS = 3, 5, 6, 7, 9, 11, 12
_NULLS = 3
_PAGE_KIND, _PAGE_UNPACKED, _PAGE_PACKED, _DATA_PAGES = 1, 2, 3, (5, 8)


@dataclass(frozen=True, slots=True)
class Part:
    """A column of numbers or texts in a row group; nested columns have several.

    Attributes
    ----------
    path
        The names that lead to it.
    values, nulls
        How many there are, with those that are nothing; of these, None where it is not said.
    unpacked, packed
        Bytes of its pages, as they are and compressed.
    start, dictionary
        Where its pages begin, and its dictionary, or 0.
    """

    path: tuple[str, ...]
    values: int
    nulls: int | None
    unpacked: int
    packed: int
    start: int
    dictionary: int


@dataclass(frozen=True, slots=True)
class Group:
    """A row group."""

    rows: int
    parts: tuple[Part, ...]

    def of(self, column: str) -> list[Part]:
        """List the parts of a column."""
        return [part for part in self.parts if part.path[0] == column]


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a column, as its header says."""

    unpacked: int
    packed: int
    values: int


def read_groups(path: str, limits: Limits) -> list[Group]:
    """Read what a Parquet file says of its row groups.

    Raises
    ------
    SourceError
        It contradicts itself, or claims too many rows.
    ValueError
        It is no Parquet file.
    """
    with Path(path).open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _END))
        end = file.read(_END)
        length = int.from_bytes(end[:4], "little")
        if end[4:] != _MAGIC or length > size - _END:
            raise ValueError("it does not end as a Parquet file does")
        file.seek(size - _END - length)
        data = file.read(length)
    try:
        return _groups(ThriftReader(data).struct(), size, path, limits)
    except SourceError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        reason = f"it lacks field {error}" if isinstance(error, KeyError) else str(error)
        raise SourceError(
            f"{path}: needed the metadata of a Parquet file, found a damaged one: {reason}; "
            "write the file again"
        ) from error


def _groups(said: Struct, size: int, path: str, limits: Limits) -> list[Group]:
    leaves = tuple(_leaves(said[_SCHEMA]))
    groups = [
        Group(int(group[_GROUP_ROWS]), tuple(_part(chunk[_CHUNK]) for chunk in group[_COLUMNS]))
        for group in said[_GROUPS]
    ]
    rows = sum(group.rows for group in groups)
    if min((group.rows for group in groups), default=0) < 0 or rows != said[_ROWS]:
        raise ValueError(f"{said[_ROWS]} rows, of which its row groups have {rows}")
    limits.require_count(rows, path, "rows")
    for number, group in enumerate(groups):
        if tuple(part.path for part in group.parts) != leaves:
            raise ValueError(f"row group {number} has other columns than the schema")
        for part in group.parts:
            if min(part.values, part.unpacked, part.packed, part.dictionary) < 0:
                raise ValueError(f"row group {number} has less than no values")
            if group.rows and not len(_MAGIC) <= part.start <= size - part.packed:
                raise ValueError(
                    f"row group {number} has {part.packed} bytes of a column at byte {part.start}, "
                    f"the file {size}"
                )
    return groups


def _part(about: Struct) -> Part:
    data, dictionary = int(about[_DATA]), int(about.get(_DICTIONARY) or 0)
    nulls = about.get(_STATISTICS, {}).get(_NULLS)
    return Part(
        tuple(part.decode() for part in about[_PATH]),
        int(about[_VALUES]),
        None if nulls is None else int(nulls),
        int(about[_UNPACKED]),
        int(about[_PACKED]),
        dictionary if 0 < dictionary < data else data,
        dictionary,
    )


def _leaves(schema: list[Struct]) -> Iterator[tuple[str, ...]]:
    """List the columns that have values of their own, each by the names that lead to it."""
    left: list[tuple[tuple[str, ...], int]] = [((), int(schema[0].get(_CHILDREN, 0)))]
    for element in schema[1:]:
        while left and not left[-1][1]:
            left.pop()
        above, count = left.pop()
        left.append((above, count - 1))
        name = (*above, element[_NAME].decode())
        children = element.get(_CHILDREN, 0)
        kinds = element.get(_REPETITION, 0), element.get(_TYPE, 0)
        if children < 0 or not (0 <= kinds[0] <= 2 and 0 <= kinds[1] <= 7):
            raise ValueError(f"a column of {children} others, of the kinds {kinds}")
        if children:
            left.append((name, children))
        else:
            yield name
    if any(count for _, count in left):
        raise ValueError("a schema that ends early")


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
