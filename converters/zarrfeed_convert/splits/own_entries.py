"""What of a dataset that may come from anywhere may be written to, or removed?

Plain files and folders in it. A link leads out of it: what a run writes, or removes when it fails,
would be somebody else's.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError
from zarrfeed.store.schema import DESCRIPTIVE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator


def require_own(folders: Iterable[Path], *, below: bool = True) -> None:
    """Refuse links, pipes and devices in the place of folders, and anywhere below them.

    Parameters
    ----------
    folders
        Which need not be there.
    below
        Whether to look into them.

    Raises
    ------
    SourceError
        The message names the first, and where a link leads to.
    """
    for path in (path for folder in folders for path in _found(folder, below)):
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
            continue
        what = "a pipe, socket or device"
        if stat.S_ISLNK(mode):
            what = f"a link to {os.readlink(path)}"  # noqa: PTH115 (pathlib tidies it)
        raise SourceError(
            f"{path}: needed a plain file or folder, found {what}, through which nothing is "
            "written or removed; remove it, or choose another OUT"
        )


def added_to(split: Path, fields: Collection[str]) -> list[str]:
    """Name the folders of a split that zarrfeed did not write, sorted.

    They may be arrays of any kind, also such as cannot feed batches, or groups of them.

    Parameters
    ----------
    split
        Its folder.
    fields
        Its arrays that feed batches.
    """
    folders = {entry.name for entry in split.iterdir() if entry.is_dir()}
    return sorted(folders - DESCRIPTIVE - {*fields})


def remove(path: Path, *, must: bool = False) -> None:
    """Remove a file, a link or a folder with all that is in it; follows no link.

    Parameters
    ----------
    path
        Which need not be there.
    must
        Whether what cannot be removed is an error.
    """
    try:
        if stat.S_ISDIR(path.lstat().st_mode):
            shutil.rmtree(path)
        else:
            path.unlink()
    except FileNotFoundError:
        pass
    except OSError:
        if must:
            raise


def _found(folder: Path, below: bool) -> Iterator[Path]:
    if not os.path.lexists(folder):
        return
    yield folder
    if not below:
        return
    for parent, folders, files in os.walk(folder):  # follows no link
        yield from (Path(parent, name) for name in (*folders, *files))
