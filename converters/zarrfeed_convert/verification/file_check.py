"""Is a shard's file, byte for byte, the one that was written?"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import xxhash

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK = 1 << 20  # bytes that are read at a time


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A shard's file, as it must be.

    Attributes
    ----------
    field
        Whose shard it is.
    path
        Where.
    fact
        Its bytes and their xxh3_64; None where nobody recorded them.
    """

    field: str
    path: Path
    fact: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class FileFinding:
    """A shard's file, as it is.

    Attributes
    ----------
    known
        As it must be.
    fact
        Its bytes and their xxh3_64, if they were needed and could be read.
    nbytes
        Its size; 0 where there is none.
    state
        ``unknown`` where it is there, and nobody recorded what must be in it; ``unreadable`` where
        the operating system fails to read it.
    what
        What is wrong with it.
    """

    known: KnownFile
    fact: tuple[int, int] | None
    nbytes: int
    state: Literal["good", "unknown", "missing", "damaged", "unreadable"]
    what: str = ""


def check_file(known: KnownFile) -> FileFinding:
    """Compare a file with what is recorded of it, in bounded memory."""
    path, needed = known.path, known.fact
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return FileFinding(known, None, 0, "damaged", f"{path}: needed a file, found none")
        if needed is None:
            return FileFinding(known, None, status.st_size, "unknown")
        found = digest_file(path)
    except FileNotFoundError:
        size = "" if needed is None else f" of {needed[0]} bytes"
        what = f"{path}: needed a file{size}, found none; restore it, or convert again"
        return FileFinding(known, None, 0, "missing", what)
    except OSError as error:
        what = f"{path}: cannot be read: {error}; restore it, or convert again"
        return FileFinding(known, None, 0, "unreadable", what)
    if found == needed:
        return FileFinding(known, found, found[0], "good")
    return FileFinding(known, found, found[0], "damaged", _difference(path, needed, found))


def digest_file(path: Path) -> tuple[int, int]:
    """Count and digest the bytes of a file: their number, and their xxh3_64."""
    digest, nbytes = xxhash.xxh3_64(), 0
    block = memoryview(bytearray(_BLOCK))
    with path.open("rb", buffering=0) as file:
        while read := file.readinto(block):
            digest.update(block[:read])
            nbytes += read
    return nbytes, digest.intdigest()


def _difference(path: Path, needed: tuple[int, int], found: tuple[int, int]) -> str:
    todo = "restore the file, or convert again"
    if needed[0] != found[0]:
        how = "is truncated" if found[0] < needed[0] else "has grown"
        return f"{path}: needed {needed[0]} bytes, found {found[0]}: it {how}; {todo}"
    return f"{path}: needed bytes of xxh3_64 {needed[1]:016x}, found {found[1]:016x}; {todo}"
