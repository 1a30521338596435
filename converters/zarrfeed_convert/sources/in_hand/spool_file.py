"""Where is a spool, and who removes it where its run was killed?

The kernel lets go of a lock when a process ends, however it ends: a spool of this machine that
nobody holds is of no use to anyone.
"""

from __future__ import annotations

import fcntl
import os
import platform
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_SUFFIX = ".spool"
_YOUNG_S = 60  # its run may not hold it yet


@contextmanager
def spool_file(folder: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """Make a file that is gone when the context is; first, remove those of runs that were killed.

    Parameters
    ----------
    folder
        Which is there.
    """
    # Of other machines that share the folder, the locks may not be seen here.
    prefix = f".zarrfeed-{platform.node()}-"
    for left in folder.glob(f"{prefix}*{_SUFFIX}"):
        with suppress(OSError):  # somebody else has removed it, or works with it
            _remove_abandoned(left)
    handle, name = tempfile.mkstemp(_SUFFIX, prefix, folder)
    path = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            with suppress(OSError):  # not every file system has locks
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield file, path
    finally:
        path.unlink(missing_ok=True)


def _remove_abandoned(path: Path) -> None:
    if time.time() - path.stat().st_mtime < _YOUNG_S:
        return
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
