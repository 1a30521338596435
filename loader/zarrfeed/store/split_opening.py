"""Open a split or a dataset by its path or its address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed.store.address import absolute_path, remote_url
from zarrfeed.store.local_split import list_local_splits, open_local_split
from zarrfeed.store.located import Located, locate
from zarrfeed.store.mirror.mirrored_split import list_remote_splits, open_mirrored
from zarrfeed.store.mirror.origin import Remote

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from zarrfeed.store.mirror.origin import StorageOptions
    from zarrfeed.store.split import Split


def open_split(
    path: str | os.PathLike[str],
    *,
    cache: str | os.PathLike[str] | None = None,
    cache_limit: int | str | None = None,
    storage_options: StorageOptions | None = None,
) -> Split:
    """Open one split of a dataset, or any Zarr group of arrays aligned on axis 0.

    Parameters
    ----------
    path
        A folder, such as ``camvid.zarr/train``, or an address, such as
        ``s3://bucket/camvid.zarr/train``.
    cache, cache_limit, storage_options
        How an address is read; see :class:`zarrfeed.ZarrSequence`.

    Raises
    ------
    StoreError
        `path` is not a finished Zarr group of arrays; the message says what was found.
    """
    return open_split_at(path, Remote.of(cache, cache_limit, storage_options))


def open_split_at(path: str | os.PathLike[str], remote: Remote) -> Split:
    """Open a split; as :func:`open_split`."""
    return open_located(locate(path, remote))


def open_located(located: Located) -> Split:
    """Open a split; as :func:`open_split`."""
    folder, url = located.folder, located.url
    return open_local_split(folder) if url is None else open_mirrored(folder, url, located.remote)


def join_path(path: str | os.PathLike[str], name: str) -> str | Path:
    """Return the path or address of a split of a dataset.

    Examples
    --------
    >>> join_path("s3://bucket/ct.zarr/", "train")
    's3://bucket/ct.zarr/train'
    """
    url = remote_url(path)
    return absolute_path(path) / name if url is None else f"{url}/{name}"


def list_splits(
    path: str | os.PathLike[str], *, storage_options: StorageOptions | None = None
) -> tuple[str, ...]:
    """Return the names of a dataset's finished splits, sorted; a split itself has none.

    Parameters
    ----------
    path
        A folder, such as ``camvid.zarr``, or an address. A web server cannot list them.
    storage_options
        How an address is read; see :class:`zarrfeed.ZarrSequence`.

    Raises
    ------
    StoreError
        `path` is not a Zarr group.
    """
    return list_splits_at(path, Remote.of(storage_options=storage_options))


def list_splits_at(path: str | os.PathLike[str], remote: Remote) -> tuple[str, ...]:
    """Return the names of splits; as :func:`list_splits`."""
    url = remote_url(path)
    return (
        list_local_splits(absolute_path(path)) if url is None else list_remote_splits(url, remote)
    )


def splits_below(path: str | os.PathLike[str], remote: Remote) -> tuple[str, ...]:
    """Return the names of the splits of a dataset; none of a split, or where none can be listed."""
    url = remote_url(path)
    if url is None:
        folder = absolute_path(path)
        return list_local_splits(folder) if folder.is_dir() else ()
    return () if url.startswith("http") else list_remote_splits(url, remote)
