"""How do originals in an object store become local files that a conversion can read?

They are brought into the cache once, with the folders that they have in the store::

    CACHE/originals/images-3f8a…/        objects below s3://bucket/cells/images
    CACHE/originals/images-3f8a….jsonl   key, size and tag of each object that has arrived

A later call lists the objects again: it brings those that are new or have another tag, and removes
the files of those that are gone.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import logging
import os
import re
import shutil
import threading
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import SourceError, look_up
from zarrfeed.spelling import named, plural
from zarrfeed.store.address import local_path, remote_url
from zarrfeed.store.mirror.origin import default_cache
from zarrfeed.store.objects.object_transfers import open_transfers
from zarrfeed_convert.arguments import require_whole
from zarrfeed_convert.atomic_files import remove
from zarrfeed_convert.copying.dataset_copy import CONCURRENCY
from zarrfeed_convert.copying.original_addresses import note_address
from zarrfeed_convert.copying.traffic import Traffic
from zarrfeed_convert.locks import locked
from zarrfeed_convert.planning.layout import text_of_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from zarrfeed.store.objects.object_transfers import ObjectTransfers
    from zarrfeed.store.objects.stored_object import StoredObject
    from zarrfeed_convert.planning.planner import OnProgress

_LOG = logging.getLogger(__name__)
_GLOB = re.compile(r"[*?\[{]")
_INSIDE = re.compile(r"(.*\.[A-Za-z0-9]+):(/?[^/].*)", re.DOTALL)  # f.h5:/images


@named
def fetch_originals(
    place: str | os.PathLike[str],
    *,
    cache: str | os.PathLike[str] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    concurrency: int = CONCURRENCY,
    progress: OnProgress | None = None,
) -> str:
    """Bring images, masks or other originals from an object store into the cache.

    Parameters
    ----------
    place
        Address of a folder, which is searched recursively, or of a file; it may have a glob, such
        as ``s3://bucket/images/**/*.png``, or name an array in a file, such as
        ``s3://bucket/cells.h5:/images``. Of a web server, a file. A path is returned as it is.
    cache
        Folder of the cache; None for ``$ZARRFEED_CACHE``, or ``~/.cache/zarrfeed``.
    storage_options, concurrency
        See :func:`zarrfeed_convert.copy`.
    progress
        Called with the current step, the MiB that are done, and all MiB.

    Returns
    -------
    str
        The path or glob of the files in the cache. They stay there until you remove them; a later
        call brings only what has changed.

    Raises
    ------
    SourceError
        There is nothing at this address, the disk is too small, or a name cannot be that of a file.
    ReadError
        The store refuses, or cannot be reached.

    Examples
    --------
    >>> from zarrfeed_convert import PairedFolders, convert, fetch_originals
    >>> images = fetch_originals("s3://bucket/cells/images")  # doctest: +SKIP
    >>> masks = fetch_originals("s3://bucket/cells/masks")  # doctest: +SKIP
    >>> convert(PairedFolders(images, masks), "cells.zarr", split="train")  # doctest: +SKIP
    """
    url = remote_url(place)
    if url is None:
        return os.fsdecode(place)
    require_whole("concurrency", concurrency, least=1)
    stop = threading.Event()
    base, pattern = _parted(url)
    folder = local_path(default_cache() if cache is None else cache).absolute() / "originals"
    inside = ""
    store = open_transfers(base, storage_options, stop)
    name, objects = "", _listed(store, pattern)
    if not objects and not pattern:
        within = _INSIDE.fullmatch(base)
        for file, place in ((base, ""), *([(within[1], f":{within[2]}")] if within else [])):
            above, _, name = file.rpartition("/")
            store = open_transfers(above, storage_options, stop)
            known = store.tagged(name)
            if known is not None:
                base, inside, objects = file, place, [known]
                break
    if not objects:
        raise SourceError(
            f"{url}: needed the address of a folder or a file, found nothing there; check it"
            f"{look_up('no-files')}"
        )
    target = folder / _slug(base)
    target.mkdir(parents=True, exist_ok=True)
    note_address(target, base)
    _Bringing(store, target, url, concurrency, progress, stop).bring(objects)
    parts = [str(target), *([name] if name else []), *([pattern] if pattern else [])]
    return "/".join(parts) + inside


def _parted(url: str) -> tuple[str, str]:
    """Part an address into a folder, and a glob below it.

    Examples
    --------
    >>> _parted("s3://bucket/a/**/*.png"), _parted("s3://bucket/a")
    (('s3://bucket/a', '**/*.png'), ('s3://bucket/a', ''))
    """
    scheme, rest = url.split("://", 1)
    parts = rest.split("/")
    fixed = next((at for at, part in enumerate(parts) if _GLOB.search(part)), len(parts))
    return f"{scheme}://{'/'.join(parts[:fixed])}", "/".join(parts[fixed:])


def _listed(store: ObjectTransfers, pattern: str) -> list[StoredObject]:
    """List the objects of a folder whose names fit the last part of a glob."""
    if store.url.startswith(("http:", "https:")) and not pattern:
        return []
    last = pattern.rpartition("/")[2] or "*"
    if "{" in last:
        last = "*"
    objects = [each for each in store.list() if not each.key.endswith("/")]
    folders = {each.key.rpartition("/")[0] for each in objects}
    return [  # empty objects stand for folders in some stores
        each
        for each in objects
        if fnmatch.fnmatchcase(each.key.rpartition("/")[2], last)
        and not (each.key in folders and not each.nbytes)
    ]


def _slug(url: str) -> str:
    """Return a name for the files of an address.

    Examples
    --------
    >>> _slug("s3://bucket/cells/images")
    'images-d152013b'
    """
    word = re.sub(r"[^A-Za-z0-9.-]+", "-", url.rpartition("/")[2])[:40]
    return f"{word}-{hashlib.blake2b(url.encode(), digest_size=4).hexdigest()}"


class _Bringing:
    """Brings objects into a folder."""

    def __init__(
        self,
        store: ObjectTransfers,
        folder: Path,
        url: str,
        concurrency: int,
        progress: OnProgress | None,
        stop: threading.Event,
    ) -> None:
        self._store, self._folder, self._url = store, folder, url
        self._concurrency, self._progress, self._stop = concurrency, progress, stop
        self._record = folder.with_name(f"{folder.name}.jsonl")
        self._lock = threading.Lock()

    def bring(self, objects: Sequence[StoredObject]) -> None:
        """Bring what is not there, and remove what is gone."""
        for each in objects:
            require_name(self._url, each.key)
        try:
            with locked(self._folder):
                self._bring(objects)
        except BlockingIOError:
            raise SourceError(
                f"{self._folder}: another run is bringing {self._url} at the moment; wait until it "
                f"has ended{look_up('another-run')}"
            ) from None

    def _bring(self, objects: Sequence[StoredObject]) -> None:
        known = self._recorded()
        left = [each for each in objects if not self._is_there(each, known.get(each.key))]
        total = sum(each.nbytes for each in objects)
        needed = sum(each.nbytes for each in left)
        free = shutil.disk_usage(self._folder).free
        if needed > free:
            raise SourceError(
                f"{self._folder}: needed {text_of_bytes(needed)} on the disk for {self._url}, "
                f"found {text_of_bytes(free)} free; use --cache DIR on another disk"
                f"{look_up('disk-space')}"
            )
        _LOG.info(
            "fetching %s of %s (%s) of %s into %s",
            text_of_bytes(needed), text_of_bytes(total), plural(len(objects), "file"),
            self._url, self._folder,
        )  # fmt: skip
        self._remove_others({each.key for each in objects})
        if not left:
            return
        traffic = Traffic("fetching", total, total - needed, self._progress, self._stop)
        with self._record.open("ab") as record, closing(record):

            def fetch(each: StoredObject) -> None:
                self._fetch(each, traffic)
                line = json.dumps([each.key, each.nbytes, each.etag]) + "\n"
                with self._lock:
                    record.write(line.encode())
                    record.flush()

            traffic.run(fetch, left, at_once=self._concurrency)

    def _fetch(self, each: StoredObject, traffic: Traffic) -> None:
        path = self._folder / each.key
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part~")
        with part.open("wb") as out:
            for piece in traffic.counted(self._store.pieces(each.key, etag=each.etag)):
                out.write(piece)
            nbytes = out.tell()
        if nbytes != each.nbytes:
            part.unlink()
            raise SourceError(
                f"{self._store.url}/{each.key}: needed {each.nbytes} bytes, as it was listed, "
                f"found {nbytes}: it was replaced meanwhile; repeat the command"
                f"{look_up('replaced-split')}"
            )
        part.replace(path)

    def _is_there(self, each: StoredObject, recorded: object) -> bool:
        try:
            nbytes = (self._folder / each.key).lstat().st_size
        except OSError:
            return False
        return bool(each.etag) and recorded == [each.nbytes, each.etag] and nbytes == each.nbytes

    def _recorded(self) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        with suppress(OSError):
            for line in self._record.read_text("utf-8").splitlines():
                with suppress(ValueError, TypeError):  # the last line of a killed run
                    key, nbytes, etag = json.loads(line)
                    found[key] = [nbytes, etag]
        return found

    def _remove_others(self, keys: Iterable[str]) -> None:
        kept = {*keys}
        for parent, _, names in os.walk(self._folder):
            for name in names:
                path = Path(parent, name)
                if path.relative_to(self._folder).as_posix() not in kept:
                    remove(path, must=True)


def require_name(url: str, key: str) -> None:
    """Refuse names of objects that leave the folder, or are not those of files.

    Raises
    ------
    SourceError
        The name is one of these.
    """
    parts = key.split("/")
    if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
        raise SourceError(
            f"{url}: needed objects whose names can be those of files, found {key!r:.200}; rename "
            f"it, or copy the files by hand{look_up('no-files')}"
        )
