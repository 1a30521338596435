"""How does a file come to be there as a whole, or not at all, whenever the machine stops?

It is written beside its final name, brought to the disk, and renamed.
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
    """Write a file that takes its name when the context ends; on an error it is removed.

    Parameters
    ----------
    path
        Its name; what is there is replaced.
    buffering
        Bytes, as for :func:`open`.
    sync
        Whether the file must outlive a loss of power.
    """
    # A name of its own: a process that was given up on another machine may still be writing.
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
        with suppress(OSError):  # what is left of it cannot be written, either
            file.close()
        aside.unlink(missing_ok=True)
        raise
    aside.replace(path)


def sync_tree(folder: Path) -> None:
    """Bring what others wrote, and every folder, to the disk: a rename must not overtake it."""
    for parent, _, names in os.walk(folder):
        for name in names:
            sync_entry(Path(parent, name))
        sync_entry(Path(parent))


def sync_entry(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with writing(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Let what cannot be written name its file: a full disk, by itself, does not."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


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
