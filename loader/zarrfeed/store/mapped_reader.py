"""Read the samples of one array straight from its mapped files into the batch's memory.

Covers regular grids along axis 0, sharded or not, with every ``schema.Compressor``. For any other
array, ``ArrayLayout.indirect`` says why it is not covered. :func:`map_array` chooses the reader
when it opens the array:

=================  ==================================================================
GatheringReader    raw, and every file may stay open: one call copies a batch
RowReader          raw: one call for every run of samples that lie next to each other
DecodingReader     all others: one call of the codec for every chunk
=================  ==================================================================
"""

from __future__ import annotations

import itertools
import time
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import ReadError
from zarrfeed.store.chunk_table import ENTRY_NBYTES, merge_ranges
from zarrfeed.store.codecs import CHECKSUM_NBYTES, decode_chunk
from zarrfeed.store.field_reader import FieldReader
from zarrfeed.store.mapped_shards import MappedShards
from zarrfeed.store.shard_files import ShardFiles
from zarrfeed.store.truncation import GUARDED

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from zarrfeed.store.files import Stamp
    from zarrfeed.store.read_plan import ReadPlan, Reads
    from zarrfeed.store.schema import ArrayLayout

_NO_BYTES = np.empty(0, np.uint8)


def map_array(
    folder: Path, layout: ArrayLayout, *, required: bool, stamp: Stamp | None, open_files: int
) -> MappedReader:
    """Open an array whose ``layout.indirect`` is None.

    Parameters
    ----------
    folder, layout, required, stamp, open_files
        See :class:`ShardFiles`.
    """
    raw = layout.compressor == "raw" and not layout.checksum
    mapped_shards = _reserve(layout) if raw and layout.shards <= open_files else None
    files = ShardFiles(
        folder,
        layout,
        required=required,
        stamp=stamp,
        open_files=open_files,
        mapped_shards=mapped_shards,
    )
    if not raw:
        return DecodingReader(files)
    return RowReader(files) if mapped_shards is None else GatheringReader(files)


def _reserve(layout: ArrayLayout) -> MappedShards | None:
    """Reserve one range of addresses for all files; None if the system has no such range."""
    index = layout.chunks_per_shard * ENTRY_NBYTES + CHECKSUM_NBYTES
    try:
        return MappedShards(
            layout.shards,
            layout.chunks_in_use,
            layout.chunk_rows,
            layout.shard_rows * layout.sample_nbytes + index,
            layout.sample_nbytes,
        )
    except OSError:
        return None


class MappedReader(FieldReader):
    """Finds the chunks of a batch; subclasses copy the samples out of their files.

    Parameters
    ----------
    files
        The shards of the array.
    """

    def __init__(self, files: ShardFiles) -> None:
        self._files = files
        self._layout = files.layout

    def read_into(self, plan: ReadPlan, out: NDArray[Any]) -> None:
        """Read the samples of a batch; see :meth:`FieldReader.read_into`."""
        reads = self._reads(plan)
        offset, nbytes = self._files.locate(reads.shard, reads.chunk)
        absent = offset < 0
        if absent.any():
            out[reads.land[absent]] = self._layout.fill
            if absent.all():
                return
            reads, offset, nbytes = reads.where(~absent), offset[~absent], nbytes[~absent]
        self._copy(reads, offset, nbytes, out)
        self._files.check()

    def prefetch(self, plan: ReadPlan) -> None:
        """Ask the kernel to load what `plan` needs; see :meth:`FieldReader.prefetch`."""
        reads = self._reads(plan)
        offset, nbytes = self._files.locate(reads.shard, reads.chunk)
        written = offset >= 0
        offset, nbytes = self._needed(reads, offset, nbytes)
        for shard, start, end in merge_ranges(
            reads.shard[written], offset[written], (offset + nbytes)[written]
        ):
            self._files.prefetch(shard, start, end - start)

    def close(self) -> None:
        """Close the files."""
        self._files.close()

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


class DecodingReader(MappedReader):
    """Decodes every chunk once, straight into its row if it is one sample."""

    def __init__(self, files: ShardFiles) -> None:
        super().__init__(files)
        self._scratch = _NO_BYTES

    def _copy(
        self, reads: Reads, offset: NDArray[np.int64], nbytes: NDArray[np.int64], out: NDArray[Any]
    ) -> None:
        layout = self._layout
        sample = layout.sample_nbytes
        target = _bytes(out).data
        mapped, data = -1, _NO_BYTES
        apart = (reads.chunk[1:] != reads.chunk[:-1]) | (reads.shard[1:] != reads.shard[:-1])
        edges = [0, *(np.flatnonzero(apart) + 1).tolist(), reads.chunk.size]
        for start, stop in itertools.pairwise(edges):
            shard, chunk = int(reads.shard[start]), int(reads.chunk[start])
            at = int(offset[start])
            if shard != mapped:
                mapped, data = shard, self._files.data(shard)
            encoded = data[at : at + int(nbytes[start])].data
            if layout.chunk_rows == 1 and stop - start == 1:
                place = int(reads.land[start]) * sample
                self._decode(shard, chunk, encoded, target[place : place + sample])
                continue
            if not self._scratch.size:
                self._scratch = np.empty(layout.chunk_rows * sample, np.uint8)
            self._decode(shard, chunk, encoded, self._scratch.data)
            samples = self._scratch.view(layout.dtype).reshape(-1, *layout.sample_shape)
            out[reads.land[start:stop]] = samples[reads.row[start:stop]]

    def _decode(self, shard: int, chunk: int, encoded: memoryview, target: memoryview) -> None:
        layout = self._layout
        began = time.perf_counter()
        try:
            decode_chunk(layout, encoded, target)
        except ValueError as error:
            self._files.check()  # reports a file that was truncated while it was decoded
            first = shard * layout.shard_rows + chunk * layout.chunk_rows
            last = first + layout.chunk_rows - 1
            samples = f"sample {first}" if first == last else f"samples {first} to {last}"
            raise ReadError(
                f"{self._files.path(shard)}: chunk {chunk} ({samples} of "
                f"{self._files.folder.name!r}) is damaged: {error}; restore the file or convert "
                "again"
            ) from error
        self.decode_seconds += time.perf_counter() - began


class RowReader(MappedReader):
    """Copies raw samples, with one call for every run of samples that lie next to each other."""

    def _needed(
        self, reads: Reads, offset: NDArray[np.int64], nbytes: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the range of bytes that is read of each located chunk: that of the sample."""
        sample = self._layout.sample_nbytes
        return offset + reads.row * sample, np.full_like(nbytes, sample)

    def _copy(
        self, reads: Reads, offset: NDArray[np.int64], nbytes: NDArray[np.int64], out: NDArray[Any]
    ) -> None:
        sample = self._layout.sample_nbytes
        needed = self._layout.chunk_rows * sample
        if (nbytes != needed).any():
            wrong = int(np.argmax(nbytes != needed))
            raise ReadError(
                f"{self._files.path(int(reads.shard[wrong]))}: raw chunk {reads.chunk[wrong]} has "
                f"{nbytes[wrong]} bytes, needed {needed}; restore the file or convert again"
            )
        position = offset + reads.row * sample
        target = _bytes(out)
        apart = position[1:] - position[:-1] != sample
        apart |= reads.shard[1:] != reads.shard[:-1]
        apart |= reads.land[1:] - reads.land[:-1] != 1
        first = np.concatenate(([True], apart))
        starts = np.flatnonzero(first)
        run_nbytes = np.diff(starts, append=first.size) * sample
        mapped, data = -1, _NO_BYTES
        for shard, at, place, size in zip(
            reads.shard[first].tolist(),
            position[first].tolist(),
            (reads.land[first] * sample).tolist(),
            run_nbytes.tolist(),
            strict=True,
        ):
            if shard != mapped:
                mapped, data = shard, self._files.data(shard)
            target[place : place + size] = data[at : at + size]


class GatheringReader(RowReader):
    """Copies a batch of raw samples in one call.

    Falls back to :class:`RowReader` once a file turns out to be laid out unlike the others.
    """

    def read_into(self, plan: ReadPlan, out: NDArray[Any]) -> None:
        """Read the samples of a batch; see :meth:`FieldReader.read_into`."""
        if not self._gather(plan.ids, out):
            super().read_into(plan, out)

    def _gather(self, ids: NDArray[np.int64], out: NDArray[Any]) -> bool:
        files = self._files
        if files.mapped_shards is None:
            return False
        shards = np.flatnonzero(np.bincount(ids // self._layout.shard_rows))
        files.read_tables(shards)
        mapped_shards = files.mapped_shards
        if mapped_shards is None:  # one of these files is unlike the others
            return False
        numbers = shards.tolist()
        if not GUARDED:
            files.require_whole(numbers)
        absent = mapped_shards.gather(
            ids, _bytes(out).reshape(ids.size, self._layout.sample_nbytes)
        )
        if truncated := mapped_shards.take_truncated():
            files.refuse(truncated)
        files.require_whole(numbers)
        if absent.any():
            out[absent] = self._layout.fill
        return True


def _bytes(out: NDArray[Any]) -> NDArray[np.uint8]:
    return out.view(np.uint8).reshape(-1)
