"""Where do the chunks of a shard lie? Pure: the bytes of a file in, a checked table out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.store.codecs import CHECKSUM_NBYTES, strip_checksum

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed.store.schema import ShardIndex

ENTRY_NBYTES = 16
_NOTHING = np.iinfo(np.uint64).max  # twice, in place of a chunk that was never written


def read_table(
    data: NDArray[np.uint8], index: ShardIndex, *, chunks: int, size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Read a shard's table of chunks.

    Parameters
    ----------
    data
        The file's end where the table is there, or its beginning.
    index
        How the table is stored.
    chunks
        In a shard.
    size
        Of the whole file, in bytes.

    Returns
    -------
    offset, nbytes
        (chunks,) each: all within the file; offset is -1 for a chunk that was never written.

    Raises
    ------
    ValueError
        The file is too short for the table, or the table is damaged.
    """
    body = _stored(data, index, chunks * ENTRY_NBYTES)
    entries = np.frombuffer(body, "<u8").reshape(-1, 2).astype(np.uint64)
    missing = (entries == _NOTHING).all(axis=1)
    entries[missing] = 0
    offset, nbytes = entries.T
    beyond = (offset > size) | (nbytes > size - np.minimum(offset, size))  # no sum: it would wrap
    if beyond.any():
        chunk = int(np.argmax(beyond))
        end = int(offset[chunk]) + int(nbytes[chunk])
        raise ValueError(
            f"chunk {chunk} ends at byte {end}, the file has {size}: it is truncated or its index "
            "is damaged"
        )
    return np.where(missing, -1, offset.astype(np.int64)), nbytes.astype(np.int64)


def _stored(data: NDArray[np.uint8], index: ShardIndex, nbytes: int) -> memoryview:
    stored = nbytes + (CHECKSUM_NBYTES if index.checksum else 0)
    if data.size < stored:
        raise ValueError(
            f"the file has {data.size} bytes, its index alone needs {stored}: it is truncated"
        )
    raw = (data[data.size - stored :] if index.at_end else data[:stored]).data
    try:
        return strip_checksum(raw) if index.checksum else raw
    except ValueError as error:
        raise ValueError(f"the file is truncated or its index is damaged: {error}") from error
