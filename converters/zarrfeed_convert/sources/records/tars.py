"""Find tars, their members, and the members that form a sample.

Only the headers in a tar are read. What :mod:`tarfile` skips silently raises an error here: a
damaged header in the middle, or archives joined by ``cat``.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import SourceError
from zarrfeed_convert.sources.file_discovery import list_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


def find_tars(where: str) -> list[str]:
    """Find tars: by a path, a folder, a glob, or a range as in ``shard-{000..017}.tar``.

    Raises
    ------
    SourceError
        There is no tar, or one of a range is missing.
    """
    wheres = [where] if Path(where).exists() else expand_braces(where)
    found = (
        path for each in wheres for path in list_files(each, what="images", extensions=[".tar"])
    )
    return list(dict.fromkeys(found))


def names_of_tars(tars: Sequence[str]) -> list[str]:
    """Name tars by their paths below their common folder, without extension.

    Examples
    --------
    >>> names_of_tars(["d/a/0.tar", "d/b/0.tar"])
    ['a/0', 'b/0']
    """
    base = os.path.commonpath([str(PurePath(tar).parent) for tar in tars])
    return [PurePath(tar).relative_to(base).as_posix().removesuffix(".tar") for tar in tars]


def expand_braces(text: str) -> list[str]:
    """Expand ranges and lists in braces, as shells do and as in WebDataset's addresses.

    Examples
    --------
    >>> expand_braces("{a,b}-{08..10}.tar")[:4]
    ['a-08.tar', 'a-09.tar', 'a-10.tar', 'b-08.tar']
    """
    found = re.search(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}", text)
    if found is None:
        return [text]
    if found[3] is not None:
        parts = found[3].split(",")
    else:
        first, last = int(found[1]), int(found[2])
        padded = any(len(end) > 1 and end.startswith("0") for end in (found[1], found[2]))
        digits = max(len(found[1]), len(found[2])) if padded else 1
        step = 1 if first <= last else -1
        parts = [f"{number:0{digits}}" for number in range(first, last + step, step)]
    rest = expand_braces(text[found.end() :])
    return [text[: found.start()] + part + end for part in parts for end in rest]


_COMPRESSED = {
    b"\x1f\x8b": ("gzip", "gunzip"),
    b"BZh": ("bzip2", "bunzip2"),
    b"\xfd7zXZ\0": ("xz", "unxz"),
    b"\x28\xb5\x2f\xfd": ("Zstandard", "unzstd"),
}
_BLOCK = 1 << 20
# As in the webdataset package: the key may contain folders, but no dot after the last slash.
_NAME = re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)")
_META = re.compile(r"__[^/]*__($|/)")


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a tar.

    Attributes
    ----------
    field
        The name after its first dot, in lower case, like ``seg.png``.
    name
        The name in the tar.
    offset, size
        Offset and size of the contents in the tar, in bytes.
    """

    field: str
    name: str
    offset: int
    size: int


def samples_of_tar(path: str) -> dict[str, dict[str, Member]]:
    """Read the headers of a tar.

    Returns
    -------
    dict
        Key → field → member, in the order of the tar.

    Raises
    ------
    SourceError
        The tar is missing, compressed, damaged or truncated, or has a file twice.
    """
    samples: dict[str, dict[str, Member]] = defaultdict(dict)
    try:
        for name, offset, size in _members(path):
            divided = divide(name)
            if divided is None:
                continue
            key, field = divided
            if field in samples[key]:
                raise SourceError(
                    f"{path}: needed every file once, found {name} twice; write the tar anew"
                )
            samples[key][field] = Member(field, name, offset, size)
    except SourceError:
        raise
    except Exception as error:  # tarfile raises errors of any class on damaged headers
        raise SourceError(
            f"{path}: cannot be read: {error}; it is missing, damaged or no tar: restore it, or "
            "take it out"
        ) from error
    return dict(samples)


def divide(name: str) -> tuple[str, str] | None:
    """Split the name of a member into key and field; None if it is not part of a sample.

    Examples
    --------
    >>> divide("train/0001.seg.PNG")
    ('train/0001', 'seg.png')
    >>> print(divide("README"), divide("__meta__/0001.jpg"))
    None None
    """
    found = _NAME.fullmatch(name)
    if not found or _META.match(name) or _is_meta(name):
        return None
    return found[1], found[2].lower()


def fields_of(samples: Mapping[str, Mapping[str, Member]]) -> Iterator[str]:
    """Yield the fields of all samples, with repetitions."""
    return (field for members in samples.values() for field in members)


def _is_meta(name: str) -> bool:
    return "/" not in name and name.startswith("__") and name.endswith("__")


def _members(path: str) -> Iterator[tuple[str, int, int]]:
    with Path(path).open("rb") as file:
        _require_uncompressed(file.read(6), path)
        total = file.seek(0, os.SEEK_END)
        file.seek(0)
        # tarfile keeps every header that it has read, in a list without a type; a tar may have
        # millions.
        tar: Any
        with tarfile.open(fileobj=file, mode="r:") as tar:
            before = 0
            for member in tar:
                tar.members = []
                after = member.offset_data + member.size
                if member.size < 0 or member.offset < before or after > total:
                    raise SourceError(
                        f"{path}: needed members one after the other in its {total} bytes, found "
                        f"{member.name} of {member.size} bytes at byte {member.offset_data}; it is "
                        "damaged or cut off: restore it, or write it anew"
                    )
                before = after
                if member.issparse():
                    raise SourceError(
                        f"{path}: needed whole files, found {member.name}, which is sparse; "
                        "write the tar without --sparse"
                    )
                if member.isreg():
                    yield member.name, member.offset_data, member.size
            end = tar.offset
        file.seek(end)
        while block := file.read(_BLOCK):
            if block.count(0) != len(block):
                at = end + len(block) - len(block.lstrip(b"\0"))
                raise SourceError(
                    f"{path}: needed the tar to end at byte {end}, found more from byte {at} on: "
                    "it is damaged there, or several tars were joined; write it anew"
                )
            end += len(block)


def _require_uncompressed(head: bytes, path: str) -> None:
    for magic, (how, command) in _COMPRESSED.items():
        if head.startswith(magic):
            raise SourceError(
                f"{path}: needed a tar that is not compressed, so that any sample can be read, "
                f"found {how}; unpack it once: {command} {path}"
            )
