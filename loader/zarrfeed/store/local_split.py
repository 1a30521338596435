"""What is in the folder of a split, and of a dataset?

Opening reads a few ``zarr.json`` files and nothing else: it reads no shard and does not import
zarr-python, so that a store of any size opens in milliseconds.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from zarrfeed.errors import StoreError, look_up
from zarrfeed.spelling import did_you_mean, nearest
from zarrfeed.store.array_metadata import UnfitError, parse_array
from zarrfeed.store.attributes import read_attributes
from zarrfeed.store.files import stamp_of
from zarrfeed.store.json_checks import Damage, require_node
from zarrfeed.store.node_metadata import read_metadata
from zarrfeed.store.schema import (
    IMAGE,
    JSON,
    MASK,
    METADATA,
    MIRROR,
    PARTIAL,
    PREDICTED,
    ArrayLayout,
)
from zarrfeed.store.split import Split

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LIKE = 0.7  # of the names of stores: "sett" is like "set", "nope" not like "pred"
_KNOWN = frozenset(["zarr_format", "node_type", "attributes", "consolidated_metadata"])


def open_local_split(folder: Path, *, mirror: bool = False) -> Split:
    """Open a split in a local folder.

    Parameters
    ----------
    folder
        An absolute path.
    mirror
        Whether the folder may mirror a remote split, so that its files may have holes.

    Raises
    ------
    StoreError
        It is not a finished Zarr group of arrays; the message says what was found.
    """
    if not mirror and folder.with_name(f"{folder.name}{MIRROR}").is_dir():
        raise StoreError(
            f"{folder}: mirrors a remote split, of which parts may be missing: open the address of "
            f"the split{look_up('remote-store')}"
        )
    with only_store_errors(folder):
        return _open(folder)


def _open(folder: Path) -> Split:
    if folder.name.endswith(PARTIAL):
        raise StoreError(
            f"{folder}: needed a finished split, found an unfinished conversion; run `zarrfeed "
            "convert` again to finish it"
            f"{look_up('unfinished-split')}"
        )
    metadata = _group(folder)
    # Taken before the metadata is read, so that a replacement after that has another stamp.
    stamps = {child.name: stamp_of(child) for child in folder.iterdir()}
    layouts: dict[str, ArrayLayout] = {}
    unfit: dict[str, str] = {}
    splits = []
    for child, found in _children(folder):
        if found.get("node_type") == "group":
            splits.append(child.name)
            continue
        try:
            layouts[child.name] = parse_array(found, name=str(child))
        except UnfitError as error:
            unfit[child.name] = str(error)
    if not layouts:
        hint = f"name one of its splits, such as {folder / splits[0]}" if splits else "it is empty"
        none = f"{folder}: needed a group of arrays, found none: {hint}{look_up('no-split')}"
        raise StoreError(next(iter(unfit.values()), none))
    for name in {IMAGE, MASK} & set(splits):
        unfit[name] = f"{folder / name}: needed an array, found a group"
    attributes = read_attributes(metadata, str(folder))
    dataset: JSON = {}
    if attributes:
        dataset = read_attributes(read_metadata(folder.parent) or {}, str(folder.parent))
    return Split(folder, layouts, attributes, dataset, unfit, stamps)


def list_local_splits(folder: Path) -> tuple[str, ...]:
    """Return the names of the finished splits in a local folder, sorted.

    Parameters
    ----------
    folder
        An absolute path.

    Raises
    ------
    StoreError
        It is not a Zarr group.
    """
    with only_store_errors(folder):
        _group(folder)
        return tuple(
            sorted(
                child.name
                for child, found in _children(folder)
                if found.get("node_type") == "group" and not child.name.endswith(PARTIAL)
            )
        )


@contextmanager
def only_store_errors(folder: Path) -> Iterator[None]:
    """Turn every error into a ``StoreError``, because the folder's contents are untrusted."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"{folder}: cannot be opened: {error!s:.500}") from error
    except (
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
        ArithmeticError,
        RuntimeError,
        MemoryError,
    ) as error:
        raise StoreError(
            f"{folder}: its metadata is damaged: {error!r:.300}{look_up('damaged-store')}"
        ) from error


def _group(folder: Path) -> JSON:
    metadata = read_metadata(folder)
    if metadata is None:
        raise StoreError(f"{folder}: {_what_is_there(folder)}")
    try:
        require_node(metadata, "group", _KNOWN)
    except Damage as error:
        raise StoreError(f"{folder}: {error}") from error
    return metadata


def _what_is_there(folder: Path) -> str:
    """Describe why there is no group, and suggest what to do."""
    unfinished = folder.with_name(folder.name + PARTIAL)
    if unfinished.exists():
        run, command = _unfinished_run(unfinished)
        todo = look_up("unfinished-split")
        return f"its {run} is not finished: repeat the same {command} to continue it{todo}"
    for child in folder.iterdir() if folder.is_dir() else ():
        if child.name.endswith(PARTIAL):
            command = _unfinished_run(child)[1]
            todo = look_up("unfinished-split")
            return f"no split is finished yet: repeat the same {command} to continue{todo}"
    if folder.exists():
        todo = f"`zarrfeed convert` packs folders{look_up('no-split')}"
        return f"needed a Zarr group, found no {METADATA}; {todo}"
    parent = read_metadata(folder.parent) or {}
    if parent.get("node_type") == "group":
        splits = list_local_splits(folder.parent)
        hint = did_you_mean(folder.name, splits)
        has = ", ".join(splits) or "no split"
        return (
            f"no such split; {folder.parent} has {has}{hint and f': {hint}'}{look_up('no-split')}"
        )
    near = _nearest_store(folder) or _nearest_store(folder.parent, folder.name)
    hint = f"did you mean {near}?" if near else "`zarrfeed convert` packs one"
    return f"no such store; {hint}{look_up('no-split')}"


def _unfinished_run(folder: Path) -> tuple[str, str]:
    """Return what writes an unfinished split, and the commands that may."""
    if PREDICTED in read_attributes(read_metadata(folder) or {}, str(folder)):
        return "prediction", "`zarrfeed predict`"
    return "run", "`zarrfeed convert`, `repack` or `copy`"


def _nearest_store(folder: Path, split: str = "") -> Path | None:
    """Find a folder with a similar name beside a missing one."""
    if folder.exists() or not folder.parent.is_dir():
        return None
    # By their stems, because the extension alone makes all names alike; of one stem, the .zarr.
    there = sorted(
        (child for child in folder.parent.iterdir() if child.is_dir()),
        key=lambda child: child.suffix == ".zarr",
    )
    stores = {child.stem: child for child in there}
    near = nearest(folder.stem, stores, likeness=_LIKE)
    if near is None:
        return None
    store = stores[near]
    return store / split if (store / split).is_dir() else store


def _children(folder: Path) -> list[tuple[Path, JSON]]:
    folders = [child for child in sorted(folder.iterdir()) if child.is_dir()]
    found = ((child, read_metadata(child)) for child in folders)
    return [(child, metadata) for child, metadata in found if metadata is not None]
