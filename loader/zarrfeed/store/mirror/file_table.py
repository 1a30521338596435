"""Which blocks do the shards of a split consist of? Pure arithmetic.

Blocks have 256 KiB, except the last one of each file. They are numbered file by file, files field
by field::

    file                0         1     2            fields image, mask of 2 shards:
    block            | 0 1 2 |   3   | 4 5 | …       image of shard 0, of shard 1, mask of shard 0
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Samples rarely begin where blocks do: of blocks of 1 MiB, a batch of samples of that size needs up
# to twice its bytes. Smaller blocks make larger tables.
BLOCK_NBYTES = 1 << 18
# Sizes come from stores that may claim anything. The block table takes 4 bytes for each block.
_MOST_BLOCKS = 1 << 32


class Place(NamedTuple):
    """Where a block is.

    Attributes
    ----------
    file
        Number of the file.
    offset, nbytes
        The block's bytes in the file.
    """

    file: int
    offset: int
    nbytes: int


class FileTable:
    """The shards of all fields of a split, and their blocks.

    Parameters
    ----------
    fields
        Names of the fields.
    shards
        Number of shards, the same for every field.
    nbytes
        (fields × shards,) int64: sizes of the files in bytes, field by field.
    digests
        (fields × shards,) uint64: xxh3_64 of each file.

    Attributes
    ----------
    first_block
        (files + 1,) int64: the first block of each file, then the number of all blocks.

    Raises
    ------
    ValueError
        There are no files, a size is not positive, or the files have too many blocks.

    Examples
    --------
    >>> from zarrfeed.store.mirror.file_table import BLOCK_NBYTES, FileTable
    >>> table = FileTable(("image", "mask"), 1, [2 * BLOCK_NBYTES + 5, 7], [0, 0])
    >>> table.files, table.blocks
    (2, 4)
    >>> table.blocks_of(0), table.blocks_of(1)
    (range(0, 3), range(3, 4))
    >>> table.place_of(2)
    Place(file=0, offset=524288, nbytes=5)
    """

    def __init__(
        self,
        fields: Sequence[str],
        shards: int,
        nbytes: Sequence[int] | NDArray[np.int64],
        digests: Sequence[int] | NDArray[np.uint64],
    ) -> None:
        self.fields = tuple(fields)
        self.shards = shards
        self.nbytes = np.asarray(nbytes, np.int64)
        self.digests = np.asarray(digests, np.uint64)
        files = len(self.fields) * shards
        if not files or {self.nbytes.shape, self.digests.shape} != {(files,)}:
            raise ValueError(
                f"needed sizes and hashes of {shards} shards of {len(self.fields)} fields, found "
                f"{self.nbytes.shape} and {self.digests.shape}"
            )
        if (self.nbytes <= 0).any():
            file = int(np.argmax(self.nbytes <= 0))
            raise ValueError(f"needed files of bytes, found {self.nbytes[file]} in file {file}")
        counts = (self.nbytes - 1) // BLOCK_NBYTES + 1
        total = counts.sum(dtype=np.float64)  # which int64 could overflow
        if total >= _MOST_BLOCKS:
            raise ValueError(
                f"needed files of at most {_MOST_BLOCKS * BLOCK_NBYTES >> 40:,} TiB together, "
                f"found {total * BLOCK_NBYTES / (1 << 40):,.0f} TiB"
            )
        self.first_block = np.concatenate(([0], np.cumsum(counts)))

    @classmethod
    def of_shard_files(cls, fields: Sequence[str], shard_files: NDArray[Any]) -> FileTable:
        """Make the table of a split from its descriptive array ``shard_files``.

        Parameters
        ----------
        fields
            Names of the fields, in the order of the array's second axis.
        shard_files
            (shards, fields, 2): size in bytes and xxh3_64 of every file.

        Raises
        ------
        ValueError
            The array has another shape, or as for the class.
        """
        if shard_files.ndim != 3 or shard_files.shape[1:] != (len(fields), 2):
            raise ValueError(
                f"needed sizes and hashes of {len(fields)} fields, found {shard_files.shape}"
            )
        nbytes, digests = shard_files.astype(np.uint64).transpose(2, 1, 0).reshape(2, -1)
        # A size beyond int64 becomes negative, which is refused.
        return cls(fields, shard_files.shape[0], nbytes.astype(np.int64), digests)

    @property
    def files(self) -> int:
        """Number of files."""
        return self.nbytes.size

    @property
    def blocks(self) -> int:
        """Number of blocks of all files."""
        return int(self.first_block[-1])

    def file_of(self, field: str, shard: int) -> int:
        """Return the number of a file."""
        return self.fields.index(field) * self.shards + shard

    def field_and_shard(self, file: int) -> tuple[str, int]:
        """Return the field and the shard of a file."""
        field, shard = divmod(file, self.shards)
        return self.fields[field], shard

    def blocks_of(self, file: int) -> range:
        """Return the blocks of a file."""
        return range(int(self.first_block[file]), int(self.first_block[file + 1]))

    def blocks_between(self, file: int, start: int, stop: int) -> range:
        """Return the blocks that hold the bytes from `start` to `stop` of a file.

        Examples
        --------
        >>> table = FileTable(("image",), 2, [5, 4 * BLOCK_NBYTES], [0, 0])
        >>> table.blocks_between(1, BLOCK_NBYTES - 1, BLOCK_NBYTES + 1)
        range(1, 3)
        >>> table.blocks_between(1, 7, 7)
        range(1, 1)
        """
        first = int(self.first_block[file])
        if start >= stop:
            return range(first, first)
        return range(first + start // BLOCK_NBYTES, first + (stop - 1) // BLOCK_NBYTES + 1)

    def blocks_of_ranges(
        self, file: NDArray[np.int64], start: NDArray[np.int64], stop: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return the blocks that hold many ranges of bytes.

        Parameters
        ----------
        file, start, stop
            (n,) int64 each: the file of every range, its first byte, and the one after its last.

        Returns
        -------
        (m,) int64
            Every block once, in order.

        Examples
        --------
        >>> import numpy as np
        >>> table = FileTable(("image",), 2, [5, 4 * BLOCK_NBYTES], [0, 0])
        >>> table.blocks_of_ranges(np.array([1, 0]), np.array([9, 0]), np.array([400_000, 4]))
        array([0, 1, 2])
        """
        base = self.first_block[file]
        first = base + start // BLOCK_NBYTES
        count = base + (stop - 1) // BLOCK_NBYTES + 1 - first
        count[stop <= start] = 0
        if (count == 1).all():
            return distinct(first)
        # 0, 1, … within each range.
        within = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
        return distinct(np.repeat(first, count) + within)

    def files_of(self, blocks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the file of each of (n,) blocks."""
        return np.searchsorted(self.first_block, blocks, side="right") - 1

    def place_of(self, block: int) -> Place:
        """Return where a block is."""
        file = int(np.searchsorted(self.first_block, block, side="right")) - 1
        offset = (block - int(self.first_block[file])) * BLOCK_NBYTES
        return Place(file, offset, min(BLOCK_NBYTES, int(self.nbytes[file]) - offset))

    def nbytes_of(self, blocks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the sizes of (n,) blocks in bytes."""
        file = self.files_of(blocks)
        offset = (blocks - self.first_block[file]) * BLOCK_NBYTES
        nbytes: NDArray[np.int64] = np.minimum(BLOCK_NBYTES, self.nbytes[file] - offset)
        return nbytes


def distinct(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (n,) numbers in order, each once.

    ``np.unique`` imports ``numpy.ma`` at its first call, which would be a tenth of the time in
    which a fetcher starts (40 ms).

    Examples
    --------
    >>> import numpy as np
    >>> distinct(np.array([3, 1, 3]))
    array([1, 3])
    """
    found = np.sort(numbers)
    once: NDArray[np.int64] = found[np.diff(found, prepend=found[:1] - 1) != 0]
    return once
