"""How are the splits of a dataset copied, from and to folders and object stores?"""

from __future__ import annotations

import json
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import SourceError, StoreError, look_up
from zarrfeed.spelling import named
from zarrfeed.store.address import local_path, remote_url
from zarrfeed.store.objects.object_transfers import open_transfers
from zarrfeed.store.schema import ATTRIBUTES, METADATA
from zarrfeed_convert.arguments import require_whole
from zarrfeed_convert.copying.copied import CopyReport
from zarrfeed_convert.copying.copy_job import CopyJob, CopySettings
from zarrfeed_convert.copying.description import describe
from zarrfeed_convert.copying.folder_copy import copy_to_folder
from zarrfeed_convert.copying.metadata_shadow import shadow_of
from zarrfeed_convert.copying.store_copy import copy_to_store
from zarrfeed_convert.copying.stored_dataset import FolderDataset, ObjectDataset
from zarrfeed_convert.splits.destination import destination_of

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from zarrfeed.store.objects.object_transfers import ObjectTransfers
    from zarrfeed_convert.copying.copied import CopiedSplit
    from zarrfeed_convert.copying.stored_dataset import StoredDataset
    from zarrfeed_convert.planning.planner import OnProgress

CONCURRENCY = 8
_MOST_AT_ONCE = 256


@named
def copy(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    split: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    target_options: Mapping[str, Any] | None = None,
    concurrency: int = CONCURRENCY,
    read_back: bool = False,
    overwrite: bool = False,
    restart: bool = False,
    dry_run: bool = False,
    progress: OnProgress | None = None,
) -> CopyReport:
    """Copy a dataset, or one split of it, between folders and object stores.

    The bytes of every shard are compared with the digest that was recorded when it was packed,
    while the original is read, and when the copy has arrived. A split appears only when it is
    complete; it has the same bytes as the original.

    Parameters
    ----------
    source
        A dataset, whose splits are all copied, or one split of it: a path, or an address like
        ``s3://bucket/cells.zarr``, ``gs://…``, ``az://…``, ``https://…``. On a web server, one
        split, because it does not list what it has.
    target
        Path or address of the dataset to which the splits are copied. It is created if it does not
        exist; otherwise its classes must be the same. A web server cannot be written to.
    split
        Name of the copy, if `source` is one split; None for the same name.
    storage_options
        Options of the object stores, such as ``endpoint`` or ``region``; see
        :func:`zarrfeed.open_split`. Credentials are taken from the environment if they are not
        given here. They are written nowhere.
    target_options
        Options of the store of `target`, if both are object stores and differ.
    concurrency
        Number of files that are transferred at a time. Uploads take some 24 MiB of memory for each.
    read_back
        Whether to read every object of a remote copy again, also of one that is there already, and
        to compare its digest. Otherwise only objects of stores whose tags (ETag) are no MD5 of the
        bytes are read back after they were sent.
    overwrite
        Whether to replace another split of this name. In a folder, the old split stays until the
        new one is complete; in an object store, it cannot be opened meanwhile.
    restart
        Whether to discard what an earlier run that was stopped has copied.
    dry_run
        Whether to look at both sides, and to write nothing.
    progress
        Called with the current step, the MiB that are done, and all MiB.

    Returns
    -------
    CopyReport
        What was there, and what was transferred.

    Raises
    ------
    SourceError
        The target has another split of this name, other classes, or too little space.
    StoreError
        `source` is no dataset or split that zarrfeed packed, its files are incomplete, or obstore
        is not installed.
    ReadError
        A file of the original is damaged, an object cannot be read or written, or wrong bytes have
        arrived twice.

    Notes
    -----
    To continue a copy that was stopped, repeat the call. Whole files are not transferred again;
    local files go on at the byte reached.

    Examples
    --------
    >>> from zarrfeed_convert import copy
    >>> print(copy("cells.zarr", "s3://bucket/cells.zarr"))  # doctest: +SKIP
    Copied 14 files, 2.31 MiB to s3://bucket/cells.zarr/train in 0.4 s
    """
    require_whole("concurrency", concurrency, least=1, most=_MOST_AT_ONCE)
    stop = threading.Event()
    settings = CopySettings(overwrite, restart, dry_run, read_back, concurrency, progress, stop)
    dataset, names = _opened(source, storage_options, stop)
    if split is not None and len(names) != 1:
        raise SourceError(
            f"split: needed one split to give this name, found the dataset {dataset.name} of "
            f"{len(names)} splits; give the path of one"
        )
    options = storage_options if target_options is None else target_options
    return CopyReport(
        tuple(_copied(dataset, name, split or name, target, options, settings) for name in names)
    )


def require_target(
    target: str | os.PathLike[str],
    split: str,
    *,
    storage_options: Mapping[str, Any] | None = None,
) -> None:
    """Check that a split could be copied to an address, before it is packed for hours.

    Parameters
    ----------
    target, storage_options
        See :func:`copy`.
    split
        Name of the copy.

    Raises
    ------
    SourceError
        There is something else than a dataset, or nothing can be written there.
    StoreError, ReadError
        The address, the options or the credentials are wrong, or the store cannot be reached.
    """
    url = remote_url(target)
    if url is None:
        destination_of(local_path(target), split)
        return
    with shadow_of(_opened_target(url, storage_options, threading.Event()), split):
        pass


def _copied(
    dataset: StoredDataset,
    split: str,
    name: str,
    target: str | os.PathLike[str],
    options: Mapping[str, Any] | None,
    settings: CopySettings,
) -> CopiedSplit:
    with tempfile.TemporaryDirectory(prefix="zarrfeed-copy-") as folder:
        job = CopyJob(dataset, describe(dataset, split, Path(folder)), name, settings)
        url = remote_url(target)
        if url is None:
            return copy_to_folder(job, local_path(target))
        return copy_to_store(job, _opened_target(url, options, settings.stop))


def _opened_target(
    url: str, options: Mapping[str, Any] | None, stop: threading.Event
) -> ObjectTransfers:
    if url.startswith(("http:", "https:")):
        raise SourceError(
            f"{url}: needed a folder or an object store to copy to, found a web server; use its "
            f"address as an object store, such as s3://…{look_up('remote-store')}"
        )
    return open_transfers(url, options, stop)


def _opened(
    source: str | os.PathLike[str], options: Mapping[str, Any] | None, stop: threading.Event
) -> tuple[StoredDataset, list[str]]:
    """Open a dataset; return it, and the names of the splits that are copied."""
    url = remote_url(source)
    path = None if url is not None else local_path(source).absolute()
    at = _dataset(path, url, options, stop)
    try:
        attributes = json.loads(at.read(METADATA))["attributes"][ATTRIBUTES]
        is_split = "fields" in attributes
    except FileNotFoundError as error:
        raise StoreError(
            f"{at.name}: needed a dataset or a split that zarrfeed packed, found no {METADATA} "
            f"there; check the path{look_up('no-split')}"
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoreError(
            f"{at.name}: needed a dataset or a split that zarrfeed packed, found another Zarr "
            "group; copy it with a tool of the object store, or pack it with `zarrfeed convert "
            f"--format zarr`{look_up('no-split')}"
        ) from error
    if not is_split:
        names = at.splits()
        if not names:
            raise StoreError(f"{at.name}: has no finished split{look_up('no-split')}")
        return at, names
    above, _, name = at.name.rstrip("/").rpartition("/")
    return _dataset(None if path is None else path.parent, above, options, stop), [name]


def _dataset(
    path: Path | None,
    url: str | None,
    options: Mapping[str, Any] | None,
    stop: threading.Event,
) -> StoredDataset:
    if path is not None:
        return FolderDataset(path)
    return ObjectDataset(open_transfers(url or "", options, stop))
