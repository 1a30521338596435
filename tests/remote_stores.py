"""Stores of several blocks, what training on them yields, and who uses their cache."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import xxhash
import zarr

from cases import CaseArrays, pair
from scripts import wait_until
from zarrfeed import RandomPatches, ZarrSequence
from zarrfeed.store.local_split import open_local_split
from zarrfeed.store.mirror.file_table import FileTable
from zarrfeed_convert import convert

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SEED = 3
BATCH = 4
MIB = 1 << 20


def write_samples(folder: Path, codec: str = "raw", samples: int = 24) -> Path:
    """Write images of ¾ MiB and masks of ¼ MiB, four a shard: 6 shards of 3 + 1 blocks."""
    arrays = {f"{number:02}": pair((512, 512), number) for number in range(samples)}
    convert(
        CaseArrays(arrays), folder / "samples.zarr", split="train", workers=1, codec=codec,
        shard_size=3 * MIB, chunk_samples=1, classes=3,
    )  # fmt: skip
    return folder / "samples.zarr"


def write_volumes(folder: Path) -> Path:
    """Write four CT-like volumes in tiles of 32³."""
    sizes = [(96, 100, 110), (64, 130, 90), (100, 64, 64), (70, 70, 120)]
    arrays = {
        f"{number}": pair(size, number, channels=1, dtype="int16")
        for number, size in enumerate(sizes)
    }
    convert(
        CaseArrays(arrays), folder / "volumes.zarr", split="train", workers=1, codec="raw",
        shard_size=MIB, tile=(32, 32, 32), classes=3,
    )  # fmt: skip
    return folder / "volumes.zarr"


PATCHES = RandomPatches((40, 40, 40), per_epoch=24)


def digest(batch: Iterable[np.ndarray]) -> str:
    """Return a hash of all pixels of a batch."""
    found = xxhash.xxh3_64()
    for values in batch:
        found.update(np.ascontiguousarray(values).data)
    return found.hexdigest()


def trained(split: str | Path, epochs: int = 2, **options: Any) -> list[str]:
    """Return the hashes of the batches of some epochs."""
    options = {"batch_size": BATCH, "seed": SEED, **options}
    with ZarrSequence(split, **options) as seq:
        return [digest(batch) for _ in range(epochs) for batch in seq]


def with_shard_files(split: Path) -> Path:
    """Add ``shard_files`` to a split of sharded fields, as packing does; return the dataset."""
    opened = open_local_split(split)
    layouts = opened.select(opened.attributes["fields"]).items()
    files = [
        [(split / name / layout.shard_name(shard)).read_bytes() for shard in range(layout.shards)]
        for name, layout in layouts
    ]
    facts = [[(len(one), xxhash.xxh3_64_intdigest(one)) for one in field] for field in files]
    values = np.array(facts, np.uint64).transpose(1, 0, 2)
    zarr.open_group(str(split), mode="a").create_array("shard_files", data=values)
    root = split.parent / "zarr.json"
    if not root.exists():
        group = zarr.open_group(str(split.parent), mode="a")
        group.attrs["zarrfeed"] = {"format": 1, "classes": ["a", "b", "c"]}
    return split.parent


def mirrored_files(split: Path) -> FileTable:
    """Return the table of the files of a packed split."""
    group = zarr.open_group(str(split), mode="r")
    fields = dict(group.attrs["zarrfeed"])["fields"]  # type: ignore[call-overload]
    return FileTable.of_shard_files(fields, np.asarray(group["shard_files"][:]))


def stored_nbytes(folder: Path) -> int:
    """Return what a folder takes on the disk; holes of sparse files take nothing."""
    return sum(p.lstat().st_blocks * 512 for p in folder.rglob("*") if p.is_file())


def users(cache: Path) -> list[psutil.Process]:
    """Return the processes, other than this one, that have files of a cache open."""
    found = []
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            paths = [file.path for file in process.open_files()] + process.cmdline()
        except psutil.Error:
            continue
        if any(str(cache) in path for path in paths):
            found.append(process)
    return found


def fetchers(cache: Path) -> list[psutil.Process]:
    """Return the fetchers of a cache."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])  # which a dead process has not
        if {str(cache.resolve()), "zarrfeed.feed.fetching.main"}
        <= set(process.info["cmdline"] or ())
    ]


def end_fetchers(cache: Path) -> None:
    """End the fetchers of a cache, which would wait for two seconds."""
    for one in fetchers(cache):
        with suppress(psutil.NoSuchProcess):
            one.terminate()
    expect_nothing_left(cache)


def expect_nothing_left(cache: Path) -> None:
    """Expect that no process uses a cache any more, and that nothing half-written is left."""
    # To ask takes as long as all processes have files; a fetcher ends two seconds after its use.
    wait_until(lambda: not users(cache), every=0.1)
    assert not [path for path in cache.rglob("*") if path.suffix == ".tmp"]
