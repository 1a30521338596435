"""How is a file written completely or not at all, even if the machine stops?

It is written under a temporary name in the same folder, synced to the disk, and renamed.
"""

from __future__ import annotations

import os
import shutil
import stat
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def atomic_file(path: Path, *, buffering: int = -1, sync: bool = True) -> Iterator[IO[bytes]]:
    """Open a file that gets its name when the context ends; it is removed if there is an error.

    Parameters
    ----------
    path
        Path of the file. An existing file is replaced.
    buffering
        Size of the buffer in bytes, as for :func:`open`.
    sync
        Whether to sync the file, so that it survives a loss of power.
    """
    # A unique name, since a lost process on another machine may still be writing the same file.
    aside = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    file = aside.open("xb", buffering)
    try:
        yield file
        with writing(aside):
            file.flush()
            if sync:
                os.fsync(file.fileno())
            file.close()
    except BaseException:
        with suppress(OSError):  # flushing the rest of the buffer may fail, too
            file.close()
        aside.unlink(missing_ok=True)
        raise
    aside.replace(path)


def sync_tree(folder: Path) -> None:
    """Sync all files and folders below a folder, so that they are on disk before it is renamed."""
    for parent, _, names in os.walk(folder):
        for name in names:
            sync_entry(Path(parent, name))
        sync_entry(Path(parent))


def sync_entry(path: Path) -> None:
    """Sync a file, or the entries of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with writing(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Add the path to errors that do not name it, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def remove(path: Path, *, must: bool = False) -> None:
    """Remove a file, a symbolic link (not its target), or a folder with all its contents.

    Parameters
    ----------
    path
        Path, which need not exist.
    must
        Whether to raise an error if it cannot be removed.

    Raises
    ------
    OSError
        It cannot be removed, and `must` is True.
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
