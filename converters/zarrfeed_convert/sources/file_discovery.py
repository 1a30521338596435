"""Which files does a path or glob match, and what are their names without folder and extension?"""

from __future__ import annotations

import glob
import os
import re
import unicodedata
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError, look_up
from zarrfeed_convert.decoding.limits import require_regular

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

_PART = re.compile(r"-\d+-of-\d+$")
# Folders of thumbnails, of deleted files, and those that macOS adds to archives; in lower case.
_SYSTEM_FOLDERS = frozenset(
    ["@eadir", "__macosx", "$recycle.bin", "system volume information", "lost+found", "#recycle"]
)
_SYSTEM_FILES = frozenset([".ds_store", "thumbs.db", "desktop.ini", ".directory", ".localized"])


_hidden: ContextVar[set[str] | None] = ContextVar("hidden", default=None)


@contextmanager
def hidden_files() -> Iterator[set[str]]:
    """Collect the hidden files that :func:`files_below` ignores although they may be data."""
    found: set[str] = set()
    before = _hidden.set(found)
    try:
        yield found
    finally:
        _hidden.reset(before)


def _is_hidden_data(name: str) -> bool:
    """Return whether a hidden file may be data: ``.a.png`` and ``._a`` may, ``.gitignore`` not."""
    hidden = name.startswith(".") and name.lower() not in _SYSTEM_FILES
    return hidden and (name.startswith("._") or "." in name[1:])


def is_system_file(path: str) -> bool:
    """Return whether a file or folder was created by an operating system for its own use.

    Examples
    --------
    >>> [is_system_file(path) for path in ("d/.DS_Store", "d/._a.png", "@eaDir/a.png", "d/a.png")]
    [True, True, True, False]
    """
    *folders, name = PurePath(path.lower()).parts
    return (
        name.startswith("._")
        or name in _SYSTEM_FILES
        or not _SYSTEM_FOLDERS.isdisjoint([*folders, name])
    )


def list_files(where: str, *, what: str, extensions: Collection[str]) -> dict[str, str]:
    """Find files, and the stems by which their samples are named.

    Parameters
    ----------
    where
        A file; a folder, which is searched recursively; or a glob.
    what
        Name of the argument, ``images`` or ``masks``, for errors.
    extensions
        Extensions to search for in a folder, in lower case. ``.tfrecord`` also finds
        ``x.tfrecord-00000-of-00010``.

    Returns
    -------
    dict
        Path → stem (see :func:`stems_of`), sorted by path.

    Raises
    ------
    SourceError
        No file matches.
    """
    is_folder = Path(where).is_dir()
    found = (str(Path(where).parent), [where]) if Path(where).is_file() else files_in(where)
    if found is None:
        raise SourceError(
            f"{what}: no such file or folder: {where}; give an existing path, or a glob in quotes "
            f"like 'data/*{min(extensions)}'"
            f"{look_up('no-files')}"
        )
    base, paths = found
    if is_folder:
        paths = [path for path in paths if has_extension(Path(path).name, extensions)]
    paths = sorted(paths)
    if not paths:
        looked = f"; looked for {' '.join(sorted(extensions))}" if is_folder else ""
        raise SourceError(
            f"{what}: found no file in {where}{looked or '; check the path'}{look_up('no-files')}"
        )
    for path in map(Path, paths):
        if path.exists():
            require_regular(path)
    return dict(zip(paths, stems_of(paths, base, extensions), strict=True))


def has_extension(name: str, extensions: Iterable[str]) -> bool:
    """Return whether a name ends in an extension, ignoring a suffix like ``-00000-of-00010``.

    Examples
    --------
    >>> [has_extension(name, (".tif",)) for name in ("a.TIF", "a.tif.ovr", ".a.tif")]
    [True, False, False]
    >>> has_extension("x.tfrecord-00000-of-00010", (".tfrecord",))
    True
    """
    return not name.startswith(".") and _PART.sub("", name.lower()).endswith(tuple(extensions))


def list_stacks(
    where: str, *, what: str, extensions: Collection[str], endings: Collection[str] = ()
) -> dict[str, str]:
    """Find files whose extension may have two parts, such as ``.nii.gz``.

    Parameters
    ----------
    where, what, extensions
        As for :func:`list_files`.
    endings
        Endings to cut off from stems, if these are more than the extensions.

    Returns
    -------
    dict
        Path → stem without extension.

    Raises
    ------
    SourceError
        No file matches.
    """
    found = list_files(where, what=what, extensions=extensions)
    return {
        path: without_extension(stem, endings) if endings else stem for path, stem in found.items()
    }


def files_in(where: str) -> tuple[str, list[str]] | None:
    """Find all files below a folder, or those that a glob matches.

    Returns
    -------
    (str, list of str) or None
        The folder to which names are relative, and the paths of the files. None if `where` is
        neither a folder nor a glob.

    Raises
    ------
    SourceError
        A folder cannot be read.
    """
    if Path(where).is_dir():
        return where, files_below(where)
    if not glob.has_magic(where):
        return None
    base = fixed_part(where)
    return base, [
        path for path in matches_of(where) if Path(path).is_file() and not _is_aside(path, base)
    ]


def matches_of(pattern: str) -> list[str]:
    """Return the paths that a glob matches."""
    base = fixed_part(pattern)
    rest = PurePath(pattern).parts[len(PurePath(base).parts) :]
    return glob.glob(  # noqa: PTH207 (Path has no absolute patterns)
        str(PurePath(glob.escape(base), *rest)), recursive=True
    )


def fixed_part(pattern: str) -> str:
    """Return the folder that contains all matches of a glob.

    An existing folder whose name has glob characters, such as ``data[1]``, is taken literally.

    Examples
    --------
    >>> fixed_part("data/case*/img.npy"), fixed_part("data/a.npy")
    ('data', 'data')
    """
    fixed: list[str] = []
    for part in PurePath(pattern).parts[:-1]:
        if glob.has_magic(part) and not Path(*fixed, part).is_dir():
            break
        fixed.append(part)
    return str(PurePath(*fixed))


def files_below(folder: str) -> list[str]:
    """Find all files below a folder, except hidden files and those of operating systems.

    Symbolic links are followed unless they lead to a folder above.

    Raises
    ------
    SourceError
        A folder cannot be read. Its files would be missed silently.
    """
    found = []
    noted = _hidden.get()
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=_refuse):
        found += [str(Path(parent, name)) for name in names if not name.startswith(".")]
        if noted is not None:
            noted.update(str(Path(parent, name)) for name in names if _is_hidden_data(name))
        below = [Path(parent, name) for name in folders if not _is_system_folder(name)]
        folders[:] = [path.name for path in below if not _leads_back(path)]
    return found


def _is_aside(path: str, base: str) -> bool:
    """Return whether a file is in a folder of an operating system below `base`."""
    inside = PurePath(path)
    parts = inside.relative_to(base).parts if inside.is_relative_to(base) else inside.parts
    return any(part.lower() in _SYSTEM_FOLDERS for part in parts[:-1])


def _is_system_folder(folder: str) -> bool:
    return folder.startswith(".") or folder.lower() in _SYSTEM_FOLDERS


def _leads_back(path: Path) -> bool:
    return path.is_symlink() and any(map(path.samefile, path.absolute().parents))


def _refuse(error: OSError) -> None:
    raise SourceError(
        f"{error.filename}: cannot be read: {error.strerror}; make it readable, or take it out"
    ) from error


def stems_of(files: Sequence[str], base: str, extensions: Collection[str] = ()) -> list[str]:
    """Return unique names of files: paths below a folder, without extension if they are unique.

    Parameters
    ----------
    files, base
        The files, and the folder.
    extensions
        Extensions to cut off. A name with none of them loses what follows its last dot.

    Examples
    --------
    >>> stems_of(["d/a.npz", "d/u/b.npz"], "d")
    ['a', 'u/b']
    >>> stems_of(["d/a.npz", "d/a.npy"], "d")
    ['a.npz', 'a.npy']
    """
    below = [PurePath(file) for file in files]
    below = [path.relative_to(base) if path.is_relative_to(base) else path for path in below]
    stems = [stem_of(path.as_posix(), extensions) for path in below]
    return stems if len(set(stems)) == len(stems) else [composed(str(path)) for path in below]


def stem_of(name: str, extensions: Collection[str]) -> str:
    """Cut off an extension, if there is one, and compose letters with accents.

    macOS decomposes the letters in names of files, so that they differ from the same name in a
    list.

    Examples
    --------
    >>> stem_of("u/frame.1.PNG", (".png",)), stem_of("u/frame.1", (".png",))
    ('u/frame.1', 'u/frame')
    """
    cut = without_extension(name, extensions) if extensions else name
    return composed(cut if cut != name else PurePath(name).with_suffix("").as_posix())


def composed(name: str) -> str:
    """Return a name in Unicode normal form C: letters with accents are single characters."""
    return unicodedata.normalize("NFC", name)


def without_extension(stem: str, extensions: Iterable[str]) -> str:
    """Cut off an extension, which may have two parts.

    Examples
    --------
    >>> without_extension("u/case.nii.gz", (".nii", ".nii.gz"))
    'u/case'
    """
    for end in sorted(extensions, key=len, reverse=True):
        if stem.lower().endswith(end) and len(PurePath(stem).name) > len(end):
            return stem[: -len(end)]
    return stem
