"""Which decoded chunks stay in memory? The ones used last, as many as the given bytes hold."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Chunk: TypeAlias = tuple[int, int]  # numbers of the shard, and of the chunk in it


class DecodedChunks:
    """The chunks that were used last.

    Parameters
    ----------
    chunk_nbytes
        Decoded size of a chunk in bytes.
    cache_nbytes
        Bytes to keep. If they hold no chunk, none is kept, and all are decoded into the same
        memory.

    Examples
    --------
    >>> chunks = DecodedChunks(chunk_nbytes=4, cache_nbytes=9)
    >>> for chunk in range(3):
    ...     chunks.keep((0, chunk), chunks.memory())
    >>> [chunks.find((0, chunk)) is not None for chunk in range(3)]
    [False, True, True]
    """

    def __init__(self, *, chunk_nbytes: int, cache_nbytes: int) -> None:
        self._chunk_nbytes = chunk_nbytes
        self._most = cache_nbytes // max(1, chunk_nbytes)
        self._kept: OrderedDict[_Chunk, NDArray[np.uint8]] = OrderedDict()
        self._spare: NDArray[np.uint8] | None = None

    @property
    def keeps(self) -> bool:
        """Whether chunks are kept."""
        return self._most > 0

    def find(self, chunk: _Chunk) -> NDArray[np.uint8] | None:
        """Return a decoded chunk, which becomes the one used last; None if it is not kept."""
        found = self._kept.get(chunk)
        if found is not None:
            self._kept.move_to_end(chunk)
        return found

    def memory(self) -> NDArray[np.uint8]:
        """Return memory to decode a chunk into. The chunk that used it is kept no longer."""
        memory, self._spare = self._spare, None
        if memory is None and self._most and len(self._kept) >= self._most:
            memory = self._kept.popitem(last=False)[1]
        return np.empty(self._chunk_nbytes, np.uint8) if memory is None else memory

    def keep(self, chunk: _Chunk, memory: NDArray[np.uint8]) -> None:
        """Keep a chunk that has been decoded into the memory of :meth:`memory`."""
        if self._most:
            self._kept[chunk] = memory
        else:
            self._spare = memory

    def clear(self) -> None:
        """Keep no chunk any longer."""
        self._kept.clear()
