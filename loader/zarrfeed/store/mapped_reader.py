"""Read the samples of one array straight from its mapped files into the batch's memory.

Covers regular grids along axis 0, sharded or not, with every ``schema.Compressor``. For any other
array, ``ArrayLayout.indirect`` says why it is not covered. The subclasses are

=================  ==================================================================
GatheringReader    raw, and every file may stay open: one call copies a batch
RowReader          raw: one call for every run of samples that lie next to each other
DecodingReader     all others: one call of the codec for every chunk
=================  ==================================================================

and :mod:`zarrfeed.store.field_opening` chooses among them. Boxes of cases are read by one call for
every tile: of raw tiles, only the box is copied.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zarrfeed.store.chunk_table import merge_ranges
from zarrfeed.store.field_reader import FieldReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from zarrfeed.store.box_plan import BoxPlan
    from zarrfeed.store.read_plan import ReadPlan, Reads
    from zarrfeed.store.shard_files import ShardFiles
    from zarrfeed.store.tile_grid import TilePart


class Ranges(NamedTuple):
    """Ranges of bytes in the shards of an array, in the order of storage.

    Attributes
    ----------
    shard, start, stop
        (n,) int64 each: the shard, the first byte, and the one after the last.
    """

    shard: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]


class MappedReader(FieldReader):
    """Finds the chunks of a batch; subclasses copy the samples out of their files.

    Parameters
    ----------
    files
        The shards of the array.

    Attributes
    ----------
    files
        The same.
    """

    checks_stamp = True

    def __init__(self, files: ShardFiles) -> None:
        self.files = files
        self._layout = files.layout

    def read_into(self, plan: ReadPlan, out: NDArray[Any]) -> None:
        """Read the samples of a batch; see :meth:`FieldReader.read_into`."""
        reads = self._reads(plan)
        offset, nbytes = self.files.locate(reads.shard, reads.chunk)
        absent = offset < 0
        if absent.any():
            out[reads.land[absent]] = self._layout.fill
            if absent.all():
                return
            reads, offset, nbytes = reads.where(~absent), offset[~absent], nbytes[~absent]
        self._copy(reads, offset, nbytes, out)
        self.files.check()

    def read_box_into(self, plan: BoxPlan, out: NDArray[Any]) -> None:
        """Read a box of a case; see :meth:`FieldReader.read_box_into`."""
        if not plan.parts:
            return
        reads = self._reads(plan.tiles)
        offset, nbytes = self.files.locate(reads.shard, reads.chunk)
        absent = offset < 0
        if absent.any():
            for part in reads.land[absent].tolist():
                out[plan.parts[part].lands] = self._layout.fill
            if absent.all():
                return
            reads, offset, nbytes = reads.where(~absent), offset[~absent], nbytes[~absent]
        self._copy_parts(reads, offset, nbytes, plan.parts, out)
        self.files.check()

    def prefetch(self, plan: ReadPlan) -> None:
        """Ask the kernel to load what `plan` needs; see :meth:`FieldReader.prefetch`."""
        for shard, start, stop in merge_ranges(*self.ranges(plan)):
            self.files.prefetch(shard, start, stop - start)

    def ranges(self, plan: ReadPlan) -> Ranges:
        """Return which bytes of the files `plan` needs, besides the indexes.

        Raises
        ------
        ReadError
            An index cannot be read.
        """
        reads = self._reads(plan)
        offset, nbytes = self.files.locate(reads.shard, reads.chunk)
        written = offset >= 0
        offset, nbytes = self._needed(reads, offset, nbytes)
        return Ranges(reads.shard[written], offset[written], (offset + nbytes)[written])

    def expect_changes(self, may_change: Callable[[], bool]) -> None:
        """Expect bytes to change while they are read, while `may_change()`; copies do no harm."""

    def forget(self, shards: Iterable[int]) -> None:
        """Drop what was kept of shards, which may have been read while they were incomplete."""
        self.files.forget_tables(shards)

    def close(self) -> None:
        """Close the files."""
        self.files.close()

    def _reads(self, plan: ReadPlan) -> Reads:
        return plan.on(chunk_rows=self._layout.chunk_rows, shard_rows=self._layout.shard_rows)

    def _needed(
        self,
        reads: Reads,  # noqa: ARG002
        offset: NDArray[np.int64],
        nbytes: NDArray[np.int64],
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the range of bytes that is read of each located chunk: all of it."""
        return offset, nbytes

    @abstractmethod
    def _copy(
        self, reads: Reads, offset: NDArray[np.int64], nbytes: NDArray[np.int64], out: NDArray[Any]
    ) -> None:
        """Fill ``out[reads.land]`` from the chunks at `offset`, all of which exist."""

    @abstractmethod
    def _copy_parts(
        self,
        reads: Reads,
        offset: NDArray[np.int64],
        nbytes: NDArray[np.int64],
        parts: Sequence[TilePart],
        out: NDArray[Any],
    ) -> None:
        """Fill `out` with ``parts[reads.land]`` of the chunks at `offset`, all of which exist."""


def as_bytes(out: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the bytes of a C-contiguous array as a view of one axis."""
    return out.view(np.uint8).reshape(-1)
