"""How are whole samples read into the rows of a batch?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.store.reader import BatchReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed.order.draws import Draws
    from zarrfeed.store.split import Split


class SampleReader:
    """Reads the whole samples of a batch, as :class:`PatchReader` reads patches.

    Not thread-safe: every worker has its own.

    Parameters
    ----------
    split, fields, open_files
        As for :class:`zarrfeed.store.reader.BatchReader`.
    """

    def __init__(self, split: Split, fields: Sequence[str], *, open_files: int) -> None:
        self._reader = BatchReader(split, fields, open_files=open_files)

    @property
    def decode_seconds(self) -> float:
        """Seconds spent in codecs so far."""
        return self._reader.decode_seconds

    def read_into(self, draws: Draws, out: Sequence[NDArray[Any]]) -> None:
        """Read samples; see :meth:`zarrfeed.store.reader.BatchReader.read_into`."""
        self._reader.read_into(np.ascontiguousarray(draws["id"]), out)

    def prefetch(self, draws: Draws) -> None:
        """Ask the kernel to load samples into memory, without waiting and ignoring errors."""
        self._reader.prefetch(np.ascontiguousarray(draws["id"]))

    def close(self) -> None:
        """Close the files."""
        self._reader.close()
