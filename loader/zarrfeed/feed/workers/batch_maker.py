"""How is a slot filled? Every kind of worker runs this code."""

from __future__ import annotations

import resource
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.feed.slot import SlotLayout
from zarrfeed.feed.workers.draw_names import DrawNames
from zarrfeed.feed.workers.patch_reader import PatchPlace, PatchReader
from zarrfeed.feed.workers.sample_reader import SampleReader
from zarrfeed.feed.workers.transform_calls import call_transform, copy_results, required
from zarrfeed.store.files import require_all_same

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed.arrays import Arrays
    from zarrfeed.feed.arena import Arena
    from zarrfeed.feed.slot import Slot, Spec
    from zarrfeed.feed.workers import Task
    from zarrfeed.feed.workers.batch_spec import BatchSpec, Named, PatchSpec
    from zarrfeed.order.draws import Draws
    from zarrfeed.store.split import Split

_USAGE_OF = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)  # per thread only on Linux


class BatchMaker:
    """Fills slots with the batches of one spec.

    Not thread-safe: every worker has its own.

    Parameters
    ----------
    spec
        What to read, and what to make of it.

    Raises
    ------
    StoreError, ReadError
        The split cannot be opened, or was replaced.
    """

    def __init__(self, spec: BatchSpec) -> None:
        self._spec = spec
        self._split = spec.split
        require_all_same(spec.split.path, spec.stamps)  # the split may have been replaced
        self._fields = [field.name for field in spec.source]
        self._names = [array.name for array in spec.layout.specs]
        self._reader = _open_reader(
            self._split, self._fields, spec.patches, open_files=spec.open_files
        )
        self._scratch: Arrays | None = None
        if spec.transform is not None or spec.batch_transform is not None:
            scratch = SlotLayout.of(spec.source, spec.layout.rows)
            self._scratch = scratch.new_slot().arrays

    def do(self, task: Task, arena: Arena) -> None:
        """Fill the slot of a task and mark it as done. Raises the errors of :meth:`fill`."""
        slot = arena.slot(task.slot)
        self.fill(slot, rows=task.rows, epoch=task.epoch, batch=task.batch)
        slot.done[0] = task.number  # lets the parent of a worker process skip reading the reply

    def fill(self, slot: Slot, *, rows: int, epoch: int, batch: int) -> None:
        """Fill a slot that already contains the draws.

        Parameters
        ----------
        slot
            A slot with the layout of the spec.
        rows
            Number of samples.
        epoch, batch
            Numbers of the epoch and of the batch.

        Raises
        ------
        ReadError
            The store could not be read.
        WorkerError
            A transform raised, or returned another shape or dtype than for the first sample.
        """
        draws = slot.draws[:rows]
        if slot.prefetched[0]:
            self._reader.prefetch(slot.prefetch_draws[: slot.prefetched[0]])
        arrays = dict(zip(self._names, slot.first_rows(rows), strict=True))
        if self._scratch is None:
            sources = tuple(arrays[name] for name in self._fields)
        else:
            sources = tuple(array[:rows] for array in self._scratch)
        began, decoding, faults = time.perf_counter(), self._reader.decode_seconds, _disk_reads()
        self._reader.read_into(draws, sources)
        decoded = self._reader.decode_seconds - decoding
        read = time.perf_counter()
        if self._scratch is not None:
            made = {name: arrays[name] for name in self._names if name not in self._spec.added}
            named = dict(zip(self._fields, sources, strict=True))
            self._transform(draws, named, made, epoch=epoch, batch=batch)
        for name, mask in self._spec.added.items():
            if mask is None:
                arrays[name].fill(1)  # the stream sets the weights of padding to 0
            else:
                assert self._spec.weights is not None
                np.take(self._spec.weights, arrays[mask], out=arrays[name], mode="clip")
        transformed = time.perf_counter() - read
        slot.spent[:] = read - began - decoded, decoded, transformed, _disk_reads() - faults

    def places(self, draws: Draws) -> list[PatchPlace]:
        """Return where patches lie."""
        assert isinstance(self._reader, PatchReader)
        return self._reader.places(draws)

    def close(self) -> None:
        """Close the store's files."""
        self._reader.close()

    def _transform(
        self, draws: Draws, sources: Named, made: Named, *, epoch: int, batch: int
    ) -> None:
        """Call the user's functions on `sources`, and copy their results to `made`."""
        spec = self._spec
        arrays = sources
        if spec.transform is not None:
            # A batch transform takes results of any shape, so collect them in new arrays.
            into = made if spec.batch_transform is None else None
            arrays = self._transform_samples(draws, sources, into, epoch=epoch)
        if spec.batch_transform is not None:
            function = spec.batch_transform
            rng = generator(spec.seed, epoch, batch, stream=1)
            names = DrawNames(self._split, draws)
            # The lock includes the copy, because the function may return the same buffer each time.
            with spec.call_lock.lock:
                copy_results(function, call_transform(function, arrays, rng, names), made, names)

    def _transform_samples(
        self, draws: Draws, sources: Named, made: Named | None, *, epoch: int
    ) -> Named:
        """Transform every sample, into `made` or into new arrays with the first result's shapes."""
        spec = self._spec
        function = spec.transform
        assert function is not None
        ids, repeats = draws["id"].tolist(), draws["repeat"].tolist()
        for row, (sample, repeat) in enumerate(zip(ids, repeats, strict=True)):
            names = DrawNames(self._split, draws[row : row + 1])
            rng = generator(spec.seed, epoch, sample, stream=0, repeat=repeat)
            arrays = {name: array[row] for name, array in sources.items()}
            with spec.call_lock.lock:  # includes the copy, as above
                results = call_transform(function, arrays, rng, names)
                if made is None:
                    first = {n: required(function, n, results, names) for n in spec.between}
                    made = {n: np.empty((draws.size, *r.shape), r.dtype) for n, r in first.items()}
                rows = {name: array[row, ...] for name, array in made.items()}
                copy_results(function, results, rows, names)
        return sources if made is None else made


def _open_reader(
    split: Split, fields: Sequence[str], patches: PatchSpec | None, *, open_files: int
) -> SampleReader | PatchReader:
    if patches is None:
        return SampleReader(split, fields, open_files=open_files)
    return PatchReader(split, fields, patches, open_files=open_files)


def read_draws(
    split: Split,
    source: Sequence[Spec],
    patches: PatchSpec | None,
    draws: Draws,
    *,
    open_files: int,
) -> dict[str, NDArray[Any]]:
    """Read samples or patches into new arrays.

    Parameters
    ----------
    split, source, patches, open_files
        As in :class:`zarrfeed.feed.workers.batch_spec.BatchSpec`.
    draws
        (b,) draws.

    Returns
    -------
    dict of (b, *shape) arrays
        One for each field of `source`.
    """
    arrays = {spec.name: np.empty((draws.size, *spec.shape), spec.dtype) for spec in source}
    reader = _open_reader(split, list(arrays), patches, open_files=open_files)
    try:
        reader.read_into(draws, list(arrays.values()))
    finally:
        reader.close()
    return arrays


def _disk_reads() -> int:
    """Return the number of pages that this thread has waited for (major faults)."""
    return resource.getrusage(_USAGE_OF).ru_majflt


def generator(
    seed: int, epoch: int, index: int, *, stream: int, repeat: int = 0
) -> np.random.Generator:
    """Return the random generator of one sample (stream 0) or one batch (stream 1).

    Parameters
    ----------
    seed, epoch, index
        Seed of the sequence, number of the epoch, and sample id or number of the batch.
    repeat
        How often the epoch has drawn the sample before.
    """
    key = (seed, epoch, index, stream, *((repeat,) if repeat else ()))
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))
