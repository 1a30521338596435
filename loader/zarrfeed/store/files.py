"""Open the files of a store: regular files in the store's own folder, and nothing else.

A dataset may come from anybody. Opening a pipe would block, and a device or a link would lead the
reader to something else.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from zarrfeed.errors import ReadError
from zarrfeed.store.address import entry_kind
from zarrfeed.store.file_limits import with_room
from zarrfeed.store.schema import METADATA

# When the metadata of an array was written, in ns, and its size. No inode: some network file
# systems renumber theirs.
Stamp: TypeAlias = tuple[int, int]

_FLAGS = (
    os.O_RDONLY
    | os.O_CLOEXEC
    | os.O_NONBLOCK  # do not wait for a pipe's writer
    | os.O_NOCTTY
    | os.O_NOFOLLOW
)
# Where Linux names the file of a descriptor.
_DESCRIPTORS = Path("/proc/self/fd")


def stamp_of(folder: Path) -> Stamp | None:
    """Identify the metadata of an array, so that a replacement is noticed.

    Returns
    -------
    tuple or None
        None without metadata.
    """
    for name in (METADATA, ".zarray"):
        with suppress(OSError):
            found = (folder / name).stat()
            return found.st_mtime_ns, found.st_size
    return None


def require_same(folder: Path, stamp: Stamp | None) -> None:
    """Check that an array is still the one that was opened.

    Parameters
    ----------
    folder
        Of the array.
    stamp
        As :func:`stamp_of` gave it; None checks nothing.

    Raises
    ------
    ReadError
        It was replaced, and what was read since may come from another one.
    """
    if stamp is not None and stamp_of(folder) != stamp:
        raise ReadError(
            f"{folder}: the split was replaced or removed while it was read: make a new "
            "ZarrSequence to read the new one"
        )


def open_file(path: Path, *, within: str) -> int:
    """Open a file for reading.

    Parameters
    ----------
    path
        Its name.
    within
        The folder that must hold it, at any depth; as from :func:`os.path.realpath`.

    Returns
    -------
    int
        A descriptor, to be closed by the caller.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ReadError
        It is no regular file, lies elsewhere, or may not be opened.
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
    """Refuse a file that was reached through a linked folder."""
    inside = within.rstrip(os.sep) + os.sep
    with suppress(OSError):  # not Linux
        if str((_DESCRIPTORS / str(descriptor)).readlink()).startswith(inside):
            return
    found = os.path.realpath(path)
    if not found.startswith(inside):
        raise ReadError(
            f"{path}: needed a file in {within}, found a link to {found}, which is not followed: "
            "copy the store with `cp -rL`"
        )


def read_file(path: Path, *, within: str, limit: int) -> bytes:
    """Read a whole file of limited size.

    Parameters
    ----------
    path, within
        As for :func:`open_file`.
    limit
        The most bytes it may have.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ReadError
        It is longer, or cannot be read; and as for :func:`open_file`.
    """
    with os.fdopen(open_file(path, within=within), "rb") as file:
        try:
            content = file.read(limit + 1)
        except OSError as error:
            raise ReadError(f"{path}: cannot be read ({error.strerror})") from error
    if len(content) > limit:
        raise ReadError(f"{path}: needed at most {limit:,} bytes, found more; convert again")
    return content
