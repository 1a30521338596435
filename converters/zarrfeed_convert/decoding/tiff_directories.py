"""Does the chain of directories in a TIFF end, and are its tags inside the file?

    header | … | count, tags …, offset of the next directory | … | count, tags …, 0

tifffile would follow a circular chain for ever, and a chain of millions until memory runs out.
Therefore the chain is checked here first.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_MOST_PAGES = 1 << 20
_MOST_TAGS = 4096  # per directory; tifffile's own limit
_MOST_VALUES = 1 << 22  # per tag; a slide of 500,000² pixels has as many tile offsets
_KIND, _SUB_DIRECTORIES, _NODATA = 254, 330, 42113
_MASK = 4  # bit of the kind of a page
# Bytes per value of each tag type; 0 for unknown types.
_SIZES = np.array([0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8], np.int64)


@dataclass(frozen=True, slots=True)
class _Form:
    """Byte order and width of numbers: an offset has 4 bytes in TIFF, 8 in BigTIFF."""

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
    """Check the directories of a TIFF, and go back to the beginning of the file.

    Parameters
    ----------
    file
        The TIFF.
    name
        Name of the file, for errors.
    most
        Maximum number of directories.

    Raises
    ------
    SourceError
        The directories form a loop or exceed `most`, or a tag has more values than fit into the
        file.
    """
    for form, tags in _directories(file, name, most):
        del form, tags  # each is checked when it is found
    file.seek(0)


def may_have_gaps(file: BinaryIO, name: str) -> bool:
    """Return whether a TIFF has GDAL's tag of no data, or a page that is a mask.

    It is as fast as the tags are read; which pixels these are, GDAL says.

    Raises
    ------
    SourceError
        The directories are those of no TIFF; see :func:`require_end`.
    """
    return any(
        (tags["code"] == _NODATA).any() or _is_mask(form, tags)
        for form, tags in _directories(file, name, _MOST_PAGES)
    )


def _is_mask(form: _Form, tags: NDArray[np.void]) -> bool:
    kinds = tags[(tags["code"] == _KIND) & (tags["type"] < len(_SIZES))]
    return any(form.number(_value(tag)[: _SIZES[tag["type"]]]) & _MASK for tag in kinds)


def _value(tag: np.void) -> bytes:
    """Return the bytes of a tag's value, as they are in the file: a field would be converted."""
    return tag.tobytes()[-tag["value"].itemsize :]


def _directories(file: BinaryIO, name: str, most: int) -> Iterator[tuple[_Form, NDArray[np.void]]]:
    """Check the directories of a TIFF, and yield the tags of each."""
    file.seek(0, os.SEEK_END)
    size = file.tell()
    file.seek(0)
    head = file.read(16)
    form = _Form("<" if head[:1] == b"I" else ">", head[2:4] in (b"+\0", b"\0+"))
    seen: set[int] = set()
    waiting = [form.number(head[8:16] if form.big else head[4:8])]
    while waiting:
        at = waiting.pop()
        chain: set[int] = set()
        while at:
            if at in chain:
                raise SourceError(
                    f"{name}: needed a chain of TIFF directories that ends, found one that leads "
                    f"back to byte {at}; save the file anew"
                )
            if at in seen:  # subdirectories are listed, and often a chain as well
                break
            chain.add(at)
            seen.add(at)
            if len(seen) > most:
                raise SourceError(
                    f"{name}: needed at most {most} TIFF pages, found more; split the file"
                )
            tags, at = _read(file, form, at, name)
            waiting += _require_room(file, form, tags, size, name)
            yield form, tags


def _read(file: BinaryIO, form: _Form, at: int, name: str) -> tuple[NDArray[np.void], int]:
    """Read the tags of a directory, and the offset of the next one; a truncated one has no tags."""
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
    """Check that the values of tags fit into the file; return the offsets of subdirectories."""
    kinds, counts = tags["type"].astype(np.int64), tags["count"].astype(np.float64)
    sizes = _SIZES[np.minimum(kinds, len(_SIZES) - 1) * (kinds < len(_SIZES))]
    wrong = (counts * sizes > size) | ((counts > _MOST_VALUES) & (sizes > 1))
    if wrong.any():
        tag = tags[np.flatnonzero(wrong)[0]]
        raise SourceError(
            f"{name}: needed TIFF tags that fit into the file of {size} bytes, found tag "
            f"{tag['code']} with {tag['count']} values; it is damaged: restore it"
        )
    below: list[int] = []
    for tag in tags[tags["code"] == _SUB_DIRECTORIES]:
        width, count = int(_SIZES[min(tag["type"], 18)]), int(tag["count"])
        if not width or not count:
            continue
        value = _value(tag)[:width]
        if count * width > tag["value"].itemsize:
            file.seek(int(tag["value"]) % (1 << 63))
            value = file.read(count * width)
        below += [form.number(value[at : at + width]) for at in range(0, len(value), width)]
    return below
