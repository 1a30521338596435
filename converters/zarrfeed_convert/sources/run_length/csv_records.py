"""Where in a CSV file does each record begin, and which cells does it have?

Files may be large, and a cell may have megabytes: they are read record by record.
"""

from __future__ import annotations

import codecs
import csv
from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.limits import require_regular

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST = 64 << 20  # bytes of a record: the runs of a mask of gigapixels
_DELIMITERS = ",;\t"


def records_of(path: str) -> Iterator[tuple[int, int, bytes]]:
    """Yield the first byte, the end and the text of every record that is not empty.

    Raises
    ------
    SourceError
        The file cannot be read, a record is too long, or a quotation mark is never closed.
    """
    try:
        require_regular(Path(path))
        with Path(path).open("rb") as file:
            begin = 0
            while True:
                parts, quotes, length = list[bytes](), 0, 0
                while not parts or quotes % 2:
                    line = file.readline(_LONGEST + 1)
                    if not line:
                        break
                    parts.append(line)
                    quotes += line.count(b'"')
                    length += len(line)
                    if length > _LONGEST:
                        raise SourceError(
                            f"{path}: needed records of at most {_LONGEST >> 20} MiB, found a "
                            f"longer one at byte {begin}; is a quotation mark or an end of line "
                            "missing?"
                        )
                if not parts:
                    return
                if quotes % 2:
                    raise SourceError(
                        f"{path}: needed a closing quotation mark, found none for the record at "
                        f"byte {begin}; restore the file"
                    )
                record = b"".join(parts)
                if record.strip():
                    yield begin, begin + length, record
                begin += length
    except OSError as error:
        raise SourceError(f"masks: cannot read {path}: {error.strerror}; check --masks") from error


def cells_of(record: bytes, delimiter: str, name: str) -> list[str]:
    """Split a record into its cells, without spaces around them.

    Parameters
    ----------
    record
        UTF-8, with or without a byte order mark.
    delimiter
        Sign between cells.
    name
        Name of the record, for errors.

    Raises
    ------
    SourceError
        It is not text.

    Examples
    --------
    >>> cells_of(b'a.png,"1 3, 5 2"', ",", "train.csv")
    ['a.png', '1 3, 5 2']
    """
    try:
        text = record.removeprefix(codecs.BOM_UTF8).decode().strip("\r\n")
        if '"' not in text:
            return [cell.strip() for cell in text.split(delimiter)]
        if csv.field_size_limit() < _LONGEST:
            csv.field_size_limit(_LONGEST)
        return [cell.strip() for cell in next(csv.reader([text], delimiter=delimiter))]
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{name}: needed a CSV file in UTF-8, found {error}") from error


def delimiter_of(header: bytes) -> str:
    r"""Return the sign between the cells of a header.

    Examples
    --------
    >>> delimiter_of(b"id;rle\n"), delimiter_of(b"id")
    (';', ',')
    """
    text = header.decode(errors="replace")
    return max(_DELIMITERS, key=text.count)
