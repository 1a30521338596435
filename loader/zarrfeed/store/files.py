"""Open what a store says is one of its files: a regular file, in the store's own folder.

A dataset may come from anybody. A pipe would block who opens it, a device or a link would have the
reader look at something else.
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

# When the description of an array was written, in ns, and its bytes. Not which file it is: some
# network file systems number theirs anew.
Stamp: TypeAlias = tuple[int, int]

_FLAGS = (
    os.O_RDONLY
    | os.O_CLOEXEC
    | os.O_NONBLOCK  # a pipe has no writer to wait for
    | os.O_NOCTTY
    | os.O_NOFOLLOW
)
# Linux's name of what a descriptor has open.
_DESCRIPTORS = Path("/proc/self/fd")


def stamp_of(folder: Path) -> Stamp | None:
    """Tell the description of an array from the one of another that takes its place later.

    Returns
    -------
    tuple or None
        None where there is none.
    """
    for name in (METADATA, ".zarray"):
        with suppress(OSError):
            found = (folder / name).stat()
            return found.st_mtime_ns, found.st_size
    return None


def require_same(folder: Path, stamp: Stamp | None) -> None:
    """See whether an array is the one that was opened.

    Parameters
    ----------
    folder
        Of the array.
    stamp
        Of its description when it was opened; None where there was none.

    Raises
    ------
    ReadError
        It was replaced, and what was read since may be of another one.
    """
    if stamp is not None and stamp_of(folder) != stamp:
        raise ReadError(
            f"{folder}: the split was replaced or removed while it was read: make a new "
            "ZarrSequence to read what is there now"
        )


def open_file(path: Path, *, within: str) -> int:
    """Open a file to be read.

    Parameters
    ----------
    path
        Its name.
    within
        The folder that holds it at any depth, as :func:`os.path.realpath` names it.

    Returns
    -------
    int
        A descriptor, to be closed by the caller.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ReadError
        It is something else than a file, lies elsewhere, or may not be opened.
    """
    try:
        descriptor = with_room(lambda: os.open(path, _FLAGS), path, ReadError)
    except (FileNotFoundError, ReadError):
        raise
    except OSError as error:
        raise ReadError(_refusal(path, error)) from error
    except ValueError as error:  # a name with a zero in it
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
    """Refuse a file that a link among its folders has led to."""
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
    """Read a whole file.

    Parameters
    ----------
    path, within
        As for :func:`open_file`.
    limit
        Bytes that it may have.

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
