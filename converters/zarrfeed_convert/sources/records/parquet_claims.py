"""Read and check the metadata of Parquet files before Arrow does.

Arrow trusts the metadata, and some contradictions in it crash the process: rows that are in no
page, or missing columns. The metadata are a structure of Thrift's compact protocol:

    PAR1 | pages of columns … | FileMetaData | its length (4 bytes) | PAR1
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zarrfeed_convert.decoding.limits import Limits

_MAGIC, _END = b"PAR1", 8
# FileMetaData and SchemaElement, RowGroup and ColumnChunk, and ColumnMetaData.
_SCHEMA, _ROWS, _GROUPS = 2, 3, 4
_TYPE, _REPETITION, _NAME, _CHILDREN = 1, 3, 4, 5
_COLUMNS, _GROUP_ROWS, _CHUNK = 1, 3, 3
_PATH, _VALUES, _UNPACKED, _PACKED, _DATA, _DICTIONARY, _STATISTICS = 3, 5, 6, 7, 9, 11, 12
_NULLS = 3

Struct: TypeAlias = dict[int, Any]

_DEEPEST = 16
_STOP, _TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY = 0, 1, 2, 3, 7, 8
_INTEGERS = (4, 5, 6)
_LISTS = (9, 10)  # lists, sets
_MAP, _STRUCT = 11, 12
_LONGEST_NUMBER = 10  # bytes


@dataclass(frozen=True, slots=True)
class ColumnChunk:
    """A leaf column in a row group. A nested column has several.

    Attributes
    ----------
    path
        Names from the top-level column to the leaf.
    values, nulls
        Number of values including nulls; number of nulls, None if not recorded.
    unpacked, packed
        Bytes of the pages, decompressed and compressed.
    start, dictionary
        Offset of the first page; offset of the dictionary, 0 if there is none.
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
    parts: tuple[ColumnChunk, ...]

    def of(self, column: str) -> list[ColumnChunk]:
        """Return the leaves of a top-level column."""
        return [part for part in self.parts if part.path[0] == column]


def read_groups(path: str, limits: Limits) -> list[Group]:
    """Read the row groups from the metadata of a Parquet file.

    Raises
    ------
    SourceError
        The metadata contradict themselves, or claim too many rows.
    ValueError
        The file is not a Parquet file.
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
                raise ValueError(f"row group {number} has a negative size")
            if group.rows and not len(_MAGIC) <= part.start <= size - part.packed:
                raise ValueError(
                    f"row group {number} has {part.packed} bytes of a column at byte {part.start}, "
                    f"the file {size}"
                )
    return groups


def _part(about: Struct) -> ColumnChunk:
    data, dictionary = int(about[_DATA]), int(about.get(_DICTIONARY) or 0)
    nulls = about.get(_STATISTICS, {}).get(_NULLS)
    return ColumnChunk(
        tuple(part.decode() for part in about[_PATH]),
        int(about[_VALUES]),
        None if nulls is None else int(nulls),
        int(about[_UNPACKED]),
        int(about[_PACKED]),
        dictionary if 0 < dictionary < data else data,
        dictionary,
    )


def _leaves(schema: list[Struct]) -> Iterator[tuple[str, ...]]:
    """Yield the leaf columns of a schema, each by the names from its top-level column on."""
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
            raise ValueError(f"a column of {children} children, of the kinds {kinds}")
        if children:
            left.append((name, children))
        else:
            yield name
    if any(count for _, count in left):
        raise ValueError("a schema that ends early")


class ThriftReader:
    """Reads consecutive structures of Thrift's compact protocol.

    A field is ``id delta and type in one byte | value``, and 0 ends a structure. Written in Python,
    so that no claim of a length allocates more than the bytes that are there.

    Parameters
    ----------
    data
        The bytes.

    Attributes
    ----------
    at
        Where the next one begins.

    Examples
    --------
    >>> ThriftReader(bytes([0x15, 0x06, 0x18, 0x02, 0x68, 0x69, 0])).struct()
    {1: 3, 2: b'hi'}
    """

    def __init__(self, data: bytes) -> None:
        self._data, self.at = data, 0

    def struct(self, depth: int = 0) -> Struct:
        """Read a structure: field id → value.

        Raises
        ------
        ValueError
            The bytes are no structure, end early, or nest deeper than Parquet's metadata do.
        """
        if depth > _DEEPEST:
            raise ValueError(f"structures that nest deeper than {_DEEPEST}")
        found: Struct = {}
        field = 0
        while (head := self._byte()) != _STOP:
            kind, delta = head & 15, head >> 4
            field = field + delta if delta else self._signed()
            found[field] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (_TRUE, _FALSE, _BYTE):
            return self._byte()
        if kind in _INTEGERS:
            return self._signed()
        if kind == _DOUBLE:
            return self._bytes(8)
        if kind == _BINARY:
            return self._bytes(self._unsigned())
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in _LISTS:
            head = self._byte()
            count = head >> 4 if head >> 4 < 15 else self._unsigned()
            self._require(count)  # an entry takes a byte at least
            return [self._value(head & 15, depth + 1) for _ in range(count)]
        if kind == _MAP:
            count = self._unsigned()
            self._require(count)
            kinds = self._byte() if count else 0
            return [
                (self._value(kinds >> 4, depth + 1), self._value(kinds & 15, depth + 1))
                for _ in range(count)
            ]
        raise ValueError(f"a value of the unknown type {kind}")

    def _byte(self) -> int:
        self._require(1)
        self.at += 1
        return self._data[self.at - 1]

    def _bytes(self, count: int) -> bytes:
        self._require(count)
        self.at += count
        return self._data[self.at - count : self.at]

    def _unsigned(self) -> int:
        number = 0
        for place in range(_LONGEST_NUMBER):
            byte = self._byte()
            number |= (byte & 127) << 7 * place
            if byte < 128:
                return number
        raise ValueError("a number of too many bytes")

    def _signed(self) -> int:
        number = self._unsigned()
        return (number >> 1) ^ -(number & 1)

    def _require(self, count: int) -> None:
        if count > len(self._data) - self.at:
            raise ValueError(f"{count} bytes where {len(self._data) - self.at} are left")
