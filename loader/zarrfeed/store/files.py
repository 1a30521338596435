"""Open the files of a store, and only regular files inside the store's own folder.

A dataset may come from an untrusted source. Opening a pipe would block, and a device or a link
could make the reader read something else.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from zarrfeed.errors import ReadError, look_up
from zarrfeed.store.address import entry_kind
from zarrfeed.store.file_limits import with_room
from zarrfeed.store.schema import METADATA

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Buffer

# Modification time of an array's metadata in ns, and its size in bytes. Not its inode, because some
# network file systems renumber inodes.
Stamp: TypeAlias = tuple[int, int]

_FLAGS = (
    os.O_RDONLY
    | os.O_CLOEXEC
    | os.O_NONBLOCK  # do not wait for a pipe's writer
    | os.O_NOCTTY
    | os.O_NOFOLLOW
)
# Links from descriptors to their files, on Linux.
_DESCRIPTORS = Path("/proc/self/fd")


def stamp_of(folder: Path) -> Stamp | None:
    """Return a stamp of an array's metadata, by which a replacement of the array is detected.

    Returns
    -------
    tuple or None
        None if there is no metadata.
    """
    for name in (METADATA, ".zarray"):
        with suppress(OSError):
            found = (folder / name).stat()
            return found.st_mtime_ns, found.st_size
    return None


def require_same(folder: Path, stamp: Stamp | None) -> None:
    """Check that an array has not been replaced since it was opened.

    Parameters
    ----------
    folder
        Folder of the array.
    stamp
        Return value of :func:`stamp_of` at that time; None skips the check.

    Raises
    ------
    ReadError
        The array was replaced, so that data read since then may belong to the new one.
    """
    if stamp is not None and stamp_of(folder) != stamp:
        raise ReadError(
            f"{folder}: the split was replaced or removed while it was read: make a new "
            "ZarrSequence to read the new one"
            f"{look_up('replaced-split')}"
        )


def require_all_same(folder: Path, stamps: Mapping[str, Stamp | None]) -> None:
    """Check each of several arrays of a folder, given by name, as :func:`require_same`."""
    for name, stamp in stamps.items():
        require_same(folder / name, stamp)


def replace_file(path: Path, content: Buffer) -> None:
    """Write a file aside, and rename it, so that nobody ever sees half of it."""
    aside = path.with_name(f"{path.name}.tmp")
    aside.write_bytes(content)
    aside.replace(path)


def open_file(path: Path, *, within: str) -> int:
    """Open a file for reading.

    Parameters
    ----------
    path
        Path of the file.
    within
        Folder that must contain the file at any depth, resolved by :func:`os.path.realpath`.

    Returns
    -------
    int
        A descriptor, which the caller must close.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ReadError
        It is not a regular file, is outside `within`, or cannot be opened.
    """
    try:
        descriptor = with_room(lambda: os.open(path, _FLAGS), path, ReadError)
    except (FileNotFoundError, ReadError):
        raise
    except OSError as error:
        raise ReadError(_refusal(path, error)) from error
    except ValueError as error:  # a name with a null byte
        raise ReadError(f"{path}: {error}") from error
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise ReadError(_not_a_file(path, mode))
        _require_within(path, descriptor, within)
    except BaseException as error:
        os.close(descriptor)
        if isinstance(error, OSError) and not isinstance(error, ReadError):
            raise ReadError(_refusal(path, error)) from error
        raise
    return descriptor


def _refusal(path: Path, error: OSError) -> str:
    with suppress(OSError):
        mode = path.lstat().st_mode
        if not stat.S_ISREG(mode):
            return _not_a_file(path, mode)
    return f"{path}: cannot be opened ({error.strerror}); restore it or convert again"


def _not_a_file(path: Path, mode: int) -> str:
    remedy = "copy the store with `cp -rL`" if stat.S_ISLNK(mode) else "restore it"
    return f"{path}: needed a file, found {entry_kind(mode)}, which is not followed: {remedy}"


def _require_within(path: Path, descriptor: int, within: str) -> None:
    """Refuse a file that is outside because a folder on its path is a link."""
    inside = within.rstrip(os.sep) + os.sep
    with suppress(OSError):  # not Linux
        if str((_DESCRIPTORS / str(descriptor)).readlink()).startswith(inside):
            return
    found = os.path.realpath(path)
    if not found.startswith(inside):
        raise ReadError(
            f"{path}: needed a file in {within}, found a link to {found}, which is not followed: "
            "copy the store with `cp -rL`"
            f"{look_up('links')}"
        )


def read_file(path: Path, *, within: str, limit: int) -> bytes:
    """Read a whole file of limited size.

    Parameters
    ----------
    path, within
        See :func:`open_file`.
    limit
        Largest allowed size in bytes.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ReadError
        The file is too large or cannot be read, or as for :func:`open_file`.
    """
    with os.fdopen(open_file(path, within=within), "rb") as file:
        try:
            content = file.read(limit + 1)
        except OSError as error:
            raise ReadError(
                f"{path}: cannot be read ({error.strerror}); restore it or convert again"
            ) from error
    if len(content) > limit:
        raise ReadError(f"{path}: needed at most {limit:,} bytes, found more; convert again")
    return content
