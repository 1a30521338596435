"""Lock a folder to which predictions are written, until the process ends."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from zarrfeed.errors import StoreError, look_up

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LOOK_EVERY_S = 0.05


@contextmanager
def locked(folder: Path, *, wait_s: float = 0) -> Iterator[None]:
    """Lock a folder inside the context, as `zarrfeed convert` does.

    Raises
    ------
    FileNotFoundError
        It was renamed or removed before it could be locked.
    StoreError
        It is still locked by another run after so many seconds.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    deadline = time.monotonic() + wait_s
    try:
        while not _is_locked(descriptor):
            if time.monotonic() >= deadline:
                raise StoreError(
                    f"{folder}: another run is writing to it: wait for it, or give another output "
                    "folder"
                    f"{look_up('another-run')}"
                )
            time.sleep(_LOOK_EVERY_S)
        if not os.path.samestat(os.fstat(descriptor), folder.stat()):
            raise FileNotFoundError(folder)
        yield
    finally:
        os.close(descriptor)


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
