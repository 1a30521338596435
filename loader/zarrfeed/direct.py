"""Read the chunks of one array straight from its files into the batch's memory.

Covers regular grids along axis 0 with raw, blosc, zstd or gzip chunks, sharded or not; the
schema says for every other array why it does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from zarrfeed.codecs import CHECKSUM_NBYTES, decode_into, strip_checksum
from zarrfeed.errors import ReadError
from zarrfeed.shards import ChunkTable, ShardFiles

if TYPE_CHECKING:
    from pathlib import Path

    from zarrfeed.plan import Reads
    from zarrfeed.schema import ArrayLayout

# Some of a batch's reads: usually a range, an index array where chunks between are missing.
_Part: TypeAlias = slice | NDArray[np.int64]


class DirectField:
    """Reads one array.

    Not thread-safe: every worker has its own.

    Parameters
    ----------
    folder
        Of the array.
    layout
        Its description; ``layout.indirect`` must be None.
    required
        Whether a missing shard file is an error rather than the fill value.
    open_files
        Descriptors to keep open at most.
    """

    def __init__(
        self, folder: Path, layout: ArrayLayout, *, required: bool, open_files: int
    ) -> None:
        self._folder = folder
        self._layout = layout
        self._files = ShardFiles(folder, layout, required=required, open_files=open_files)
        # Ranges of a raw chunk without a checksum can be read by themselves.
        self._by_row = layout.compression == "raw" and not layout.checksum
        self._encoded = memoryview(bytearray())
        self._chunk = np.empty(0, np.uint8)

    def read_into(self, reads: Reads, out: NDArray[Any]) -> None:
        """Fill ``out[reads.land]`` with the samples of `reads`.

        Parameters
        ----------
        reads
            In storage order.
        out
            (b, *sample_shape), C-contiguous, of the array's dtype.

        Raises
        ------
        ReadError
            A shard is missing, short or damaged; the message names file, field and samples.
        """
        target = memoryview(out.view(np.uint8).reshape(-1))
        cuts = np.flatnonzero(np.diff(reads.shard)) + 1
        for start, stop in _ranges(cuts, reads.shard.size):
            shard = int(reads.shard[start])
            part: _Part = slice(start, stop)
            table = self._files.table(shard)
            if table is None:
                out[reads.land[part]] = self._layout.fill
                continue
            chunk = reads.chunk[part]
            absent = table.offset[chunk] < 0
            if absent.any():
                out[reads.land[part][absent]] = self._layout.fill
                part = np.arange(start, stop)[~absent]
            if self._by_row:
                self._read_rows(shard, table, reads, part, target)
            else:
                self._read_chunks(shard, table, reads, part, out, target)

    def close(self) -> None:
        """Close the files."""
        self._files.close()

    def _read_rows(
        self, shard: int, table: ChunkTable, reads: Reads, part: _Part, target: memoryview
    ) -> None:
        """Read raw samples, one call for every run of neighbours on disk."""
        nbytes = self._layout.sample_nbytes
        chunk, land = reads.chunk[part], reads.land[part]
        self._check_raw(shard, table, chunk)
        position = table.offset[chunk] + reads.row[part] * nbytes
        starts = (land * nbytes).tolist()
        cuts = np.flatnonzero(np.diff(position) != nbytes) + 1
        for start, stop in _ranges(cuts, position.size):
            rows = [target[at : at + nbytes] for at in starts[start:stop]]
            self._files.read_into(shard, rows, int(position[start]))

    def _check_raw(self, shard: int, table: ChunkTable, chunk: NDArray[np.int64]) -> None:
        needed = self._layout.chunk_rows * self._layout.sample_nbytes
        wrong = table.nbytes[chunk] != needed
        if wrong.any():
            first = int(chunk[np.argmax(wrong)])
            raise ReadError(
                f"{self._files.path(shard)}: raw chunk {first} has {int(table.nbytes[first])} "
                f"bytes, needed {needed}; restore the file or convert again"
            )

    def _read_chunks(
        self,
        shard: int,
        table: ChunkTable,
        reads: Reads,
        part: _Part,
        out: NDArray[Any],
        target: memoryview,
    ) -> None:
        """Decode every chunk once: into its row where it is one sample, else by a scratch chunk."""
        layout = self._layout
        nbytes = layout.sample_nbytes
        chunk, row, land = reads.chunk[part], reads.row[part], reads.land[part]
        cuts = np.flatnonzero(np.diff(chunk)) + 1
        for start, stop in _ranges(cuts, chunk.size):
            number = int(chunk[start])
            if layout.chunk_rows == 1 and stop - start == 1:
                at = int(land[start]) * nbytes
                self._decode(shard, table, number, target[at : at + nbytes])
                continue
            scratch = self._scratch(layout.chunk_rows * nbytes)
            self._decode(shard, table, number, memoryview(scratch))
            samples = scratch.view(layout.dtype).reshape(layout.chunk_rows, *layout.sample_shape)
            out[land[start:stop]] = samples[row[start:stop]]

    def _decode(self, shard: int, table: ChunkTable, chunk: int, target: memoryview) -> None:
        layout = self._layout
        source = self._encoded_buffer(int(table.nbytes[chunk]))
        self._files.read_into(shard, [source], int(table.offset[chunk]))
        try:
            if layout.checksum:
                if source.nbytes < CHECKSUM_NBYTES:
                    raise ValueError(f"it has {source.nbytes} bytes")
                source = strip_checksum(source)
            decode_into(layout.compression, source, target)
        except ValueError as error:
            first = shard * layout.shard_rows + chunk * layout.chunk_rows
            last = first + layout.chunk_rows - 1
            samples = f"sample {first}" if first == last else f"samples {first} to {last}"
            raise ReadError(
                f"{self._files.path(shard)}: chunk {chunk} ({samples} of {self._folder.name!r}) is "
                f"damaged: {error}; restore the file or convert again"
            ) from error

    def _encoded_buffer(self, nbytes: int) -> memoryview:
        if self._encoded.nbytes < nbytes:
            self._encoded = memoryview(bytearray(nbytes))
        return self._encoded[:nbytes]

    def _scratch(self, nbytes: int) -> NDArray[np.uint8]:
        if self._chunk.size != nbytes:
            self._chunk = np.empty(nbytes, np.uint8)
        return self._chunk


def _ranges(cuts: NDArray[np.int64], size: int) -> list[tuple[int, int]]:
    """Turn the places where a run ends into (start, stop) pairs that cover ``0 … size``."""
    edges = [0, *cuts.tolist(), size]
    return [(start, stop) for start, stop in zip(edges, edges[1:], strict=False) if stop > start]
