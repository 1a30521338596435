"""How does a part of a file give its space back? As a hole, which reads as zeros."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING

from zarrfeed.errors import StoreError, look_up

if TYPE_CHECKING:
    from pathlib import Path

_KEEP_SIZE, _PUNCH_HOLE = 1, 2


def punch(descriptor: int, offset: int, nbytes: int) -> None:
    """Make a hole in a file, whose size stays.

    Raises
    ------
    OSError
        The file system cannot.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "fallocate"):
        raise OSError(38, os.strerror(38))
    mode = _KEEP_SIZE | _PUNCH_HOLE
    if libc.fallocate(descriptor, mode, ctypes.c_int64(offset), ctypes.c_int64(nbytes)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def require_holes(folder: Path) -> None:
    """Check that files of a folder can have holes.

    Raises
    ------
    StoreError
        They cannot.
    """
    path = folder / f"holes-{os.getpid()}.tmp"
    try:
        with path.open("xb") as file:
            file.write(b"\1" * 8192)
            file.flush()
            punch(file.fileno(), 0, 8192)
    except OSError as error:
        raise StoreError(
            f"{folder}: cache_limit needs a file system that makes holes in files, such as ext4, "
            f"XFS, Btrfs or tmpfs ({error.strerror}): give cache= a folder on one of these, or no "
            f"limit{look_up('cache-limit')}"
        ) from error
    finally:
        path.unlink(missing_ok=True)
