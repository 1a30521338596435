"""Mirrors that tests fill and empty by themselves, at the worst moments, without a fetcher."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import ReadError
from zarrfeed.store.chunk_table import table_ranges
from zarrfeed.store.local_split import open_local_split
from zarrfeed.store.mirror.block_table import BlockTable
from zarrfeed.store.mirror.file_table import FileTable
from zarrfeed.store.mirror.mirrored_reader import table_path
from zarrfeed.store.mirror.origin import Origin, Remote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from zarrfeed.store.split import Split

URL = "s3://bucket/trial.zarr/train"


@dataclass(frozen=True, slots=True)
class TrialOrigin(Origin):
    """An origin whose mirror a test fills."""

    mirror: TrialMirror

    def connect(self, folder: Path) -> TrialMirror:
        return self.mirror


class TrialMirror:
    """The mirror of a local split, whose blocks come and go as a test says.

    Parameters
    ----------
    original
        The split.
    folder
        The mirror's folder.
    fields
        Fields that arrive block by block; files of others are there.

    Attributes
    ----------
    required, indexed
        How often blocks, and how often indexes, were asked for.
    before_require
        Called with the blocks before they arrive.
    """

    def __init__(self, original: Path, folder: Path, fields: Iterable[str]) -> None:
        self.original, self.folder = original, folder
        layouts = open_local_split(original).select(list(fields))
        shutil.copytree(
            original,
            folder,
            ignore=lambda path, _: ["c"] if Path(path).name in layouts else [],
        )
        self.paths = [
            Path(name, layout.shard_name(shard))
            for name, layout in layouts.items()
            for shard in range(layout.shards)
        ]
        nbytes = [(original / path).stat().st_size for path in self.paths]
        shards = next(iter(layouts.values())).shards
        self.files = FileTable(tuple(layouts), shards, nbytes, [0] * len(nbytes))
        table_path(folder).parent.mkdir()
        BlockTable.create(table_path(folder), self.files)
        self.table = BlockTable.open(table_path(folder), self.files, writable=True)
        self.table.announce(evicts=True)
        self.indexes_at: list[tuple[int, int]] = []
        for file, size in enumerate(nbytes):
            layout = layouts[self.files.field_and_shard(file)[0]]
            start, stop = table_ranges(
                layout.index, chunks=layout.chunks_per_shard, sizes=np.array([size])
            )
            self.indexes_at.append((int(start[0]), int(stop[0])))
        self.required = self.indexed = 0
        self.trusts = True  # nothing that a reader doubts
        self.before_require: Callable[[NDArray[np.int64]], None] = lambda blocks: None

    @property
    def split(self) -> Split:
        remote = Remote.of(self.folder.parent, None, {"secret_access_key": "XYZZY"})
        origin = TrialOrigin(URL, remote, self.files, self)
        return replace(open_local_split(self.folder, mirror=True), origin=origin)

    def require(self, folder: Path, blocks: NDArray[np.int64]) -> None:
        assert folder == self.folder
        self.required += 1
        self.before_require(blocks)
        self.deliver(blocks)

    def doubt(self, folder: Path, blocks: NDArray[np.int64]) -> bool:
        assert folder == self.folder
        if not self.trusts:
            self.evict(blocks)
        return not self.trusts

    def indexes(self, folder: Path, files: NDArray[np.int64]) -> None:
        assert folder == self.folder
        self.indexed += 1
        for file in files.tolist():
            start, stop = self.indexes_at[file]
            self._copy(file, start, stop - start)
            self.table.indexed[file] = 1

    def whole(self, folder: Path, array: str) -> None:
        assert (folder / array).is_dir()

    def close(self) -> None:
        pass

    def deliver(self, blocks: Iterable[int], change: Callable[[bytes], bytes] = bytes) -> None:
        numbers = np.fromiter(blocks, np.int64)
        for block in numbers[~self.table.present(numbers)].tolist():
            self._copy(*self.files.place_of(block), change)
        for block in numbers.tolist():
            self.table.arrive(self.files.place_of(block).file, range(block, block + 1))

    def _copy(
        self, number: int, offset: int, nbytes: int, change: Callable[[bytes], bytes] = bytes
    ) -> None:
        path = self.paths[number]
        target = self.folder / path
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                file.truncate(self.files.nbytes[number])
        with (self.original / path).open("rb") as source, target.open("r+b") as file:
            source.seek(offset)
            file.seek(offset)
            file.write(change(source.read(nbytes)))

    def evict(self, blocks: Iterable[int]) -> None:
        numbers = np.fromiter(blocks, np.int64)
        going = numbers[self.table.present(numbers)].tolist()
        self.table.evict(numbers)
        for block in going:
            place = self.files.place_of(block)
            begin, end = place.offset, place.offset + place.nbytes
            if self.table.indexed[place.file]:
                start, stop = self.indexes_at[place.file]
                begin, end = (begin, min(end, start)) if start else (max(begin, stop), end)
            with (self.folder / self.paths[place.file]).open("r+b") as file:
                file.seek(begin)
                file.write(b"\0" * max(0, end - begin))


class DeadMirror(TrialMirror):
    """A mirror whose fetcher answers nothing any more."""

    def indexes(self, folder: Path, files: NDArray[np.int64]) -> None:
        raise ReadError(f"{files.size} blocks of {folder}: did not come within 1 s")

    def require(self, folder: Path, blocks: NDArray[np.int64]) -> None:
        raise ReadError(f"{blocks.size} blocks of {folder}: did not come within 1 s")


def hook_copies(reader: Any, before: Callable[[], None], after: Callable[[], None]) -> None:
    """Call functions before and after every copy of mirrored fields, present blocks or not."""
    for _, field in reader._fields:
        inner = field._inner
        for name in ("read_into", "read_box_into"):
            setattr(inner, name, _hooked(getattr(inner, name), before, after))
        files = inner.files
        files.read_table = _hooked(files.read_table, before, after)


def _hooked(
    call: Callable[..., Any], before: Callable[[], None], after: Callable[[], None]
) -> Callable[..., Any]:
    def hooked(*arguments: Any) -> Any:
        before()
        try:
            return call(*arguments)
        finally:
            after()

    return hooked
