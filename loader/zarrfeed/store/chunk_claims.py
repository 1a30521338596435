"""Does a chunk of the size that an array claims fit in memory?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from zarrfeed.errors import StoreError
from zarrfeed.machine_memory import require_memory

if TYPE_CHECKING:
    from pathlib import Path

    from zarrfeed.store.schema import ArrayLayout

_LARGE_CHUNK = 64 << 20


def require_chunks(folder: Path, layout: ArrayLayout) -> None:
    """Refuse chunks that are far larger than their array, or than memory.

    A chunk's memory is allocated before anything is decoded, whatever the file holds.

    Raises
    ------
    StoreError
        The message gives the size of a chunk.
    """
    chunk = math.prod(layout.chunk_shape) * layout.dtype.itemsize
    whole = math.prod(layout.shape) * layout.dtype.itemsize
    if chunk > 4 * whole + _LARGE_CHUNK:
        raise StoreError(
            f"{folder}: needed chunks of at most 4 times the array and {_LARGE_CHUNK:,} bytes, "
            f"found {layout.chunk_shape} for {layout.shape}"
        )
    require_memory(folder, chunk, f"a chunk {layout.chunk_shape}")
