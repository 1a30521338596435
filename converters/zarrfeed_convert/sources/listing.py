"""Which files does a path or a glob mean, and what are they called without folder and extension?"""

from __future__ import annotations

import glob
import os
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence


def list_files(where: str, *, what: str, extensions: Collection[str]) -> dict[str, str]:
    """Find files, and how the keys of their samples begin.

    Parameters
    ----------
    where
        A file; a folder, which is searched with everything below it; or a glob.
    what
        What they hold, ``images`` or ``masks``, for errors.
    extensions
        Of the files that are looked for in a folder, in lower case; ``.tfrecord`` finds
        ``x.tfrecord-00000-of-00010``, too.

    Returns
    -------
    dict
        Path → :func:`stems_of` of it, sorted by path.

    Raises
    ------
    SourceError
        There is none.
    """
    is_folder = Path(where).is_dir()
    found = (str(Path(where).parent), [where]) if Path(where).is_file() else files_in(where)
    if found is None:
        raise SourceError(
            f"{what}: no such file or folder: {where}; give one, or a glob in quotes "
            f"like 'data/*{min(extensions)}'"
        )
    base, paths = found
    if is_folder:
        paths = [
            path for path in paths if any(end in Path(path).name.lower() for end in extensions)
        ]
    paths = sorted(path for path in paths if not Path(path).name.startswith("."))
    if not paths:
        looked = f"; looked for {' '.join(sorted(extensions))}" if is_folder else ""
        raise SourceError(f"{what}: found no file in {where}{looked or '; check the path'}")
    return dict(zip(paths, stems_of(paths, base), strict=True))


def list_stacks(
    where: str, *, what: str, extensions: Collection[str], endings: Collection[str] = ()
) -> dict[str, str]:
    """Find files whose extension may be one of two parts: path → stem without it.

    Parameters
    ----------
    where, what, extensions
        As :func:`list_files` takes them.
    endings
        What is cut from stems, if more than the extensions.

    Raises
    ------
    SourceError
        There is none.
    """
    found = list_files(where, what=what, extensions=extensions)
    return {path: without_extension(stem, endings or extensions) for path, stem in found.items()}


def files_in(where: str) -> tuple[str, list[str]] | None:
    """Find all files below a folder, or those that a glob matches.

    Returns
    -------
    (str, list of str) or None
        The folder from which their names count, and their paths; None where it is neither.

    Raises
    ------
    SourceError
        As :func:`files_below` does.
    """
    if Path(where).is_dir():
        return where, files_below(where)
    if not glob.has_magic(where):
        return None
    matches = glob.glob(where, recursive=True)  # noqa: PTH207 (Path has no absolute patterns)
    return fixed_part(where), [path for path in matches if Path(path).is_file()]


def files_below(folder: str) -> list[str]:
    """Find all files below a folder; but folders whose names begin with a dot, as for globs.

    Links are followed, but none that leads back to a folder that it is in, for ever.

    Raises
    ------
    SourceError
        A folder cannot be read: its files would be missed in silence.
    """
    found = []
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=_refuse):
        found += [str(Path(parent, name)) for name in names]
        below = [Path(parent, name) for name in folders if not name.startswith(".")]
        folders[:] = [path.name for path in below if not _leads_back(path)]
    return found


def _leads_back(path: Path) -> bool:
    return path.is_symlink() and any(map(path.samefile, path.absolute().parents))


def _refuse(error: OSError) -> None:
    raise SourceError(
        f"{error.filename}: cannot be read: {error.strerror}; make it readable, or take it out"
    ) from error


def fixed_part(pattern: str) -> str:
    """Give the folder that all matches of a glob are below.

    Examples
    --------
    >>> fixed_part("data/case*/img.npy"), fixed_part("data/a.npy")
    ('data', 'data')
    """
    fixed: list[str] = []
    for part in PurePath(pattern).parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return str(PurePath(*fixed))


def stems_of(files: Sequence[str], base: str) -> list[str]:
    """Name files, each by another name: the path below a folder, without extension where it can.

    Examples
    --------
    >>> stems_of(["d/a.npz", "d/u/b.npz"], "d")
    ['a', 'u/b']
    >>> stems_of(["d/a.npz", "d/a.npy"], "d")
    ['a.npz', 'a.npy']
    """
    below = [PurePath(file) for file in files]
    below = [path.relative_to(base) if path.is_relative_to(base) else path for path in below]
    stems = [path.with_suffix("").as_posix() for path in below]
    return stems if len(set(stems)) == len(stems) else [path.as_posix() for path in below]


def without_extension(stem: str, extensions: Iterable[str]) -> str:
    """Cut off an extension, which may be one of two parts.

    Examples
    --------
    >>> without_extension("u/case.nii.gz", (".nii", ".nii.gz"))
    'u/case'
    """
    for end in sorted(extensions, key=len, reverse=True):
        if stem.lower().endswith(end) and len(PurePath(stem).name) > len(end):
            return stem[: -len(end)]
    return stem
