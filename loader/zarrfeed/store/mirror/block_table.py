"""Which blocks of a mirror are there? A small file, mapped by the fetcher and by all readers.

One process, the fetcher, writes it; any number read it, without locks and messages::

    fetcher, a block arrives    write its bytes; generation + 1 (odd: it is there); missing - 1
    fetcher, a block goes       generation + 1 (even), missing + 1; evictions + 1; punch the hole
    reader of whole files       note evictions; nothing is missing; copy;
                                valid if evictions has not changed
    reader of blocks            note their generations, all odd; copy;
                                valid if none of them has changed

A reader whose copy turns out invalid copies again. It decodes in place only while ``evicts`` is 0,
because decoders do not stand bytes that change. Files are written in place, so that readers may
keep them mapped. If some were removed from the cache, the table is made anew, too, and no block
returns to the old one: a reader that finds another file at its path opens all files again.

Layout of the file, little-endian (as all machines are that zarrfeed runs on)::

    magic 8 | version, files uint32 | blocks, evictions, evicts uint64 | zeros up to 64 bytes
    generations uint32[blocks] | missing uint32[files] | verified, indexed uint8[files] each
"""

from __future__ import annotations

import mmap
import os
import threading
from typing import TYPE_CHECKING, Self

import numpy as np

from zarrfeed.errors import StoreError, look_up
from zarrfeed.store.mirror.file_table import distinct
from zarrfeed.store.truncation import guarded

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from zarrfeed.store.mirror.file_table import FileTable

UNKNOWN, WHOLE, WRONG = 0, 1, 2  # of `verified`

_HEADER = np.dtype(
    [
        ("magic", "S8"),
        ("version", "<u4"),
        ("files", "<u4"),
        ("blocks", "<u8"),
        ("evictions", "<u8"),
        ("evicts", "<u8"),
    ]
)
_MAGIC, _VERSION = b"zfblocks", 1
_HEADER_NBYTES = 64
DECODE_SECONDS = 2.0  # more than any chunk takes


class BlockTable:
    """The state of every block of a split's shards.

    Open it by :meth:`open`. Closing waits for the garbage collector, because arrays on the mapping
    may still be in use.

    Attributes
    ----------
    generations
        (blocks,) uint32. Odd: the block is there. Each arrival and each eviction adds one.
    missing
        (files,) uint32: blocks of each file that are not there; at times too many, never too few.
    verified
        (files,) uint8: whether the whole file has been there with the right hash (``WHOLE``), or
        has come with a wrong one twice (``WRONG``).
    indexed
        (files,) uint8: 1 if the table of the file's chunks is there. It stays when blocks go: the
        few kilobytes of it are read by themselves, before it is known which blocks are needed.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from pathlib import Path
    >>> from zarrfeed.store.mirror.block_table import BlockTable
    >>> from zarrfeed.store.mirror.file_table import FileTable
    >>> files = FileTable(("image",), 1, [700_000], [0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "blocks")
    ...     BlockTable.create(path, files)
    ...     fetcher = BlockTable.open(path, files, writable=True)
    ...     reader = BlockTable.open(path, files)
    >>> fetcher.announce(evicts=True)
    >>> fetcher.arrive(0, range(1, 3))
    2
    >>> reader.present(np.arange(3)).tolist(), reader.missing.tolist()
    ([False, True, True], [1])
    >>> before = reader.generations[1:].copy()
    >>> fetcher.evict(np.array([2]))
    1
    >>> reader.evictions, bool((reader.generations[1:] == before).all())
    (1, False)
    """

    def __init__(self, mapping: mmap.mmap, files: FileTable) -> None:
        data = np.frombuffer(mapping, np.uint8)
        self._files = files
        self._identity: tuple[int, int] | None = None
        self._lock = threading.Lock()
        self._header = data[: _HEADER.itemsize].view(_HEADER)
        # A view of its own: reading one number out of a record takes three times as long.
        self._evictions, self._evicts = data[24:32].view("<u8"), data[32:40].view("<u8")
        generations, missing, verified, end = _ends(files)
        self.generations = data[_HEADER_NBYTES:generations].view("<u4")
        self.missing = data[generations:missing].view("<u4")
        self.verified, self.indexed = data[missing:verified], data[verified:end]

    @classmethod
    def create(cls, path: Path, files: FileTable) -> None:
        """Write the table of a mirror without blocks: aside, then renamed.

        Raises
        ------
        OSError
            The file cannot be written.
        """
        header = np.zeros((), _HEADER)
        header["magic"], header["version"] = _MAGIC, _VERSION
        header["files"], header["blocks"] = files.files, files.blocks
        generations, missing, _, end = _ends(files)
        content = np.zeros(end, np.uint8)
        content[: header.nbytes] = np.frombuffer(header.tobytes(), np.uint8)
        content[generations:missing].view("<u4")[:] = np.diff(files.first_block)
        aside = path.with_name(path.name + ".tmp")
        # All of it: on a full disk, who writes to a hole of a mapped file is killed.
        aside.write_bytes(content.data)
        aside.replace(path)

    @classmethod
    def open(cls, path: Path, files: FileTable, *, writable: bool = False) -> Self:
        """Map a table.

        Parameters
        ----------
        path
            Path of the file.
        files
            The files that it must be about.
        writable
            True for the fetcher alone.

        Raises
        ------
        StoreError
            There is no such file, or it is not the table of these files.
        OSError
            It cannot be mapped.
        """
        flags = (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(path, flags)
        except OSError as error:
            raise _damaged(path, "a table of blocks", f"none ({error.strerror})") from error
        try:
            needed, found = _ends(files)[-1], os.fstat(descriptor)
            if found.st_size != needed:
                raise _damaged(path, f"a table of {needed:,} bytes", f"{found.st_size:,} bytes")
            access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
            mapping = mmap.mmap(descriptor, needed, access=access)
        finally:
            os.close(descriptor)
        table = cls(mapping, files)
        table._identity = found.st_dev, found.st_ino
        if not writable:  # if the file is truncated, no block is there
            guarded(mapping, table._header.ctypes.data)
        header = table._header[0]
        expected = _MAGIC, _VERSION, files.files, files.blocks
        got = tuple(header[name].item() for name in ("magic", "version", "files", "blocks"))
        if got != expected:
            raise _damaged(path, f"{expected}", f"{got}")
        return table

    def is_at(self, path: Path) -> bool:
        """Return whether a path leads to this table still."""
        try:
            found = path.stat()
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._identity

    @property
    def evictions(self) -> int:
        """How often blocks were evicted. While it does not change, no block goes."""
        return int(self._evictions[0])

    @property
    def evicts(self) -> bool:
        """Whether blocks may go at any time."""
        return bool(self._evicts[0])

    def announce(self, *, evicts: bool) -> None:
        """Say whether blocks may go; for the fetcher, when it learns of a limit."""
        self._evicts[0] = evicts

    def present(self, blocks: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether each of (n,) blocks is there."""
        odd: NDArray[np.bool_] = (self.generations[blocks] & 1).astype(np.bool_)
        return odd

    def arrive(self, file: int, blocks: range) -> int:
        """Record neighbouring blocks of a file whose bytes have been written; for the fetcher.

        Returns
        -------
        int
            How many of them were not there before.
        """
        generations = self.generations[blocks.start : blocks.stop]
        new = ~generations & 1
        generations += new
        count = int(new.sum())
        self.missing[file] -= count
        return count

    def evict(self, blocks: NDArray[np.int64]) -> int:
        """Record that blocks go, before their bytes do; for the fetcher.

        If that was not announced, readers may decode in place for ``DECODE_SECONDS`` still.

        Returns
        -------
        int
            How many of them were there.
        """
        going = distinct(blocks[self.present(blocks)])
        if going.size:
            self.announce(evicts=True)
            self.generations[going] += 1
            files, counts = np.unique(self._files.files_of(going), return_counts=True)
            self.missing[files] += counts.astype(np.uint32)
            self.fence()
            self._evictions[0] += 1
        return going.size

    def fence(self) -> None:
        """Do all reads and writes of before ahead of those after; ARM would mix them.

        What surrounds a locked region may move into it, but not across two of them.
        """
        for _ in range(2):
            with self._lock:
                pass

    def recount(self) -> None:
        """Count the missing blocks anew, after a fetcher was killed amid a change."""
        absent = 1 - (self.generations & 1)
        self.missing[:] = np.add.reduceat(absent, self._files.first_block[:-1], dtype=np.uint32)


def _ends(files: FileTable) -> tuple[int, int, int, int]:
    """Return where the parts of the file end: generations, missing, verified, indexed."""
    generations = _HEADER_NBYTES + 4 * files.blocks
    missing = generations + 4 * files.files
    return generations, missing, missing + files.files, missing + 2 * files.files


def _damaged(path: Path, needed: str, found: str) -> StoreError:
    return StoreError(
        f"{path}: needed {needed}, found {found}: the cache is damaged; stop what uses it, and "
        f"start again, which mends it{look_up('remote-store')}"
    )
