"""Read raw samples: copy them out of the mapped files, in as few calls as possible."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import ReadError, look_up
from zarrfeed.store.box_runs import box_runs
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
                mapped, data = shard, self.files.data(shard)
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
                mapped, data = shard, self.files.data(shard)
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
                f"{self.files.path(int(reads.shard[wrong]))}: raw chunk {reads.chunk[wrong]} has "
                f"{nbytes[wrong]} bytes, needed {needed}; restore the file or convert again"
                f"{look_up('damaged-store')}"
            )
        return offset + reads.row * sample


class GatheringReader(RowReader):
    """Copies a batch of raw samples in one call.

    Falls back to :class:`RowReader` once a file turns out to be laid out unlike the others.
    """

    def read_into(self, plan: ReadPlan, out: NDArray[Any]) -> None:
        """Read the samples of a batch; see :meth:`FieldReader.read_into`."""
        ids, files = plan.ids, self.files
        if files.mapped_shards is not None and plan.land is None:
            shards = np.flatnonzero(np.bincount(ids // self._layout.shard_rows))
            files.read_tables(shards)
            rows = as_bytes(out).reshape(ids.size, self._layout.sample_nbytes)
            if self._gather(shards.tolist(), lambda mapped: self._copy_rows(mapped, ids, rows)):
                return
        super().read_into(plan, out)

    def read_box_into(self, plan: BoxPlan, out: NDArray[Any]) -> None:
        """Read a box of a case; see :meth:`FieldReader.read_box_into`."""
        if not plan.rows:
            return
        # Plain numbers: a box has few tiles, and copying it takes hardly longer than NumPy's calls.
        shard_rows = self._layout.shard_rows
        shards = sorted({row // shard_rows for row in plan.rows})
        for shard in shards:
            self.files.read_table(shard)
        if not self._gather(shards, lambda mapped: self._copy_box(mapped, plan, out)):
            super().read_box_into(plan, out)

    def _copy_rows(
        self, mapped: MappedShards, ids: NDArray[np.int64], rows: NDArray[np.uint8]
    ) -> None:
        absent = mapped.gather(ids, rows)
        if absent.any():
            rows.view(self._layout.dtype)[absent] = self._layout.fill

    def _copy_box(self, mapped: MappedShards, plan: BoxPlan, out: NDArray[Any]) -> None:
        layout = self._layout
        positions = iter(mapped.positions(plan.rows))
        index: tuple[int | slice, ...]
        if plan.lines is None:
            tiles = mapped.samples.view(layout.dtype).reshape(-1, *layout.sample_shape)
            for position, (_, inside, lands) in zip(positions, plan.parts, strict=True):
                index = (position, *inside)
                out[lands] = layout.fill if position < 0 else tiles[index]
            return
        runs = box_runs(layout, mapped.samples, plan.lines, out)
        for inside, lands in plan.lines.lead:
            for source, target, across in runs:
                position = next(positions)
                if position < 0:
                    out[(*lands, across)] = layout.fill
                else:
                    index = (position, *inside)
                    target[lands] = source[index]

    def _gather(self, shards: list[int], copy: Callable[[MappedShards], None]) -> bool:
        """Copy samples out of all files together, whose tables are known; False if they differ."""
        files = self.files
        mapped = files.mapped_shards
        if mapped is None:  # one of the files is unlike the others
            return False
        if not GUARDED:
            files.require_whole(shards)
        copy(mapped)
        if truncated := mapped.take_truncated():
            files.refuse(truncated)
        files.require_whole(shards)
        return True
