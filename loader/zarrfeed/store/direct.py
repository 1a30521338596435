"""Read the chunks of one array straight from its files into the batch's memory.

Covers regular grids along axis 0 with raw, blosc, zstd or gzip chunks, sharded or not; the
schema says for every other array why it does not.
"""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import ReadError
from zarrfeed.store.codecs import decode_into, strip_checksum
from zarrfeed.store.shard_files import ShardFiles

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from zarrfeed.store.files import Stamp
    from zarrfeed.store.read_plan import Reads
    from zarrfeed.store.schema import ArrayLayout


# Between two ranges, so many bytes take a disk no longer than another request does; and to advise
# each of a thousand small samples takes longer than to read them (measured).
_NEAR_NBYTES = 64 << 10
_NO_BYTES = np.empty(0, np.uint8)


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
    stamp
        See :func:`zarrfeed.store.files.require_same`.
    open_files
        Descriptors to keep open at most.

    Attributes
    ----------
    decode_seconds
        Spent in codecs so far.
    """

    def __init__(
        self,
        folder: Path,
        layout: ArrayLayout,
        *,
        required: bool,
        stamp: Stamp | None,
        open_files: int,
    ) -> None:
        self._folder = folder
        self._layout = layout
        self._files = ShardFiles(
            folder, layout, required=required, stamp=stamp, open_files=open_files
        )
        # Ranges of a raw chunk without a checksum can be read by themselves.
        self._by_row = layout.compression == "raw" and not layout.checksum
        self._chunk = np.empty(0, np.uint8)
        self.decode_seconds = 0.0

    def gather(self, ids: NDArray[np.int64], out: NDArray[Any]) -> bool:
        """Copy raw samples in one call, where their files allow it.

        Parameters
        ----------
        ids
            (b,) which.
        out
            (b, *sample_shape), C-contiguous, of the array's dtype.

        Returns
        -------
        bool
            False, and nothing is copied, where they do not: then :meth:`read_into` reads them.

        Raises
        ------
        ReadError
            A shard is missing, short or damaged; the message names the file.
        """
        rows = _bytes(out).reshape(ids.size, self._layout.sample_nbytes)
        absent = self._files.gather(ids, rows)
        if absent is None:
            return False
        if absent.any():
            out[absent] = self._layout.fill
        return True

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
        offset, nbytes = self._files.locate(reads.shard, reads.chunk)
        absent = offset < 0
        if absent.any():
            out[reads.land[absent]] = self._layout.fill
            if absent.all():
                return
            reads, offset, nbytes = reads.where(~absent), offset[~absent], nbytes[~absent]
        if self._by_row:
            self._read_rows(reads, offset, nbytes, out)
        else:
            self._read_chunks(reads, offset, nbytes, out)
        self._files.check()

    def advise(self, reads: Reads) -> None:
        """Ask the kernel to read the chunks of `reads`, which will be needed soon.

        Raises
        ------
        ReadError
            A shard is missing, short or damaged.
        """
        offset, nbytes = self._files.locate(reads.shard, reads.chunk)
        written = offset >= 0
        if self._by_row:
            sample = self._layout.sample_nbytes
            offset, nbytes = offset + reads.row * sample, np.full_like(nbytes, sample)
        for shard, start, end in near_together(
            reads.shard[written], offset[written], (offset + nbytes)[written]
        ):
            self._files.advise(shard, start, end - start)

    def close(self) -> None:
        """Close the files."""
        self._files.close()

    def _read_rows(
        self, reads: Reads, offset: NDArray[np.int64], nbytes: NDArray[np.int64], out: NDArray[Any]
    ) -> None:
        """Copy raw samples that cannot be gathered: one call for every run of neighbours."""
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

    def _read_chunks(
        self, reads: Reads, offset: NDArray[np.int64], nbytes: NDArray[np.int64], out: NDArray[Any]
    ) -> None:
        """Decode every chunk once: into its row where it is one sample, else by a scratch chunk."""
        layout = self._layout
        sample = layout.sample_nbytes
        target = _bytes(out).data
        mapped, data = -1, _NO_BYTES
        apart = (reads.chunk[1:] != reads.chunk[:-1]) | (reads.shard[1:] != reads.shard[:-1])
        for start, stop in _runs(apart):
            shard, chunk = int(reads.shard[start]), int(reads.chunk[start])
            at = int(offset[start])
            if shard != mapped:
                mapped, data = shard, self._files.data(shard)
            encoded = data[at : at + int(nbytes[start])].data
            if layout.chunk_rows == 1 and stop - start == 1:
                place = int(reads.land[start]) * sample
                self._decode(shard, chunk, encoded, target[place : place + sample])
                continue
            scratch = self._scratch(layout.chunk_rows * sample)
            self._decode(shard, chunk, encoded, scratch.data)
            samples = scratch.view(layout.dtype).reshape(layout.chunk_rows, *layout.sample_shape)
            out[reads.land[start:stop]] = samples[reads.row[start:stop]]

    def _decode(self, shard: int, chunk: int, encoded: memoryview, target: memoryview) -> None:
        layout = self._layout
        began = time.perf_counter()
        try:
            source = strip_checksum(encoded) if layout.checksum else encoded
            decode_into(layout.compression, source, target)
        except ValueError as error:
            self._files.check()  # it may have been cut under the decoder
            first = shard * layout.shard_rows + chunk * layout.chunk_rows
            last = first + layout.chunk_rows - 1
            samples = f"sample {first}" if first == last else f"samples {first} to {last}"
            raise ReadError(
                f"{self._files.path(shard)}: chunk {chunk} ({samples} of {self._folder.name!r}) is "
                f"damaged: {error}; restore the file or convert again"
            ) from error
        self.decode_seconds += time.perf_counter() - began

    def _scratch(self, nbytes: int) -> NDArray[np.uint8]:
        if self._chunk.size != nbytes:
            self._chunk = np.empty(nbytes, np.uint8)
        return self._chunk


def near_together(
    shard: NDArray[np.int64], start: NDArray[np.int64], end: NDArray[np.int64]
) -> list[tuple[int, int, int]]:
    """Join ranges of bytes that lie near each other.

    Parameters
    ----------
    shard, start, end
        (n,) each: the ranges, by shard.

    Returns
    -------
    list of (shard, start, end)

    Examples
    --------
    >>> near_together(np.array([0, 0, 1]), np.array([0, 70, 0]), np.array([9, 79, 9]))
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


def _bytes(out: NDArray[Any]) -> NDArray[np.uint8]:
    return out.view(np.uint8).reshape(-1)


def _runs(apart: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Turn "read i+1 does not go on from read i" into (start, stop) of every run of reads.

    >>> _runs(np.array([False, True]))
    [(0, 2), (2, 3)]
    """
    edges = [0, *(np.flatnonzero(apart) + 1).tolist(), apart.size + 1]
    return list(itertools.pairwise(edges))
