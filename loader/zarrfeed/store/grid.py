"""Read an array whose chunks are no whole samples, or hold them turned or in another byte order.

Chunk by chunk: found in its file, decoded, put in order, and the part that is wanted copied. Slower
than reading samples straight from the files, and careful in the same way: what a file or an index
claims is compared with what the array declares before memory is taken.
"""

from __future__ import annotations

import itertools
import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import ReadError
from zarrfeed.store.chunk_table import ENTRY_NBYTES, read_table
from zarrfeed.store.codecs import CHECKSUM_NBYTES, decode_into, strip_checksum
from zarrfeed.store.files import open_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from zarrfeed.store.read_plan import Reads
    from zarrfeed.store.schema import ArrayLayout

_Place = tuple[int, ...]
_KEPT_TABLES = 64  # of shards, so that each is not read again for every chunk
# By how much data that cannot be compressed may grow.
_OVERHEAD = 64 << 10


class GridField:
    """Reads one array.

    Not thread-safe: every worker has its own.

    Parameters
    ----------
    folder
        Of the array.
    layout
        Its description; ``layout.foreign`` must be False.
    required
        Whether a missing file is an error rather than the fill value.

    Attributes
    ----------
    decode_seconds
        Always 0: it is not told from reading.
    """

    def __init__(self, folder: Path, layout: ArrayLayout, *, required: bool) -> None:
        self._folder = folder
        self._within = os.path.realpath(folder.parent)
        self._layout = layout
        self._required = required
        self._tables: dict[_Place, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        self.decode_seconds = 0.0

    def gather(self, ids: NDArray[np.int64], out: NDArray[Any]) -> bool:  # noqa: ARG002
        """Leave it to :meth:`read_into`."""
        return False

    def read_into(self, reads: Reads, out: NDArray[Any]) -> None:
        """Fill ``out[reads.land]`` with the samples of `reads`.

        Parameters
        ----------
        reads
            In storage order.
        out
            (b, *sample_shape), of the array's dtype.

        Raises
        ------
        ReadError
            A file is missing, short or damaged; the message names it.
        """
        chunk, row = np.divmod(reads.sample, self._layout.chunk_rows)
        for first in np.unique(chunk).tolist():
            here = chunk == first
            for rest, box in self._boxes():
                values = self._chunk((first, *rest))
                place = (reads.land[here], *box)
                if values is None:
                    out[place] = self._layout.fill
                else:
                    within = tuple(slice(0, part.stop - part.start) for part in box)
                    out[place] = values[(row[here], *within)]

    def advise(self, reads: Reads) -> None:
        """Nothing: where chunks lie is not known before."""

    def close(self) -> None:
        """Nothing is held open."""

    def _boxes(self) -> Iterator[tuple[_Place, tuple[slice, ...]]]:
        """Go through the chunks of a sample: the place of each, and its part of the sample."""
        layout = self._layout
        axes = list(zip(layout.shape[1:], layout.chunk_shape[1:], strict=True))
        for place in itertools.product(*(range(-(-extent // step)) for extent, step in axes)):
            yield (
                place,
                tuple(
                    slice(number * step, min((number + 1) * step, extent))
                    for number, (extent, step) in zip(place, axes, strict=True)
                ),
            )

    def _chunk(self, place: _Place) -> NDArray[Any] | None:
        """Read and decode a chunk; None where it was never written."""
        layout = self._layout
        ratio = [
            shard // chunk
            for shard, chunk in zip(layout.shard_shape, layout.chunk_shape, strict=True)
        ]
        file = tuple(number // each for number, each in zip(place, ratio, strict=True))
        path = self._folder / layout.file_name(file)
        try:
            descriptor = open_file(path, within=self._within)
        except FileNotFoundError as error:
            if self._required:
                raise ReadError(
                    f"{path}: the shard is missing; restore it or convert again"
                ) from error
            return None
        try:
            inside = [number % each for number, each in zip(place, ratio, strict=True)]
            encoded = self._encoded(descriptor, file, inside, ratio)
            return None if encoded is None else self._decoded(encoded)
        except ValueError as error:
            raise ReadError(
                f"{path}: chunk {place} of {self._folder.name!r} is damaged: {error}; restore the "
                "file or convert again"
            ) from error
        finally:
            os.close(descriptor)

    def _encoded(
        self, descriptor: int, file: _Place, inside: list[int], ratio: list[int]
    ) -> bytes | None:
        size = os.fstat(descriptor).st_size
        if self._layout.index is None:
            return self._read(descriptor, 0, size)
        table = self._tables.get(file)
        if table is None:
            table = self._tables[file] = self._table(descriptor, size, math.prod(ratio))
            if len(self._tables) > _KEPT_TABLES:  # the one read first goes first
                self._tables.pop(next(iter(self._tables)))
        number = int(np.ravel_multi_index(inside, ratio))
        offset, nbytes = int(table[0][number]), int(table[1][number])
        return None if offset < 0 else self._read(descriptor, offset, nbytes)

    def _table(
        self, descriptor: int, size: int, chunks: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        index = self._layout.index
        assert index is not None
        length = chunks * ENTRY_NBYTES + (CHECKSUM_NBYTES if index.checksum else 0)
        if length > size:
            raise ValueError(f"the file has {size} bytes, its index alone needs {length}")
        stored = os.pread(descriptor, length, size - length if index.at_end else 0)
        return read_table(np.frombuffer(stored, np.uint8), index, chunks=chunks, size=size)

    def _read(self, descriptor: int, offset: int, nbytes: int) -> bytes:
        allowed = self._nbytes + self._nbytes // 4 + _OVERHEAD
        if nbytes > allowed:
            raise ValueError(f"it has {nbytes:,} bytes, at most {allowed:,} make {self._nbytes:,}")
        found = os.pread(descriptor, nbytes, offset)
        if len(found) != nbytes:
            raise ValueError(f"it has {len(found)} of {nbytes} bytes: the file was truncated")
        return found

    def _decoded(self, encoded: bytes) -> NDArray[Any]:
        layout = self._layout
        target = np.empty(self._nbytes, np.uint8)
        source = memoryview(encoded)
        if layout.checksum:
            source = strip_checksum(source)
        decode_into(layout.compression, source, target.data)
        values = target.view(layout.dtype.newbyteorder() if layout.swapped else layout.dtype)
        if layout.order is None:
            return values.reshape(layout.chunk_shape)
        stored = values.reshape([layout.chunk_shape[axis] for axis in layout.order])
        return stored.transpose(np.argsort(layout.order))

    @property
    def _nbytes(self) -> int:
        return math.prod(self._layout.chunk_shape) * self._layout.dtype.itemsize
