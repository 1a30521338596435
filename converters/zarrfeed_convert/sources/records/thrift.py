"""What does a structure of Thrift's compact protocol hold? Parquet's metadata is written in it.

    field: id delta and type in a byte, value | … | 0

Pure Python, for looking at what a file says before a library believes it: nothing is made larger
than the bytes that are there.
"""

from __future__ import annotations

from typing import Any, TypeAlias

Struct: TypeAlias = dict[int, Any]

_DEEPEST = 16
_STOP, _TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY = 0, 1, 2, 3, 7, 8
_INTEGERS = (4, 5, 6)
_LISTS = (9, 10)  # lists, sets
_MAP, _STRUCT = 11, 12
_LONGEST_NUMBER = 10  # bytes


class ThriftReader:
    """Reads structures, one after the other.

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
        """Read a structure: field → value.

        Raises
        ------
        ValueError
            It is none, ends early, or is nested deeper than any that Parquet has.
        """
        if depth > _DEEPEST:
            raise ValueError("structures within structures without end")
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
