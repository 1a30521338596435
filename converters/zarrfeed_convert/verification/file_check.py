"""Is the file of a shard, byte for byte, the one that was written?"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from zarrfeed_convert.byte_digest import digest_of

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK = 1 << 20  # bytes to read at a time


@dataclass(frozen=True, slots=True)
class KnownFile:
    """The file of a shard, as recorded.

    Attributes
    ----------
    field
        Name of the field.
    path
        Path of the file.
    fact
        Number of bytes, and their xxh3_64; None if they are not recorded.
    """

    field: str
    path: Path
    fact: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class FileFinding:
    """The file of a shard, as found.

    Attributes
    ----------
    known
        The file as recorded.
    fact
        Number of bytes, and their xxh3_64, if the file was read.
    nbytes
        Size of the file, in bytes; 0 if it does not exist.
    state
        ``good`` or ``damaged`` by comparison with `known`; ``unknown`` if `known` has no `fact`;
        ``missing``; ``unreadable`` if the operating system cannot read it.
    what
        The error message; empty if there is none.
    """

    known: KnownFile
    fact: tuple[int, int] | None
    nbytes: int
    state: Literal["good", "unknown", "missing", "damaged", "unreadable"]
    what: str = ""


def check_file(known: KnownFile) -> FileFinding:
    """Compare a file with its recorded size and digest, reading 1 MiB at a time."""
    path, needed = known.path, known.fact
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            what = f"{path}: needed a regular file, found none; restore it, or convert again"
            return FileFinding(known, None, 0, "damaged", what)
        if needed is None:
            return FileFinding(known, None, status.st_size, "unknown")
        found = digest_file(path)
    except FileNotFoundError:
        size = "" if needed is None else f" of {needed[0]} bytes"
        what = f"{path}: needed a file{size}, found nothing; restore it, or convert again"
        return FileFinding(known, None, 0, "missing", what)
    except OSError as error:
        what = f"{path}: cannot be read: {error}; restore it, or convert again"
        return FileFinding(known, None, 0, "unreadable", what)
    if found == needed:
        return FileFinding(known, found, found[0], "good")
    return FileFinding(known, found, found[0], "damaged", _difference(path, needed, found))


def digest_file(path: Path) -> tuple[int, int]:
    """Return the number of bytes of a file, and their xxh3_64."""
    block = memoryview(bytearray(_BLOCK))
    with path.open("rb", buffering=0) as file:
        return digest_of(block[:read] for read in iter(lambda: file.readinto(block), 0))


def _difference(path: Path, needed: tuple[int, int], found: tuple[int, int]) -> str:
    todo = "restore the file, or convert again"
    if needed[0] != found[0]:
        how = "is truncated" if found[0] < needed[0] else "has grown"
        return f"{path}: needed {needed[0]} bytes, found {found[0]}: it {how}; {todo}"
    return f"{path}: needed bytes of xxh3_64 {needed[1]:016x}, found {found[1]:016x}; {todo}"
