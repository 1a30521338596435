"""Does the chain of directories in a TIFF come to an end, and are its tags in the file?

    header | … | count, tags …, offset of the next directory | … | count, tags …, 0

tifffile follows a chain that leads back into itself for ever, and one of millions until memory
ends. So it is gone along here first, and refused by what it says.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_PAGES = 1 << 20
_MOST_TAGS = 4096  # of a directory: tifffile's own limit
_MOST_VALUES = 1 << 22  # of a tag that lists places: a slide of 500,000² pixels has as many tiles
_SUB_DIRECTORIES = 330
# Bytes per value of each type of tags; 0 of those that are unknown.
_SIZES = np.array([0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8], np.int64)


@dataclass(frozen=True, slots=True)
class _Form:
    """How numbers are stored: plain TIFF has 4 bytes for an offset, BigTIFF 8."""

    order: str
    big: bool

    def number(self, data: bytes) -> int:
        return int.from_bytes(data, "little" if self.order == "<" else "big")

    @property
    def tag(self) -> np.dtype[np.void]:
        count = f"{self.order}u{8 if self.big else 4}"
        codes = f"{self.order}u2"
        return np.dtype([("code", codes), ("type", codes), ("count", count), ("value", count)])


def require_end(file: BinaryIO, name: str, *, most: int = _MOST_PAGES) -> None:
    """Refuse a TIFF whose directories do not come to an end; the file is at its begin then.

    Parameters
    ----------
    file
        The TIFF.
    name
        For errors.
    most
        Directories that it may have.

    Raises
    ------
    SourceError
        They form a loop, are too many, or have tags of more values than the file has room for.
    """
    file.seek(0, os.SEEK_END)
    size = file.tell()
    file.seek(0)
    head = file.read(16)
    form = _Form("<" if head[:1] == b"I" else ">", head[2:4] in (b"+\0", b"\0+"))
    seen: set[int] = set()
    waiting = [form.number(head[8:16] if form.big else head[4:8])]
    while waiting:
        at = waiting.pop()
        while at:
            if at in seen:
                raise SourceError(
                    f"{name}: needed TIFF directories that come to an end, found that they lead "
                    f"back to the one at byte {at}; save the file anew"
                )
            seen.add(at)
            if len(seen) > most:
                raise SourceError(
                    f"{name}: needed at most {most} TIFF pages, found more; split the file"
                )
            tags, at = _read(file, form, at, name)
            waiting += _require_room(file, form, tags, size, name)
    file.seek(0)


def _read(file: BinaryIO, form: _Form, at: int, name: str) -> tuple[NDArray[np.void], int]:
    """Read a directory: its tags, and where the next one is; of one that is cut, nothing."""
    if at >= 1 << 63:
        raise SourceError(
            f"{name}: needed a TIFF directory within the file, found one at byte {at}; it is "
            "damaged: restore it"
        )
    file.seek(at)
    count = form.number(file.read(8 if form.big else 2))
    if count > _MOST_TAGS:
        raise SourceError(
            f"{name}: needed at most {_MOST_TAGS} tags in a TIFF directory, found {count} at byte "
            f"{at}; it is damaged: restore it"
        )
    data = file.read(count * form.tag.itemsize)
    following = file.read(8 if form.big else 4)
    whole = data[: len(data) - len(data) % form.tag.itemsize]
    return np.frombuffer(whole, form.tag), form.number(following)


def _require_room(
    file: BinaryIO, form: _Form, tags: NDArray[np.void], size: int, name: str
) -> list[int]:
    """Refuse tags that the file has no room for; give the chains of directories below."""
    kinds, counts = tags["type"].astype(np.int64), tags["count"].astype(np.float64)
    sizes = _SIZES[np.minimum(kinds, len(_SIZES) - 1) * (kinds < len(_SIZES))]
    wrong = (counts * sizes > size) | ((counts > _MOST_VALUES) & (sizes > 1))
    if wrong.any():
        tag = tags[np.flatnonzero(wrong)[0]]
        raise SourceError(
            f"{name}: needed TIFF tags that are in the file of {size} bytes, found tag "
            f"{tag['code']} with {tag['count']} values; it is damaged: restore it"
        )
    below: list[int] = []
    for tag in tags[tags["code"] == _SUB_DIRECTORIES]:
        width, count = int(_SIZES[min(tag["type"], 18)]), int(tag["count"])
        if not width or not count:
            continue
        value = tag["value"].tobytes()[:width]
        if count * width > tag["value"].itemsize:
            file.seek(int(tag["value"]) % (1 << 63))
            value = file.read(count * width)
        below += [form.number(value[at : at + width]) for at in range(0, len(value), width)]
    return below
