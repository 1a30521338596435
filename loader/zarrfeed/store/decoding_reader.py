"""Read compressed samples: every chunk that is needed is decoded once, in place if possible."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import ReadError, look_up
from zarrfeed.store.codecs import decode_chunk
from zarrfeed.store.decoded_chunks import DecodedChunks
from zarrfeed.store.mapped_reader import MappedReader, as_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from zarrfeed.store.box_plan import BoxPlan
    from zarrfeed.store.read_plan import ReadPlan, Reads
    from zarrfeed.store.shard_files import ShardFiles
    from zarrfeed.store.tile_grid import TilePart

_NO_BYTES = np.empty(0, np.uint8)


class DecodingReader(MappedReader):
    """Decodes every chunk once, straight into its row if it is one sample.

    Parameters
    ----------
    files
        The shards of the array.
    cache_nbytes
        Bytes of decoded chunks to keep for the next batches and boxes. Files are still checked when
        a chunk is used again.
    """

    def __init__(self, files: ShardFiles, *, cache_nbytes: int = 0) -> None:
        super().__init__(files)
        self._may_change: Callable[[], bool] | None = None
        self._copy_of_chunk = _NO_BYTES
        layout = self._layout
        self._chunks_kept = DecodedChunks(
            chunk_nbytes=layout.chunk_rows * layout.sample_nbytes, cache_nbytes=cache_nbytes
        )

    def read_into(self, plan: ReadPlan, out: NDArray[Any]) -> None:
        """Read the samples of a batch; see :meth:`FieldReader.read_into`."""
        try:
            super().read_into(plan, out)
        except BaseException:  # the file may have been truncated while a chunk was decoded
            self._chunks_kept.clear()
            raise

    def read_box_into(self, plan: BoxPlan, out: NDArray[Any]) -> None:
        """Read a box of a case; see :meth:`FieldReader.read_box_into`."""
        try:
            super().read_box_into(plan, out)
        except BaseException:
            self._chunks_kept.clear()
            raise

    def expect_changes(self, may_change: Callable[[], bool]) -> None:
        """Copy chunks before they are decoded, while `may_change()`.

        Blosc reads some bytes twice. If they differed, it could write anywhere.
        """
        self._may_change = may_change

    def forget(self, shards: Iterable[int]) -> None:
        """Drop what was kept of shards, and all decoded chunks."""
        super().forget(shards)
        self._chunks_kept.clear()

    def close(self) -> None:
        """Close the files."""
        super().close()
        self._chunks_kept.clear()

    def _copy(
        self, reads: Reads, offset: NDArray[np.int64], nbytes: NDArray[np.int64], out: NDArray[Any]
    ) -> None:
        layout = self._layout
        sample = layout.sample_nbytes
        target = as_bytes(out).data
        for start, stop, shard, chunk, encoded in self._chunks(reads, offset, nbytes):
            if layout.chunk_rows == 1 and stop - start == 1:
                place = int(reads.land[start]) * sample
                self._decode(shard, chunk, encoded, target[place : place + sample])
                continue
            samples = self._decoded(shard, chunk, encoded)
            out[reads.land[start:stop]] = samples[reads.row[start:stop]]

    def _copy_parts(
        self,
        reads: Reads,
        offset: NDArray[np.int64],
        nbytes: NDArray[np.int64],
        parts: Sequence[TilePart],
        out: NDArray[Any],
    ) -> None:
        layout = self._layout
        for start, stop, shard, chunk, encoded in self._chunks(reads, offset, nbytes):
            wanted = [parts[part] for part in reads.land[start:stop].tolist()]
            if layout.chunk_rows == 1 and len(wanted) == 1 and not self._chunks_kept.keeps:
                target = out[wanted[0].lands]
                # Steps are positive, so that nothing else has this shape.
                if target.shape == layout.sample_shape and target.flags.c_contiguous:
                    self._decode(shard, chunk, encoded, as_bytes(target).data)
                    continue
            samples = self._decoded(shard, chunk, encoded)
            for row, part in zip(reads.row[start:stop].tolist(), wanted, strict=True):
                out[part.lands] = samples[(row, *part.inside)]

    def _chunks(
        self, reads: Reads, offset: NDArray[np.int64], nbytes: NDArray[np.int64]
    ) -> Iterator[tuple[int, int, int, int, memoryview]]:
        """Yield each chunk once: which reads need it, its shard, its number and its bytes."""
        mapped, data = -1, _NO_BYTES
        apart = (reads.chunk[1:] != reads.chunk[:-1]) | (reads.shard[1:] != reads.shard[:-1])
        edges = [0, *(np.flatnonzero(apart) + 1).tolist(), reads.chunk.size]
        for start, stop in itertools.pairwise(edges):
            shard, chunk = int(reads.shard[start]), int(reads.chunk[start])
            at = int(offset[start])
            if shard != mapped:
                mapped, data = shard, self.files.data(shard)
            encoded = data[at : at + int(nbytes[start])]
            if self._may_change is not None and self._may_change():
                encoded = self._copied(encoded)
            yield start, stop, shard, chunk, encoded.data

    def _copied(self, encoded: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a copy. The next call reuses its memory."""
        if self._copy_of_chunk.size < encoded.size:
            self._copy_of_chunk = np.empty(encoded.size, np.uint8)
        copy = self._copy_of_chunk[: encoded.size]
        copy[:] = encoded
        return copy

    def _decoded(self, shard: int, chunk: int, encoded: memoryview) -> NDArray[Any]:
        """Return a decoded chunk. The next call may reuse its memory."""
        layout, kept = self._layout, self._chunks_kept
        memory = kept.find((shard, chunk))
        if memory is None:
            memory = kept.memory()
            self._decode(shard, chunk, encoded, memory.data)
            kept.keep((shard, chunk), memory)
        return memory.view(layout.dtype).reshape(-1, *layout.sample_shape)

    def _decode(self, shard: int, chunk: int, encoded: memoryview, target: memoryview) -> None:
        layout = self._layout
        began = time.perf_counter()
        try:
            decode_chunk(layout, encoded, target)
        except ValueError as error:
            self.files.check()  # reports a file that was truncated while it was decoded
            first = self.files.first_sample(shard) + chunk * layout.chunk_rows
            last = first + layout.chunk_rows - 1
            samples = f"sample {first}" if first == last else f"samples {first} to {last}"
            raise ReadError(
                f"{self.files.path(shard)}: chunk {chunk} ({samples} of "
                f"{self.files.folder.name!r}) is damaged: {error}; restore the file or convert "
                "again"
                f"{look_up('damaged-store')}"
            ) from error
        self.decode_seconds += time.perf_counter() - began
