"""Open a remote split through its mirror."""

from __future__ import annotations

import json
import logging
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from zarrfeed.errors import StoreError, look_up
from zarrfeed.store.local_split import open_local_split
from zarrfeed.store.mirror.file_table import FileTable
from zarrfeed.store.mirror.origin import Origin, naming_address
from zarrfeed.store.objects.absent import stores_near, what_is_there
from zarrfeed.store.objects.object_store import open_store
from zarrfeed.store.reader import read_samples
from zarrfeed.store.schema import METADATA, PARTIAL, SHARD_FILES

if TYPE_CHECKING:
    from pathlib import Path

    from zarrfeed.store.mirror.origin import Remote
    from zarrfeed.store.objects.object_store import ObjectStore
    from zarrfeed.store.split import Split

_LOG = logging.getLogger(__name__)


def open_mirrored(folder: Path, url: str, remote: Remote) -> Split:
    """Open a remote split whose metadata is in the cache.

    Parameters
    ----------
    folder
        What :func:`open_mirror` returned.
    url
        Address of the split, as :func:`zarrfeed.store.address.remote_url` returns it.
    remote
        How it is read.

    Returns
    -------
    Split
        Its `path` is the mirror's folder.

    Raises
    ------
    StoreError
        There is no such split, or it is damaged.
    """
    with naming_address(folder, url):
        split = open_local_split(folder, mirror=True)
        split = replace(split, origin=Origin(url, remote, None))
        return replace(split, origin=Origin(url, remote, files_by_block(split)))


def open_mirror(url: str, remote: Remote) -> Path:
    """Fetch the metadata of a remote split, unless it is in the cache.

    Returns
    -------
    Path
        The folder of the split in its mirror.

    Raises
    ------
    StoreError, ReadError
        There is no such split, it cannot be read, or the cache cannot be used.
    """
    from zarrfeed.store.mirror.connection import Connection

    with closing(Connection(remote.cache, timeout=remote.timeout)) as connection:
        folder = connection.open(url, remote.storage_options, remote.cache_limit)
    _LOG.info("%s is mirrored in %s", url, folder)
    return folder


def files_by_block(split: Split) -> FileTable | None:
    """Return the files of a mirrored split that arrive block by block.

    Parameters
    ----------
    split
        The split, of which ``shard_files`` is here or has an `origin`.

    Returns
    -------
    FileTable or None
        None if zarrfeed did not pack the split, or a version that did not record its files.

    Raises
    ------
    StoreError
        ``shard_files`` does not fit the fields.
    """
    described, names = split.describing(SHARD_FILES), split.attributes.get("fields")
    if described is None or not names:
        return None
    where = f"{split.address}/{SHARD_FILES}"
    try:
        files = FileTable.of_shard_files(
            names, read_samples(split, SHARD_FILES, range(described.shape[0]))
        )
    except StoreError:
        raise
    except ValueError as error:
        raise StoreError(f"{where}: {error}: convert again{look_up('damaged-store')}") from error
    layouts = split.select(names)
    if any(layout.indirect is not None or layout.index is None for layout in layouts.values()):
        return None  # another program has changed the arrays
    counts = {name: layout.shards for name, layout in layouts.items()}
    if set(counts.values()) != {files.shards}:
        raise StoreError(
            f"{where}: needed the sizes of all shards ({counts}), found those of {files.shards}: "
            f"convert again{look_up('damaged-store')}"
        )
    return files


def list_remote_splits(url: str, remote: Remote) -> tuple[str, ...]:
    """Return the names of the finished splits of a remote dataset, sorted.

    Raises
    ------
    StoreError
        There is no Zarr group, or its splits cannot be listed.
    """
    store = open_store(url, remote.storage_options)
    try:
        if not _is_group(store, METADATA):
            raise StoreError(f"{url}: needed a dataset, found an array{look_up('no-split')}")
        names = [name for name in store.folders() if not name.endswith(PARTIAL)]
        return tuple(sorted(name for name in names if _is_group(store, f"{name}/{METADATA}")))
    except FileNotFoundError as error:
        raise StoreError(
            f"{url}: {what_is_there(stores_near(url, remote.storage_options))}"
        ) from error


def _is_group(store: ObjectStore, key: str) -> bool:
    try:
        found = json.loads(bytes(store.read(key).data))
    except FileNotFoundError:
        if key == METADATA:
            raise
        return False
    except ValueError as error:
        raise StoreError(f"{store.url}/{key} is damaged: {error!s:.200}") from error
    return isinstance(found, dict) and found.get("node_type") == "group"
