"""Is this a path on this machine, and what kind of entry is there?"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from zarrfeed.errors import StoreError, look_up

# One slash is enough, because pathlib turns two into one. A scheme has two letters or more (one is
# a drive of Windows) and no dot (f.h5:/images is an array in a file).
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+:-]+):/+")
# What obstore reads: the schemes, and those that mean the same.
_REMOTE = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "abfs",
           "abfss": "abfss", "http": "http", "https": "https"}  # fmt: skip
_KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a link",
}


def entry_kind(mode: int) -> str:
    """Name the kind of a folder's entry.

    Parameters
    ----------
    mode
        ``st_mode`` of :func:`os.stat`.

    Examples
    --------
    >>> entry_kind(0o100644)
    'a file'
    """
    return _KINDS.get(stat.S_IFMT(mode), "something else")


def remote_url(path: str | os.PathLike[str]) -> str | None:
    """Return the address of a remote store, without a slash at its end; None for a local path.

    Parameters
    ----------
    path
        An address of a scheme s3, gs, az, abfs, http or https; or a path, also one that
        :class:`~pathlib.Path` has made of an address, which lost a slash.

    Examples
    --------
    >>> remote_url(Path("s3://bucket/ct.zarr/train"))
    's3://bucket/ct.zarr/train'
    >>> remote_url("ct.zarr/train") is None
    True
    """
    _require_path(path)
    text = os.fsdecode(path)
    found = _SCHEME.match(text)
    scheme = found and _REMOTE.get(found[1].lower())
    if found is None or scheme is None:
        return None
    rest = re.sub("/+", "/", text[found.end() :])  # as pathlib does; obstore reads no empty names
    return f"{scheme}://{rest.rstrip('/')}"


def local_path(path: str | os.PathLike[str]) -> Path:
    """Convert to a :class:`~pathlib.Path`, and refuse URLs.

    Parameters
    ----------
    path
        A path; a leading ``~`` is expanded.

    Raises
    ------
    StoreError
        `path` begins with a scheme, such as ``s3://bucket/camvid.zarr``, or it is relative and the
        current folder has been removed.

    Examples
    --------
    >>> local_path("camvid.zarr/train").name
    'train'
    >>> local_path("s3://bucket/camvid.zarr")
    Traceback (most recent call last):
    ...
    zarrfeed.errors.StoreError: s3://bucket/camvid.zarr: needed the path of a local folder, found \
an address (s3); copy it here by `zarrfeed copy`, and give its path (look up: remote-store)
    """
    _require_path(path)
    # pathlib's expanduser raises if there is no home folder.
    text = os.path.expanduser(os.fsdecode(path))  # noqa: PTH111
    found = _SCHEME.match(text)
    if found is None:
        return _reachable(Path(text))
    scheme, rest = found[1], text[found.end() :]
    todo = "copy it here by `zarrfeed copy`, and give its path"
    if scheme.lower() not in _REMOTE:
        todo = "copy it here or mount it, and give its path"
    if scheme.lower() == "file":
        todo = f"give the path alone: /{rest}"
    elif Path(f"{scheme}:").exists():
        todo += f"; the local folder of that name is ./{scheme}:/{rest}"
    raise StoreError(
        f"{scheme}://{rest}: needed the path of a local folder, found an address ({scheme}); {todo}"
        f"{look_up('remote-store')}"
    )


def local_out(out: str | os.PathLike[str], *, kind: str = "folder", option: str = "") -> Path:
    """Convert the path of what is written; an address is an error that says how to upload it.

    Parameters
    ----------
    out
        Where a dataset or a file is to be written.
    kind
        ``"folder"`` of a dataset, or ``"file"``.
    option
        Option of the command that also copies it, such as ``--upload``; "" if there is none.

    Raises
    ------
    StoreError
        It is an address.
    """
    url = remote_url(out)
    if url is None:
        return local_path(out)
    how = f"copy it afterwards (`zarrfeed copy FOLDER.zarr {url}`)"
    if kind != "folder":
        how = "copy it with a tool of the object store"
    raise StoreError(
        f"{url}: needed a local {kind} to write, found an address; write to a local {kind}, and "
        f"{option and f'add {option} {url}, or '}{how}{look_up('remote-store')}"
    )


def _require_path(path: object) -> None:
    if not isinstance(path, str | bytes | os.PathLike):
        todo = "give each store by itself; ZarrSequence alone mixes several"
        if address := getattr(path, "address", None):  # an open split
            todo = f"give its address, {address!r}"
        raise TypeError(
            f"needed the path of one store, such as 'cells.zarr/train', got {path!r:.200}: {todo}"
        )


def _reachable(path: Path) -> Path:
    if not path.is_absolute():
        try:
            Path.cwd()
        except OSError as error:
            raise StoreError(
                f"{path}: is relative to the current folder, which was removed; change to another "
                "folder, or give the whole path"
            ) from error
    return path


def absolute_path(path: str | os.PathLike[str]) -> Path:
    """Convert to an absolute path; raises as :func:`local_path`."""
    return local_path(path).absolute()
