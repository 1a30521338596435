"""Locks of files and folders, and removal of those that killed runs left.

A lock is held while its descriptor is open. The kernel releases it when the process ends, even if
it is killed. Therefore temporary files of this machine that are not locked can be removed.
"""

from __future__ import annotations

import fcntl
import os
import platform
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from zarrfeed_convert.atomic_files import remove, writing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_YOUNG_S = 60  # a younger file may not be locked yet by the run that created it
_LOOK_EVERY_S = 0.05


@contextmanager
def locked(path: Path, *, wait_s: float = 0) -> Iterator[None]:
    """Lock a file or folder inside the context.

    Parameters
    ----------
    path
        An existing file or folder, not a symbolic link.
    wait_s
        Seconds to wait if it is locked.

    Raises
    ------
    BlockingIOError
        It is locked by another process, or another descriptor of this one.
    FileNotFoundError
        It does not exist, or was removed before it could be locked.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        with writing(path):
            _lock(descriptor, wait_s)
        if not os.path.samestat(os.fstat(descriptor), path.stat()):
            raise FileNotFoundError(path)
        yield
    finally:
        os.close(descriptor)


def hold(path: Path, *, wait_s: float = 0) -> int:
    """Lock a file or folder, if its file system supports locks.

    Parameters
    ----------
    path
        An existing file or folder.
    wait_s
        Seconds to wait if it is locked.

    Returns
    -------
    int
        Descriptor. The lock is released when it is closed.
    """
    descriptor = os.open(path, os.O_RDONLY)
    with suppress(OSError):  # where locks are not supported, `remove_abandoned` removes nothing
        _lock(descriptor, wait_s)
    return descriptor


def own_prefix(what: str) -> str:
    """Return the prefix of names of temporary files and folders of this machine.

    Names contain the machine, since locks of other machines that share a folder may not be visible.
    """
    return f"{what}-{platform.node()}-"


def remove_abandoned(folder: Path, prefix: str) -> None:
    """Remove files and folders in `folder` that have a prefix and are not locked."""
    for left in folder.glob(f"{prefix}*"):
        # An error means that it is locked, or was removed meanwhile.
        with suppress(OSError):
            if time.time() - left.stat().st_mtime >= _YOUNG_S:
                with locked(left):
                    remove(left)


def _lock(descriptor: int, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(_LOOK_EVERY_S)
