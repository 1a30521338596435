"""What does a text file say that lies beside images and masks?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.limits import require_regular

if TYPE_CHECKING:
    from pathlib import Path

_LONGEST = 64 << 20  # bytes: the names of a million files


def read_text(path: Path) -> str:
    """Read a file of text, UTF-8 with or without a mark in front.

    Raises
    ------
    SourceError
        It cannot be read, is no text, or longer than any list of names.
    """
    try:
        require_regular(path)
        with path.open("rb") as file:
            data = file.read(_LONGEST + 1)
    except OSError as error:
        raise SourceError(
            f"{path}: cannot be read: {error.strerror}; make it readable, or take it out"
        ) from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{path}: needed text in UTF-8, found the byte {data[error.start]:#04x} at byte "
            f"{error.start}; save it as UTF-8"
        ) from error
    if len(data) > _LONGEST or "\0" in text:
        found = "zero bytes" if "\0" in text else f"more than {_LONGEST >> 20} MiB"
        raise SourceError(f"{path}: needed a text of names, found {found}; restore the file")
    return text
