"""Which folders and files are in a folder, as far as a look shows?

A look is bounded: of a million files, some names and the number are kept.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError, look_up
from zarrfeed_convert.sources.file_discovery import is_system_file, without_extension

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

_MOST_NAMES = 1000  # kept of the files of one folder
_MOST_FOLDERS = 20_000
_DEEPEST = 6  # folders below the first one
_STORE_FILES = frozenset(["zarr.json", ".zgroup", ".zarray", ".zattrs"])
# Endings whose files belong together, although the last part alone says little.
_TWO_PARTS = (".nii.gz", ".gipl.gz", ".ome.zarr", ".ome.tif", ".ome.tiff")
_PART = re.compile(r"-\d+-of-\d+$")


@dataclass(slots=True)
class Folder:
    """What is in one folder.

    Attributes
    ----------
    files
        Names of files, at most 1,000; folders that are Zarr stores count as files.
    folders
        Names of folders.
    endings
        Ending in lower case → number of files.
    """

    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    endings: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Listing:
    """What is in a folder, and in the folders below it.

    Attributes
    ----------
    root
        The folder.
    folders
        Path below `root` with slashes, ``""`` for itself → what is in it.
    """

    root: Path
    folders: Mapping[str, Folder]

    def path(self, inside: str) -> str:
        """Return the path of a file or folder below the root."""
        return str(self.root / inside)

    def folders_in(self, inside: str) -> list[str]:
        """Return the names of the folders in a folder; none if the look did not go there."""
        return self.folders[inside].folders if inside in self.folders else []

    def below(self, inside: str = "") -> Iterator[str]:
        """Yield a folder and all folders below it, in the order of their names."""
        waiting = [inside]  # those above are not gone through: rules ask for every folder
        while waiting:
            path = waiting.pop()
            if path in self.folders:  # else a look did not go there, or was there by a link
                yield path
                waiting += (join(path, name) for name in reversed(self.folders[path].folders))

    def count(self, inside: str, endings: Collection[str]) -> int:
        """Return how many files below a folder have one of some endings."""
        return sum(
            self.folders[path].endings[end] for path in self.below(inside) for end in endings
        )

    def files(self, inside: str, endings: Collection[str]) -> Iterator[str]:
        """Yield the known files below a folder that have one of some endings."""
        for path in self.below(inside):
            yield from self.own_files(path, endings)

    def own_files(self, path: str, endings: Collection[str]) -> Iterator[str]:
        """Yield the known files in a folder, as paths below the root."""
        for name in self.folders[path].files:
            if ending_of(name) in endings:
                yield join(path, name)

    def has(self, *folders: str, inside: str = "") -> bool:
        """Return whether a folder holds all these folders."""
        return all(join(inside, name) in self.folders for name in folders)


def join(*parts: str) -> str:
    """Join paths below the root.

    Examples
    --------
    >>> join("", "a", "b"), join("", "")
    ('a/b', '')
    """
    return "/".join(part for part in parts if part)


def folder_text(inside: str) -> str:
    """Return how reasons call a folder below the root, or the root.

    Examples
    --------
    >>> folder_text("train"), folder_text("")
    ('train/', 'it')
    """
    return f"{inside}/" if inside else "it"


def ending_of(name: str) -> str:
    """Return the ending of a file's name in lower case, which may have two parts.

    Examples
    --------
    >>> ending_of("a.NII.GZ"), ending_of("a.b.png"), ending_of("x.tfrecord-00000-of-00010")
    ('.nii.gz', '.png', '.tfrecord')
    """
    lower = _PART.sub("", name.lower())
    bare = without_extension(lower, _TWO_PARTS)
    return lower[len(bare) :] if bare != lower else os.path.splitext(lower)[1]  # noqa: PTH122 (this is fast)


def without_ending(name: str) -> str:
    """Return a file's name without its ending.

    Examples
    --------
    >>> without_ending("a/b_seg.nii.gz"), without_ending("c")
    ('a/b_seg', 'c')
    """
    bare = _PART.sub("", name)
    return bare[: len(bare) - len(ending_of(bare))]


def look(directory: str | os.PathLike[str]) -> Listing:
    """List a folder and what is below it.

    Hidden files and those of operating systems are left out, links to folders above are not
    followed, Zarr stores are not entered.

    Raises
    ------
    SourceError
        There is no such folder, or it cannot be read.
    """
    root = Path(directory)
    if not root.is_dir():
        raise SourceError(
            f"--from: needed a folder, found {'a file' if root.exists() else 'nothing'} at {root}; "
            f"for files, use --images{look_up('no-files')}"
        )
    folders: dict[str, Folder] = {}
    seen = set[tuple[int, int]]()
    waiting = [("", 0)]
    while waiting and len(folders) < _MOST_FOLDERS:
        inside, depth = waiting.pop()
        try:
            status = os.stat(root / inside)  # noqa: PTH116 (follows links, as we do)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            found = folders[inside] = _list(root / inside)
        except OSError as error:
            raise SourceError(
                f"{root / inside}: cannot be read: {error.strerror}; make it readable, or take it "
                f"out{look_up('damaged-file')}"
            ) from error
        if depth < _DEEPEST:
            waiting += [(join(inside, name), depth + 1) for name in reversed(found.folders)]
    return Listing(root, folders)


def _list(path: Path) -> Folder:
    found = Folder()
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name.startswith(".") or is_system_file(entry.name):
                continue
            if entry.is_dir() and not _is_store(entry):
                found.folders.append(entry.name)
                continue
            found.endings[ending_of(entry.name)] += 1
            if len(found.files) < _MOST_NAMES:
                found.files.append(entry.name)
    found.folders.sort()
    found.files.sort()
    return found


def _is_store(entry: os.DirEntry[str]) -> bool:
    if entry.name.lower().endswith(".zarr"):
        return True
    return any(os.path.lexists(Path(entry.path, name)) for name in _STORE_FILES)
