"""Where do the text headers of NRRD and MetaImage files say that their voxels are?

SimpleITK reads these files. But a header may name other files that hold its voxels, by a path, a
list, or a printf pattern, and SimpleITK opens whatever it names. Here, these names are found
before. A line that programs understand in different ways is refused: it could hide a name. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST = 4 << 20  # bytes of a header
_MOST_FILES = 100_000
_NRRD_END = re.compile(rb"\r?\n\r?\n")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_PATTERN = re.compile(r"[^%]*%0?\d{0,2}d[^%]*")  # of printf, with one number
_LIST = re.compile(r"LIST(\s+\d+)?")
_LOCAL = ("LOCAL", "Local", "local")
_TODO = "restore the file, or take it out"


@dataclass(frozen=True, slots=True)
class TextHeader:
    """What a text header says of its voxels.

    Attributes
    ----------
    fields
        Name → value; of NRRD names in lower case and without spaces.
    data
        The files that hold the voxels, as they are named; none if they follow the header.
    end
        Where the header ends, in bytes.
    packed
        Whether voxels are compressed.
    text
        Whether voxels are numbers as text.
    """

    fields: Mapping[str, str]
    data: tuple[str, ...]
    end: int
    packed: bool
    text: bool


def nrrd_header(head: bytes, name: str) -> TextHeader:
    r"""Parse the beginning of a NRRD file.

    Parameters
    ----------
    head
        The first bytes of the file: at least its header.
    name
        The file, for errors.

    Raises
    ------
    SourceError
        It is no header of NRRD.

    Examples
    --------
    >>> found = nrrd_header(b"NRRD0004\nencoding: gzip\ndata file: a.raw.gz\n", "a.nhdr")
    >>> found.data, found.packed
    (('a.raw.gz',), True)
    """
    if not head.startswith(b"NRRD000"):
        raise SourceError(
            f"{name}: needed a NRRD file, found {head[:8]!r} at its beginning; {_TODO}"
        )
    found = _NRRD_END.search(head)
    _require_end(found is not None or len(head) <= MOST, name)
    end = found.end() if found else len(head)
    lines = _lines(head[:end], name)[1:]
    fields: dict[str, str] = {}
    files: tuple[str, ...] = ()
    for number, line in enumerate(lines):
        if not line or line.startswith("#"):
            continue
        key, colon, value = line.partition(":")
        if not colon:
            raise SourceError(f"{name}: needed a line like 'type: short', found {line!r}; {_TODO}")
        key, value = key.lower().replace(" ", "").replace("\t", ""), value.strip()
        if key == "datafile":
            files = _named_files(value, [each for each in lines[number + 1 :] if each], name)
            fields[key] = value
            if value.startswith("LIST"):
                break
        elif not value.startswith("="):
            fields[key] = value
    encoding = fields.get("encoding", "").lower()
    return TextHeader(
        fields,
        files,
        end,
        packed=encoding in ("gz", "gzip", "bz2", "bzip2"),
        text=encoding in ("txt", "text", "ascii", "hex"),
    )


def metaimage_header(head: bytes, name: str) -> TextHeader:
    r"""Parse the beginning of a MetaImage file; see :func:`nrrd_header`.

    Examples
    --------
    >>> metaimage_header(b"NDims = 3\nElementDataFile = a%02d.raw 1 2 1\n", "a.mhd").data
    ('a01.raw', 'a02.raw')
    """
    fields: dict[str, str] = {}
    end = 0
    for line in head.splitlines(keepends=True):
        end += len(line)
        [text, *more] = _lines(line, name)
        # A key without a value takes the next line for one, and so would a line without a key.
        key, sign, value = _partition(text)
        if any(more) or text != text.lstrip() or not (key and sign and value):
            raise SourceError(
                f"{name}: needed a line like 'NDims = 3', found {text[:80]!r}; {_TODO}"
            )
        fields[key] = value
        if key == "ElementDataFile":
            break
    _require_end("ElementDataFile" in fields, name)
    value = fields["ElementDataFile"]
    names = _lines(head[end:], name) if value.startswith("LIST") else []
    return TextHeader(
        fields,
        () if value in _LOCAL else _named_files(value, [each for each in names if each], name),
        end,
        packed=_is_true(fields.get("CompressedData", "")),
        text=not _is_true(fields.get("BinaryData", "True")),
    )


def _partition(line: str) -> tuple[str, str, str]:
    found = re.match(r"([^=:]*)([=:])(.*)", line)
    return (found[1].strip(), found[2], found[3].strip()) if found else (line, "", "")


def _is_true(value: str) -> bool:
    return value[:1] in ("T", "t", "1")


def _lines(data: bytes, name: str) -> list[str]:
    """Split text into lines, without the spaces at their ends."""
    text = data.decode("utf-8", "surrogateescape").replace("\r\n", "\n")
    found = _CONTROL.search(text)
    if found:
        raise SourceError(
            f"{name}: needed a header of text, found the character {found[0]!r}; {_TODO}"
        )
    return [line.rstrip() for line in text.split("\n")]


def _require_end(found: bool, name: str) -> None:
    if not found:
        raise SourceError(f"{name}: needed a header that ends, found none; {_TODO}")


def _named_files(value: str, following: Sequence[str], name: str) -> tuple[str, ...]:
    """Return the names that a value stands for: a name, a pattern, or LIST and what follows."""
    if value.startswith("LIST"):
        names = list(following) if _LIST.fullmatch(value) else []
    elif "%" in value:
        names = _numbered(value, name)
    else:
        names = [value]
    if not names or len(names) > _MOST_FILES or "-" in names or "" in names:
        raise SourceError(
            f"{name}: needed the names of 1 to {_MOST_FILES} files of voxels, found {value!r} with "
            f"{len(names)}; {_TODO}"
        )
    return tuple(names)


def _numbered(value: str, name: str) -> list[str]:
    """Return the names of a pattern, first and last number, and step: ``a%03d.raw 1 20 1``."""
    pattern, *numbers = value.split()
    try:
        first, last, step = map(int, numbers[:3])
        if not _PATTERN.fullmatch(pattern) or step < 1 or last - first > _MOST_FILES * step:
            raise ValueError
    except ValueError:
        raise SourceError(
            f"{name}: needed a name, or a pattern like 'a%03d.raw 1 20 1', of files of voxels, "
            f"found {value!r}; name the files one by one, or save the volume as one file"
        ) from None
    return [pattern % number for number in range(first, last + 1, step)]
