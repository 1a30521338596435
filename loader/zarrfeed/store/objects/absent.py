"""What is there instead, if there is no store at an address?"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from zarrfeed.errors import look_up
from zarrfeed.spelling import did_you_mean, few, nearest
from zarrfeed.store.objects.errors import ObjectError
from zarrfeed.store.objects.object_store import open_store
from zarrfeed.store.schema import METADATA, PARTIAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from zarrfeed.store.objects.object_store import ObjectStore

_LIKE = 0.7  # of the names of stores, as for those on the disk


def stores_near(url: str, storage_options: Mapping[str, Any]) -> tuple[ObjectStore, ...]:
    """Return an address and the two above it, as far as they are in its bucket.

    Nothing is asked of the server yet.
    """
    stores: list[ObjectStore] = []
    while url.partition("://")[2] and len(stores) < 3:
        stores.append(open_store(url, storage_options))
        url = url.rpartition("/")[0]
    return tuple(stores)


def what_is_there(near: Sequence[ObjectStore]) -> str:
    """Say that there is no store at an address, and name what is near it.

    Parameters
    ----------
    near
        What :func:`stores_near` returned.

    Returns
    -------
    str
        What an error says after the address. Servers that do not list are no second error.
    """
    return f"{_nearby(*near)}{look_up('no-split')}"


def _nearby(
    at: ObjectStore, above: ObjectStore | None = None, top: ObjectStore | None = None
) -> str:
    below, names = _entries(at)
    if below or names:
        return f"needed a dataset or a split, found a folder of {few([*below, *names], shown=5)}"
    near, name = None, at.url.rpartition("/")[2]
    folders, names = _entries(above)
    if above is not None and METADATA in names:
        splits = [folder for folder in folders if not folder.endswith(PARTIAL)]
        hint = did_you_mean(name, splits)
        has = few(splits) if splits else "no split"
        return f"no such split; {above.url} has {has}{hint and f': {hint}'}"
    if above is not None:
        near = _nearest(above, name, folders)
    if near is None and above is not None and top is not None and not folders:
        near = _nearest(top, above.url.rpartition("/")[2], _entries(top)[0], f"/{name}")
    return f"no such store; {f'did you mean {near}?' if near else 'check the address'}"


def _nearest(above: ObjectStore, name: str, folders: Iterable[str], split: str = "") -> str | None:
    # By their stems, because the extension alone makes all names alike.
    stems = {folder.removesuffix(".zarr"): folder for folder in folders}
    found = nearest(name.removesuffix(".zarr"), stems, likeness=_LIKE)
    return found and f"{above.url}/{stems[found]}{split}"


def _entries(store: ObjectStore | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if store is not None and not store.url.startswith("http"):
        with suppress(ObjectError):
            return store.entries()
    return (), ()
