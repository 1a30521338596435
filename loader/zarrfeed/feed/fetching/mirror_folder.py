"""How is the folder of a mirror made? All metadata at once; files of shards when they are needed.

The sizes and hashes of a packed split's shards are in ``shard_files``.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from itertools import count, product
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from zarrfeed.errors import StoreError, look_up
from zarrfeed.feed.fetching.found_split import read_all
from zarrfeed.store.files import replace_file
from zarrfeed.store.local_split import open_local_split
from zarrfeed.store.mirror.block_table import BlockTable
from zarrfeed.store.mirror.mirrored_reader import table_path
from zarrfeed.store.mirror.mirrored_split import files_by_block
from zarrfeed.store.mirror.origin import naming_address
from zarrfeed.store.objects.errors import ObjectError
from zarrfeed.store.schema import METADATA, SHARD_FILES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from zarrfeed.feed.fetching.found_split import FoundSplit
    from zarrfeed.store.mirror.file_table import FileTable
    from zarrfeed.store.objects.object_store import ObjectStore
    from zarrfeed.store.schema import ArrayLayout
    from zarrfeed.store.split import Split

ABOUT = "files.json"
_numbers = count()


async def make_folder(found: FoundSplit, store: ObjectStore, cache: Path) -> Path:
    """Make the folder of a mirror unless there is one, and return that of its split.

    Raises
    ------
    StoreError
        The split is damaged, or the cache cannot be written.
    ObjectError
        It cannot be read.
    """
    new = cache / f"new-{os.getpid()}-{next(_numbers)}.tmp"
    split = new / (found.name or "split")
    try:
        for key, content in found.contents.items():
            _write(split / key, content)
        if found.dataset is not None:
            _write(new / METADATA, found.dataset)
        with naming_address(split, found.url, mirrored=False):
            opened = open_local_split(split)
        described = opened.layouts.get(SHARD_FILES)
        if described is not None and opened.packed:
            keys = [f"{SHARD_FILES}/{name}" for name in files_of(described)]
            for key, content in (await read_all(store, keys)).items():
                found.contents[key] = content
                _write(split / key, content)
        final = cache / found.folder_name
        if final.exists():
            _restore(final / split.name, found)
        else:
            await asyncio.to_thread(_add_table, opened)
            new.replace(final)
        return final / split.name
    except OSError as error:
        if isinstance(error, ObjectError):
            raise
        raise StoreError(
            f"{cache}: the mirror of {found.url} cannot be written ({error.strerror}): free space, "
            f"or give another cache={look_up('remote-store')}"
        ) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _restore(split: Path, found: FoundSplit) -> None:
    """Write the metadata of a mirror again, as far as they are missing or damaged."""
    needed = {split / key: content for key, content in found.contents.items()}
    if found.dataset is not None:
        needed[split.parent / METADATA] = found.dataset
    for path, content in needed.items():
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, content)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _add_table(split: Split) -> None:
    """Make the table of blocks, none of which is there."""
    table_path(split.path).parent.mkdir()
    files = files_by_block(split)
    if files is not None:
        BlockTable.create(table_path(split.path), files)


def shard_paths(split: Split, files: FileTable) -> Iterator[Path]:
    """Yield the path of each file of a table."""
    for name in files.fields:
        layout = split.layouts[name]
        for shard in range(files.shards):
            yield split.path / name / layout.shard_name(shard)


def files_of(layout: ArrayLayout) -> Iterator[str]:
    """Yield the names of all files that an array may have, relative to its folder."""
    extents = [
        range(-(-extent // part))
        for extent, part in zip(layout.shape, layout.shard_shape, strict=True)
    ]
    return (layout.file_name(place) for place in product(*extents))


def journal_of(split: Path, array: str) -> Path:
    """Return the path of the file that says which files of an array were fetched."""
    return table_path(split).with_name(f"whole-{quote(array, safe='')}")


def boot_id() -> str:
    """Return what differs after each start of this machine; "" if the system does not say."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123
            return file.read().strip()
    except OSError:
        return ""


def read_about(split: Path) -> dict[str, Any]:
    """Read what a mirror says about itself; empty if it does not."""
    try:
        about = json.loads(table_path(split).with_name(ABOUT).read_bytes())
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}


def write_about(split: Path, url: str) -> None:
    """Write the address and the machine's start into a mirror, aside and renamed."""
    about = json.dumps({"url": url, "boot": boot_id()})
    replace_file(table_path(split).with_name(ABOUT), about.encode())
