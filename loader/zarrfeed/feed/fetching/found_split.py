"""What does the metadata of a remote split say, and how are they found?

The names of what a packed split has are in its ``zarr.json``: nothing is listed. Other stores are
listed, unless their metadata is consolidated.
"""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from zarrfeed.errors import StoreError, look_up
from zarrfeed.store.objects.absent import what_is_there
from zarrfeed.store.objects.errors import ObjectError
from zarrfeed.store.schema import ATTRIBUTES, DESCRIPTIVE, METADATA

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from zarrfeed.store.objects.object_store import ObjectStore
    from zarrfeed.store.objects.stored_object import StoredObject

METADATA_NAMES = frozenset([METADATA, ".zgroup", ".zarray", ".zattrs", ".zmetadata"])
_MOST_NBYTES = 1 << 30  # of all metadata together
_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class FoundSplit:
    """What is known about a remote split when its metadata has been read.

    Attributes
    ----------
    url
        Its address.
    contents
        Metadata by key, and what ``shard_files`` has.
    dataset
        Metadata of the dataset; None if it has none.
    listing
        All objects of a split that was listed; None if it was not.
    """

    url: str
    contents: dict[str, bytes]
    dataset: bytes | None
    listing: tuple[StoredObject, ...] | None

    @property
    def name(self) -> str:
        """Name of the split."""
        return self.url.rpartition("/")[2]

    @property
    def folder_name(self) -> str:
        """Name of the mirror's folder: another one when the split is replaced."""
        digest = blake2b(self.url.encode(), digest_size=8)
        for key, content in sorted(self.contents.items()):
            digest.update(f"\n{key} {len(content)}\n".encode() + content)
        digest.update(b"\n" + (self.dataset or b""))
        for each in sorted(self.listing or (), key=lambda one: one.key):
            digest.update(f"\n{each.key} {each.nbytes} {each.etag}".encode())
        words = re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(self.url.split("/")[-2:]))
        return f"{words.strip('.-')[-40:] or 'split'}-{digest.hexdigest()}"


async def find_split(url: str, near: Sequence[ObjectStore]) -> FoundSplit:
    """Read the metadata of a remote split.

    Parameters
    ----------
    url
        Its address.
    near
        The objects at the address and above it, as
        :func:`~zarrfeed.store.objects.absent.stores_near` returns them.

    Raises
    ------
    StoreError
        There is no such split.
    ObjectError
        It cannot be read.
    """
    store, above = near[0], near[1] if len(near) > 1 else None
    dataset, root = await asyncio.gather(
        _optional(above, METADATA, refused=True), _optional(store, METADATA)
    )
    if root is None and url.startswith("http"):
        raise StoreError(f"{url}/{METADATA}: there is no such file{look_up('no-split')}")
    if url.startswith("http") and _is_dataset(root):
        raise StoreError(
            f"{url}: needed the address of one split, since a web server does not list what it "
            f"has; add its name, like {url}/train{look_up('no-split')}"
        )
    contents = {} if root is None else {METADATA: root}
    listing = None
    names, packed = _names_of(root, url)
    if names is None:
        if root is None and not METADATA_NAMES & {*(await asyncio.to_thread(store.entries))[1]}:
            raise StoreError(f"{url}: {await asyncio.to_thread(what_is_there, near)}")
        listing = await asyncio.to_thread(lambda: tuple(store.list()))
        keys = [one.key for one in listing if one.key.rpartition("/")[2] in METADATA_NAMES]
        contents |= await read_all(store, keys)
    else:
        keys = [f"{name}/{METADATA}" for name in names]
        optional = {f"{name}/{METADATA}" for name in DESCRIPTIVE} if packed else set()
        contents |= await read_all(store, keys, optional)
    return FoundSplit(url, contents, dataset, listing)


def _is_dataset(root: bytes | None) -> bool:
    with suppress(ValueError, KeyError, TypeError, RecursionError):
        return "classes" in json.loads(root or b"")["attributes"][ATTRIBUTES]
    return False


def _names_of(root: bytes | None, url: str) -> tuple[list[str] | None, bool]:
    """Return which arrays a group says that it has, and whether zarrfeed packed it."""
    try:
        metadata = json.loads(root or b"{}")
        own = (metadata.get("attributes") or {}).get(ATTRIBUTES) or {}
        consolidated = (metadata.get("consolidated_metadata") or {}).get("metadata")
        packed = "fields" in own
        found = [*own["fields"], *DESCRIPTIVE] if packed else consolidated and list(consolidated)
        names = None if not found else list(dict.fromkeys(map(str, found)))
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise StoreError(
            f"{url}/{METADATA}: needed the JSON of a Zarr group, found {root!r:.60} "
            f"({error!s:.99}): check the address, or copy the split again{look_up('damaged-store')}"
        ) from error
    for name in names or ():
        if not is_plain(name):
            raise StoreError(f"{url}/{METADATA}: needed names of arrays, found {name!r:.99}")
    return names, packed


def is_plain(key: str) -> bool:
    """Return whether a key is a path that stays below the folder it is appended to.

    Examples
    --------
    >>> is_plain("image/c/0/0"), is_plain("../image"), is_plain("/image")
    (True, False, False)
    """
    return "\\" not in key and "\0" not in key and not {"", ".", ".."} & {*key.split("/")}


async def _optional(store: ObjectStore | None, key: str, *, refused: bool = False) -> bytes | None:
    """Read an object that may be missing.

    S3 refuses a missing one to those who may not list: `refused` says whether that is expected.
    """
    try:
        return None if store is None else bytes(memoryview((await store.read_async(key)).data))
    except ObjectError as error:
        if error.kind == "missing" or (refused and error.kind == "refused"):
            return None
        raise


async def read_all(
    store: ObjectStore, keys: Iterable[str], optional: Iterable[str] = ()
) -> dict[str, bytes]:
    """Read small objects, many at once."""
    lanes, optional = asyncio.Semaphore(_AT_ONCE), set(optional)

    async def read(key: str) -> tuple[str, bytes | None]:
        async with lanes:
            if key in optional:
                return key, await _optional(store, key, refused=True)
            return key, bytes(memoryview((await store.read_async(key)).data))

    found = dict(await asyncio.gather(*(read(key) for key in keys)))
    contents = {key: content for key, content in found.items() if content is not None}
    if sum(map(len, contents.values())) > _MOST_NBYTES:
        raise StoreError(f"{store.url}: needed metadata of at most 1 GiB, found more")
    return contents
