"""Which tars does an address mean, and what is each called?"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from zarrfeed_convert.sources.file_discovery import list_files

if TYPE_CHECKING:
    from collections.abc import Sequence


def find_tars(where: str) -> list[str]:
    """Find tars: by a path, a folder, a glob, or a range as in ``shard-{000..017}.tar``.

    Raises
    ------
    SourceError
        There is none; of a range, one is missing.
    """
    wheres = [where] if Path(where).exists() else expand_braces(where)
    found = (
        path for each in wheres for path in list_files(each, what="images", extensions=[".tar"])
    )
    return list(dict.fromkeys(found))


def names_of_tars(tars: Sequence[str]) -> list[str]:
    """Name tars by their paths below the folder that they share, without extension.

    Examples
    --------
    >>> names_of_tars(["d/a/0.tar", "d/b/0.tar"])
    ['a/0', 'b/0']
    """
    base = os.path.commonpath([str(PurePath(tar).parent) for tar in tars])
    return [PurePath(tar).relative_to(base).as_posix().removesuffix(".tar") for tar in tars]


def expand_braces(text: str) -> list[str]:
    """Write out ranges and lists in braces, as shells do and WebDataset's addresses have them.

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
