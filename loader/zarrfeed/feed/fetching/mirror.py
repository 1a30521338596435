"""The files of one mirror: blocks are written, recorded, made holes again, and verified."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import time
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from zarrfeed.errors import StoreError
from zarrfeed.feed.fetching.found_split import METADATA_NAMES
from zarrfeed.feed.fetching.holes import punch
from zarrfeed.feed.fetching.mirror_folder import (
    boot_id,
    files_of,
    read_about,
    shard_paths,
    write_about,
)
from zarrfeed.store.chunk_table import table_ranges
from zarrfeed.store.local_split import open_local_split
from zarrfeed.store.mirror.block_table import DECODE_SECONDS, UNKNOWN, WHOLE, BlockTable
from zarrfeed.store.mirror.file_table import BLOCK_NBYTES, distinct
from zarrfeed.store.mirror.mirrored_reader import table_path
from zarrfeed.store.mirror.mirrored_split import files_by_block

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from zarrfeed.feed.fetching.found_split import FoundSplit
    from zarrfeed.store.mirror.file_table import FileTable
    from zarrfeed.store.objects.object_store import ObjectStore

_OPEN_FILES = 256
_PAGE = 4096  # least part of a file that can be a hole


class Mirror:
    """A mirror that clients use.

    Parameters
    ----------
    folder
        Folder of its split.
    found
        What its metadata says.
    store
        Its objects.

    Attributes
    ----------
    files, table
        Its shards and blocks; both None if all arrays are fetched whole.
    first
        Number of its first block among those of all mirrors.
    clients
        Who has opened it.
    warnings
        What its clients should be told.
    unchecked
        Files that were complete before this machine was started again, or before others of the
        mirror were lost. Their bytes may never have reached the disk, so that their hashes are
        compared before they are used.
    decoded_until
        The time (of the monotonic clock) until which readers may decode in place what has gone.
    """

    def __init__(self, folder: Path, found: FoundSplit, store: ObjectStore) -> None:
        self.folder = folder
        self.url = found.url
        self.store = store
        self.listing = found.listing
        self.first = 0
        self.clients: set[object] = set()
        self.warnings: list[str] = []
        self.unchecked: set[int] = set()
        self._tags: dict[int, str] = {}
        self.decoded_until = 0.0
        self.split = open_local_split(folder, mirror=True)
        self.files = files_by_block(self.split)
        self.table: BlockTable | None = None
        self._open: OrderedDict[int, int] = OrderedDict()
        restarted = read_about(folder).get("boot") != boot_id() or not boot_id()
        if self.files is not None:
            self._paths = list(shard_paths(self.split, self.files))
            self.table = self._open_table(self.files, may_decode=not restarted)
        if restarted:
            self._doubt_all()
        self._drop_leftovers()
        write_about(folder, found.url)

    @property
    def nbytes(self) -> int:
        """Bytes of the blocks that are there."""
        if self.files is None or self.table is None:
            return 0
        present = np.flatnonzero(self.table.present(np.arange(self.files.blocks)))
        return int(self.files.nbytes_of(present).sum())

    def has(self, field: str) -> bool:
        """Return whether a field comes block by block."""
        return self.files is not None and field in self.files.fields

    def key_of(self, file: int) -> str:
        """Return the key of a file's object below the address of the split."""
        return self._paths[file].relative_to(self.folder).as_posix()

    def keys_of(self, array: str) -> list[str]:
        """Return the keys of all files that an array has, or may have, except its metadata."""
        if self.listing is not None:
            keys = [one.key for one in self.listing if one.key.startswith(f"{array}/")]
            return [key for key in keys if key.rpartition("/")[2] not in METADATA_NAMES]
        return [f"{array}/{name}" for name in files_of(self.split.layouts[array])]

    def index_of(self, file: int) -> tuple[int, int]:
        """Return where a file has the table of its chunks: first byte, and the one after."""
        assert self.files is not None
        layout = self.split.layouts[self.files.field_and_shard(file)[0]]
        assert layout.index is not None
        start, stop = table_ranges(
            layout.index, chunks=layout.chunks_per_shard, sizes=self.files.nbytes[[file]]
        )
        return int(start[0]), int(stop[0])

    def kept_index(self, file: int) -> bytes | None:
        """Return the table of a file's chunks, if it is there.

        That of an unchecked file may be damaged, but then its own checksum differs.
        """
        assert self.files is not None
        assert self.table is not None
        index = self.split.layouts[self.files.field_and_shard(file)[0]].index
        assert index is not None
        if not self.table.indexed[file] and not (file in self.unchecked and index.checksum):
            return None
        start, stop = self.index_of(file)
        return os.pread(self._descriptor(file), stop - start, start)

    def keep_index(self, file: int, data: bytes) -> None:
        """Write the table of a file's chunks, which stays when blocks go."""
        assert self.table is not None
        if self.kept_index(file) != data:
            self.write(file, self.index_of(file)[0], data)
        self.table.indexed[file] = 1

    def write(self, file: int, offset: int, data: bytes) -> None:
        """Write bytes of a file.

        Raises
        ------
        OSError
            The disk is full, or broken.
        """
        descriptor = self._descriptor(file)
        view = memoryview(data)
        while view:
            written = os.pwrite(descriptor, view, offset)
            offset, view = offset + written, view[written:]

    def evict(self, blocks: NDArray[np.int64]) -> None:
        """Let blocks go from the table.

        Their bytes must stay until :attr:`decoded_until`. Then :meth:`free` them.
        """
        assert self.files is not None
        assert self.table is not None
        announced = self.table.evicts
        if self.table.evict(blocks) and not announced:
            self.decoded_until = time.monotonic() + DECODE_SECONDS
        for file in distinct(self.files.files_of(blocks)).tolist():
            self.table.verified[file] = UNKNOWN

    def free(self, blocks: NDArray[np.int64]) -> None:
        """Give back the space of blocks that have gone from the table."""
        assert self.files is not None
        for start, stop in _runs(np.sort(blocks)):
            place = self.files.place_of(start)
            last = self.files.place_of(stop - 1)
            if last.file != place.file:  # neighbours in number alone
                for block in range(start, stop):
                    alone = self.files.place_of(block)
                    self._punch(alone.file, alone.offset, 1)
                continue
            self._punch(place.file, place.offset, stop - start)

    def digest_is_right(self, file: int) -> bool:
        """Return whether the bytes of a file have the hash that the split says."""
        assert self.files is not None
        return digest_of(self._paths[file]) == int(self.files.digests[file])

    def mark_whole(self, file: int) -> None:
        """Record that a file is complete and right."""
        assert self.table is not None
        self.table.verified[file] = WHOLE

    def warn_of(self, file: int) -> None:
        """Warn of samples that may have been read from wrong bytes."""
        assert self.files is not None
        field, shard = self.files.field_and_shard(file)
        rows = self.split.layouts[field].shard_rows
        last = min((shard + 1) * rows, self.split.layouts[field].shape[0]) - 1
        self.warnings.append(
            f"{self.url}/{self.key_of(file)}: came with wrong bytes (their xxh3_64 differs): what "
            f"was read of {field!r} of samples {shard * rows} to {last} until now may be damaged"
        )

    def notice_tag(self, file: int, etag: str | None) -> None:
        """Warn if the tag of a file's object is no longer the one that came first.

        It may have been replaced by bytes that nothing verifies. That is no error, because some
        servers have a tag per replica.
        """
        if etag is not None and self._tags.setdefault(file, etag) != etag:
            self._tags[file] = etag
            self.warnings.append(
                f"{self.url}/{self.key_of(file)}: its ETag has changed since it was first read. If "
                f"it was replaced, samples of both are mixed: compare it with `zarrfeed verify "
                f"{self.url}`"
            )

    def close(self) -> None:
        """Close the files."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def remove(self) -> None:
        """Remove the mirror from the disk."""
        self.close()
        shutil.rmtree(self.folder.parent, ignore_errors=True)

    def _descriptor(self, file: int) -> int:
        descriptor = self._open.pop(file, None)
        if descriptor is None:
            descriptor = self._opened(file)
            if len(self._open) >= _OPEN_FILES:
                os.close(self._open.popitem(last=False)[1])
        self._open[file] = descriptor
        return descriptor

    def _opened(self, file: int) -> int:
        """Open a file. While no block of it is there, it is made, of full size, if need be."""
        path, flags = self._paths[file], os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        assert self.files is not None
        assert self.table is not None
        if self.table.missing[file] < len(self.files.blocks_of(file)) or self.table.indexed[file]:
            return os.open(path, flags)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, flags | os.O_CREAT, 0o666)
        try:
            os.ftruncate(descriptor, int(self.files.nbytes[file]))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _open_table(self, files: FileTable, *, may_decode: bool) -> BlockTable:
        """Open the table of blocks; make it anew if files are missing or of another size.

        Readers of a fetcher that was killed may still read the files of before. If their table is
        there, all blocks go from it, for good. If it is not, they keep its last state, so that all
        files are made anew, and those that they have open never change.
        """
        path, sizes = table_path(self.folder), [_size(path) for path in self._paths]
        wrong = np.array(sizes) != files.nbytes
        lost, table = np.ones(files.files, np.bool_), None
        with suppress(OSError, StoreError):
            table = BlockTable.open(path, files, writable=True)
        if table is not None:
            table.recount()
            blocks = np.diff(files.first_block)
            lost = wrong & ((table.missing < blocks) | (table.indexed != 0))
            if lost.any():
                self.unchecked = set(np.flatnonzero(~lost & (table.missing == 0)).tolist())
                may_decode = may_decode and not table.evicts
                if table.evict(np.arange(files.blocks)) and may_decode:
                    time.sleep(DECODE_SECONDS)
                table.indexed[:] = 0
        for file in np.flatnonzero(wrong | lost).tolist():
            self._paths[file].unlink(missing_ok=True)
        if table is None or lost.any():  # not sooner: it must know of no file of before
            path.parent.mkdir(exist_ok=True)
            BlockTable.create(path, files)
            table = BlockTable.open(path, files, writable=True)
        return table

    def _doubt_all(self) -> None:
        """Take what was written before this machine was started again as absent, until checked."""
        if self.files is None or self.table is None:
            return
        complete = np.flatnonzero(self.table.missing == 0).tolist()
        self.table.announce(evicts=True)
        self.table.evict(np.arange(self.files.blocks))
        self.table.verified[:] = UNKNOWN
        self.table.indexed[:] = 0
        self.unchecked.update(complete)

    def _drop_leftovers(self) -> None:
        """Remove bytes of blocks that are not there, which a fetcher that was killed has left."""
        if self.files is None or self.table is None:
            return
        for file, path in enumerate(self._paths):
            if not path.exists():
                continue
            blocks = np.array(self.files.blocks_of(file))
            absent = blocks[~self.table.present(blocks)]
            there = int(self.files.nbytes[file]) - int(self.files.nbytes_of(absent).sum())
            spare = path.stat().st_blocks * 512 - there
            if file not in self.unchecked and absent.size and spare > BLOCK_NBYTES:
                for start, stop in _runs(absent):
                    self._punch(file, (start - int(blocks[0])) * BLOCK_NBYTES, stop - start)

    def _punch(self, file: int, offset: int, blocks: int) -> None:
        """Make a hole of blocks, except where the index is."""
        assert self.table is not None
        end = offset + blocks * BLOCK_NBYTES
        if self.table.indexed[file]:
            start, stop = self.index_of(file)
            if start:
                end = min(end, start // _PAGE * _PAGE)
            else:
                offset = max(offset, -(-stop // _PAGE) * _PAGE)
        if end > offset:
            with suppress(OSError):  # who has a limit has checked that this works
                punch(self._descriptor(file), offset, end - offset)


def digest_of(path: Path) -> int:
    """Return the xxh3_64 of a file, without holding it in memory."""
    digest = xxhash.xxh3_64()
    with path.open("rb", buffering=0) as opened:
        hashlib.file_digest(opened, lambda: digest)
    return digest.intdigest()


def _size(path: Path) -> int:
    """Return the size of a file; -1 if there is none."""
    try:
        found = path.lstat()
    except OSError:
        return -1
    return found.st_size if stat.S_ISREG(found.st_mode) else -1


def _runs(blocks: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return the first and the end of each run of successive numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from zarrfeed.feed.fetching.mirror import _runs
    >>> _runs(np.array([1, 2, 3, 7]))
    [(1, 4), (7, 8)]
    """
    if not blocks.size:
        return []
    ends = np.flatnonzero(np.diff(blocks) != 1)
    starts = np.concatenate(([0], ends + 1))
    stops = np.concatenate((ends, [blocks.size - 1]))
    return list(zip(blocks[starts].tolist(), (blocks[stops] + 1).tolist(), strict=True))
