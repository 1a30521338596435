"""Read raw samples: copy them out of the mapped files, in as few calls as possible."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import ReadError
from zarrfeed.store.mapped_reader import MappedReader, as_bytes
from zarrfeed.store.truncation import GUARDED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from zarrfeed.store.box_plan import BoxPlan
    from zarrfeed.store.mapped_shards import MappedShards
    from zarrfeed.store.read_plan import ReadPlan, Reads
    from zarrfeed.store.tile_grid import TilePart

_NO_BYTES = np.empty(0, np.uint8)


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
        position = self._positions(reads, offset, nbytes)
        target = as_bytes(out)
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

    def _copy_parts(
        self,
        reads: Reads,
        offset: NDArray[np.int64],
        nbytes: NDArray[np.int64],
        parts: Sequence[TilePart],
        out: NDArray[Any],
    ) -> None:
        layout = self._layout
        position = self._positions(reads, offset, nbytes)
        mapped, data = -1, _NO_BYTES
        for shard, at, land in zip(
            reads.shard.tolist(), position.tolist(), reads.land.tolist(), strict=True
        ):
            if shard != mapped:
                mapped, data = shard, self._files.data(shard)
            tile: NDArray[Any] = np.ndarray(layout.sample_shape, layout.dtype, data, at)
            part = parts[land]
            out[part.lands] = tile[part.inside]

    def _positions(
        self, reads: Reads, offset: NDArray[np.int64], nbytes: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return where the samples begin in their files."""
        sample = self._layout.sample_nbytes
        needed = self._layout.chunk_rows * sample
        if (nbytes != needed).any():
            wrong = int(np.argmax(nbytes != needed))
            raise ReadError(
                f"{self._files.path(int(reads.shard[wrong]))}: raw chunk {reads.chunk[wrong]} has "
                f"{nbytes[wrong]} bytes, needed {needed}; restore the file or convert again"
            )
        return offset + reads.row * sample


class GatheringReader(RowReader):
    """Copies a batch of raw samples in one call.

    Falls back to :class:`RowReader` once a file turns out to be laid out unlike the others.
    """

    def read_into(self, plan: ReadPlan, out: NDArray[Any]) -> None:
        """Read the samples of a batch; see :meth:`FieldReader.read_into`."""
        rows = as_bytes(out).reshape(plan.ids.size, self._layout.sample_nbytes)
        absent = self._gather(plan.ids, lambda shards: shards.gather(plan.ids, rows))
        if absent is None:
            super().read_into(plan, out)
        elif absent.any():
            out[absent] = self._layout.fill

    def read_box_into(self, plan: BoxPlan, out: NDArray[Any]) -> None:
        """Read a box of a case; see :meth:`FieldReader.read_box_into`."""
        absent = self._gather(plan.tiles.ids, lambda shards: self._copy_box(shards, plan, out))
        if absent is None:
            super().read_box_into(plan, out)

    def _copy_box(
        self, shards: MappedShards, plan: BoxPlan, out: NDArray[Any]
    ) -> NDArray[np.bool_]:
        layout = self._layout
        tiles = shards.samples.view(layout.dtype).reshape(-1, *layout.sample_shape)
        positions = shards.positions(plan.tiles.ids)
        for part, position in zip(plan.parts, positions.tolist(), strict=True):
            if position < 0:
                out[part.lands] = layout.fill
            else:
                out[part.lands] = tiles[(position, *part.inside)]
        return positions < 0

    def _gather(
        self, ids: NDArray[np.int64], copy: Callable[[MappedShards], NDArray[np.bool_]]
    ) -> NDArray[np.bool_] | None:
        """Call a function that copies samples out of all files; None if they are not alike."""
        files = self._files
        if files.mapped_shards is None:
            return None
        shards = np.flatnonzero(np.bincount(ids // self._layout.shard_rows))
        files.read_tables(shards)
        mapped_shards = files.mapped_shards
        if mapped_shards is None:  # one of these files is unlike the others
            return None
        numbers = shards.tolist()
        if not GUARDED:
            files.require_whole(numbers)
        absent = copy(mapped_shards)
        if truncated := mapped_shards.take_truncated():
            files.refuse(truncated)
        files.require_whole(numbers)
        return absent
