"""Where are the chunks of a shard? Pure: a file's bytes in, a checked table out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.store.codecs import CHECKSUM_NBYTES, strip_checksum

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed.store.schema import ShardIndex

ENTRY_NBYTES = 16
# Offset and length of a chunk that was never written.
_NOTHING = np.iinfo(np.uint64).max
# Ranges with a smaller gap are prefetched as one. A disk reads the gap as fast as it serves another
# request, and prefetching a thousand small samples one by one takes longer than reading them
# (measured).
_NEAR_NBYTES = 64 << 10


def table_ranges(
    index: ShardIndex, *, chunks: int, sizes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where files have their tables.

    Parameters
    ----------
    index
        How the tables are stored.
    chunks
        Number of chunks in a shard.
    sizes
        (n,) int64: sizes of the files in bytes.

    Returns
    -------
    start, stop
        (n,) int64 each: the first byte, and the one after the last.
    """
    stored = _table_nbytes(index, chunks)
    if index.at_end:
        return np.maximum(sizes - stored, 0), sizes
    return np.zeros_like(sizes), np.minimum(sizes, stored)


def _table_nbytes(index: ShardIndex, chunks: int) -> int:
    return chunks * ENTRY_NBYTES + (CHECKSUM_NBYTES if index.checksum else 0)


def read_table(
    data: NDArray[np.uint8], index: ShardIndex, *, chunks: int, size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Read a shard's table of chunks.

    Parameters
    ----------
    data
        Bytes of the file, or of the end or beginning that contains the table.
    index
        How the table is stored.
    chunks
        Number of chunks in a shard.
    size
        Size of the whole file in bytes.

    Returns
    -------
    offset, nbytes
        (chunks,) int64 each. All ranges are within the file; offset is -1 for a chunk that was
        never written.

    Raises
    ------
    ValueError
        The file is too short for the table, or the table is damaged.
    """
    body = _stored(data, index, _table_nbytes(index, chunks))
    entries = np.frombuffer(body, "<u8").reshape(-1, 2).astype(np.uint64)
    missing = (entries == _NOTHING).all(axis=1)
    entries[missing] = 0
    offset, nbytes = entries.T
    beyond = (offset > size) | (nbytes > size - np.minimum(offset, size))  # a sum could overflow
    if beyond.any():
        chunk = int(np.argmax(beyond))
        end = int(offset[chunk]) + int(nbytes[chunk])
        raise ValueError(
            f"chunk {chunk} ends at byte {end}, the file has {size}: it is truncated or its index "
            "is damaged"
        )
    return np.where(missing, -1, offset.astype(np.int64)), nbytes.astype(np.int64)


def _stored(data: NDArray[np.uint8], index: ShardIndex, stored: int) -> memoryview:
    if data.size < stored:
        raise ValueError(
            f"needed {stored} bytes for the index alone, the file has {data.size}: it is truncated"
        )
    raw = (data[data.size - stored :] if index.at_end else data[:stored]).data
    try:
        return strip_checksum(raw) if index.checksum else raw
    except ValueError as error:
        raise ValueError(f"the file is truncated or its index is damaged: {error}") from error


def merge_ranges(
    shard: NDArray[np.int64], start: NDArray[np.int64], end: NDArray[np.int64]
) -> list[tuple[int, int, int]]:
    """Merge ranges of bytes that are close to each other.

    Parameters
    ----------
    shard, start, end
        (n,) int64 each: the shard of every range, and its first byte and the one after its last.

    Returns
    -------
    list of (shard, start, end)
        Ranges of one shard that are at most 64 KiB apart and in order become one.

    Examples
    --------
    >>> merge_ranges(np.array([0, 0, 1]), np.array([0, 70, 0]), np.array([9, 79, 9]))
    [(0, 0, 79), (1, 0, 9)]
    """
    if not shard.size:
        return []
    apart = shard[1:] != shard[:-1]
    apart |= start[1:] - end[:-1] > _NEAR_NBYTES
    apart |= start[1:] < start[:-1]
    first = np.flatnonzero(np.concatenate(([True], apart)))
    ends = np.maximum.reduceat(end, first)
    return list(zip(shard[first].tolist(), start[first].tolist(), ends.tolist(), strict=True))
