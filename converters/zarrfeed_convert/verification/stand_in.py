"""How is a split in an object store verified? Its shards are brought one by one, and given back.

A temporary folder stands in for the dataset: with metadata and the arrays that describe samples,
and an empty file for every shard that the store lists. A task brings the files of its shard, checks
them as any others, and empties them again.
"""

from __future__ import annotations

import dataclasses
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import StoreError, look_up
from zarrfeed.store.node_metadata import read_metadata
from zarrfeed.store.objects.object_transfers import open_transfers
from zarrfeed.store.schema import ATTRIBUTES, DESCRIPTIVE, METADATA
from zarrfeed_convert.copying.originals import require_name
from zarrfeed_convert.verification.shard_check import CheckTask, ShardFindings, check_shard

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from zarrfeed.store.objects.object_transfers import ObjectTransfers
    from zarrfeed.store.objects.stored_object import StoredObject
    from zarrfeed_convert.executors.executor import TaskRun
    from zarrfeed_convert.verification.findings import Verification


@dataclass(frozen=True, slots=True)
class StandIn:
    """A temporary folder in the place of a dataset, or of one of its splits.

    Attributes
    ----------
    root, url
        The folder of the dataset, and its address.
    path
        What is verified: the dataset, or a split.
    storage_options
        Options of the object store, which may be secrets.
    """

    root: Path
    url: str
    path: Path
    storage_options: Mapping[str, Any] = field(repr=False)

    def said(self, text: str) -> str:
        """Return a message with the address in the place of the folder."""
        return text.replace(str(self.root), self.url)

    def named(self, found: Verification) -> Verification:
        """Return what was found, with addresses in the place of paths."""
        splits = [
            replace(
                split,
                path=self.said(str(split.path)),
                notes=tuple(map(self.said, split.notes)),
                problems=tuple(
                    dataclasses.replace(
                        each, what=self.said(each.what), files=tuple(map(self.said, each.files))
                    )
                    for each in split.problems
                ),
            )
            for split in found.splits
        ]
        return replace(found, splits=tuple(splits), notes=tuple(map(self.said, found.notes)))


@dataclass(frozen=True, slots=True)
class RemoteCheck:
    """A shard to bring and to check."""

    stand_in: StandIn
    check: CheckTask


def check_remote_shard(run: TaskRun[None], task: RemoteCheck) -> ShardFindings:
    """Bring a shard in every field, compare it as :func:`check_shard`, and give it back."""
    stand_in = task.stand_in
    store = open_transfers(stand_in.url, stand_in.storage_options)
    paths = [known.path for known in task.check.files]
    try:
        for path in paths:
            if path.exists():  # the store has listed it
                with path.open("wb") as file:
                    file.writelines(store.pieces(path.relative_to(stand_in.root).as_posix()))
        return check_shard(run, task.check)
    finally:
        for path in paths:
            if path.exists():
                path.write_bytes(b"")


@contextmanager
def stood_in(url: str, storage_options: Mapping[str, Any] | None) -> Iterator[StandIn]:
    """Make a folder that stands in for a dataset, or one of its splits, in an object store.

    Raises
    ------
    StoreError
        There is no such dataset or split, or it is on a web server, which does not list files.
    ReadError
        The store refuses, or cannot be reached. In the context, errors name addresses.
    """
    options = storage_options or {}
    if url.startswith(("http:", "https:")):
        raise StoreError(
            f"{url}: needed a folder or an object store, which lists its files, found a web "
            f"server; copy the split (`zarrfeed copy {url} FOLDER.zarr`), and verify the copy"
            f"{look_up('remote-store')}"
        )
    with tempfile.TemporaryDirectory(prefix="zarrfeed-verify-") as folder:
        above, _, name = url.rpartition("/")
        store = open_transfers(url, options, threading.Event())
        is_split = "fields" in _attributes(_brought(store, METADATA, Path(folder, "look")))
        split = name if is_split else ""
        if is_split:
            url, store = above, open_transfers(above, options, threading.Event())
        root = Path(folder, url.rpartition("/")[2] or "bucket")
        _draw(store, root, split)
        stand_in = StandIn(root, url, root / split, options)
        try:
            yield stand_in
        except StoreError as error:
            raise StoreError(stand_in.said(str(error))) from error


def _draw(store: ObjectTransfers, root: Path, split: str) -> None:
    """Bring all but the shards of fields, for which there are empty files."""
    listed: dict[str, StoredObject] = {each.key: each for each in store.list(split)}
    if split and store.tagged(METADATA) is not None:
        _brought(store, METADATA, root)
    for key in listed:
        require_name(store.url, key)
        name, _, rest = key.removeprefix(f"{split}/" if split else "").partition("/")
        array = name if split else rest.partition("/")[0]
        if key.rpartition("/")[2] == METADATA or array in DESCRIPTIVE:
            _brought(store, key, root)
        else:
            path = root / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()


def _brought(store: ObjectTransfers, key: str, root: Path) -> Path:
    path = root / key
    try:
        content = bytes(store.read(key).data)
    except FileNotFoundError as error:
        raise StoreError(
            f"{store.url}/{key}: needed a dataset or a split, found no such object; check the "
            f"address{look_up('no-split')}"
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path.parent


def _attributes(folder: Path) -> Mapping[str, Any]:
    attributes = (read_metadata(folder) or {}).get("attributes")
    found = attributes.get(ATTRIBUTES) if isinstance(attributes, dict) else None
    return found if isinstance(found, dict) else {}
