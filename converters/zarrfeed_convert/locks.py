"""Who may use a file or a folder, and who removes what a killed run left?

A lock is held for as long as its descriptor is open. The kernel takes it away when the process
ends, however it ends: what belongs to this machine and is locked by nobody may be removed.
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

_YOUNG_S = 60  # its run may not hold it yet
_LOOK_EVERY_S = 0.05


@contextmanager
def locked(path: Path, *, wait_s: float = 0) -> Iterator[None]:
    """Hold the lock of a file or folder, which is no link, for as long as the context lasts.

    Parameters
    ----------
    path
        Which is there.
    wait_s
        How long to wait for whoever holds it.

    Raises
    ------
    BlockingIOError
        Somebody else holds it.
    FileNotFoundError
        It is not there, or was removed before it could be locked.
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
    """Lock a file or folder, where its file system has locks, until the descriptor is closed."""
    descriptor = os.open(path, os.O_RDONLY)
    with suppress(OSError):  # without locks, nothing is ever removed
        _lock(descriptor, wait_s)
    return descriptor


def own_prefix(what: str) -> str:
    """Give how names of this machine's files and folders of a kind begin.

    Locks of other machines that share a folder may not be seen here.
    """
    return f"{what}-{platform.node()}-"


def remove_abandoned(folder: Path, prefix: str) -> None:
    """Remove the files and folders of a prefix that nobody holds."""
    for left in folder.glob(f"{prefix}*"):
        # Somebody works with it, or has just removed it.
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
