"""Load files into the page cache, or drop them from it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def warm(folder: Path) -> None:
    """Read every file of a folder once."""
    for path in _files(folder):
        with path.open("rb", buffering=0) as file:
            while file.read(1 << 24):
                pass


def drop(folder: Path) -> None:
    """Drop the files of a folder from the page cache. Pages that are mapped or dirty stay.

    Raises
    ------
    OSError
        This system has no ``posix_fadvise``.
    """
    if not hasattr(os, "posix_fadvise"):
        raise OSError("cold runs need posix_fadvise, which this system does not have")
    for path in _files(folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def nbytes(folder: Path) -> int:
    """Return the bytes that the files of a folder take on the disk."""
    return sum(path.stat().st_blocks * 512 for path in _files(folder))


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
