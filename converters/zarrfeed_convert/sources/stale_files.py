"""Who removes what a run kept on the disk for itself, where it was killed?

The next run. The kernel lets go of a lock when a process ends, however it ends: what is of this
machine and held by nobody is of no use to anyone.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_YOUNG_S = 60  # its run may not hold it yet


def own_prefix(what: str) -> str:
    """Give how names begin of this machine's files and folders of a kind.

    Of other machines that share a folder, locks may not be seen here.
    """
    return f"{what}-{platform.node()}-"


def hold(path: Path) -> int:
    """Hold a file or a folder until the descriptor that this gives is closed."""
    descriptor = os.open(path, os.O_RDONLY)
    with suppress(OSError):  # not every file system has locks; there, nothing is ever removed
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def remove_abandoned(folder: Path, prefix: str) -> None:
    """Remove the files and folders of a prefix that nobody holds."""
    for left in folder.glob(f"{prefix}*"):
        with suppress(OSError):  # somebody works with it, or has just removed it
            if time.time() - left.stat().st_mtime >= _YOUNG_S:
                _remove(left)


def _remove(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    finally:
        os.close(descriptor)
