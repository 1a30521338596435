"""The batches of a split, epoch after epoch, for whichever framework asks.

Knows no framework. What a batch holds is decided in :mod:`zarrfeed.schedule`, how it is read in the
workers, when in :mod:`zarrfeed.feeder`; here they are put together, started when first needed,
and closed.
"""

from __future__ import annotations

import threading
import weakref
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from zarrfeed.feeder import Feeder
from zarrfeed.reader import class_pixels, read_samples, sample_names, warn_if_indirect
from zarrfeed.request import (
    WEIGHT,
    ClassWeight,
    Subset,
    make_schedule,
    sample_specs,
    subset_ids,
    transformed_specs,
    weight_table,
    whole,
)
from zarrfeed.slot import Arrays, SlotLayout, Spec, aligned_empty
from zarrfeed.store import open_split
from zarrfeed.workers.inline import InlineWorkers
from zarrfeed.workers.processes import ProcessWorkers
from zarrfeed.workers.recipe import Filler, Recipe, Transform
from zarrfeed.workers.threads import ThreadWorkers

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from zarrfeed.arena import Arena
    from zarrfeed.schedule import Schedule, Shuffle
    from zarrfeed.store import Split
    from zarrfeed.workers import Workers


class Stream:
    """The batches of a split.

    Parameters
    ----------
    split
        What is read.
    schedule
        Which samples make which batch.
    recipe
        How a batch is made.
    start_feeder
        Starts workers and memory for both.

    Attributes
    ----------
    epoch
        The epoch that the next pass goes through.
    """

    def __init__(
        self,
        split: Split,
        schedule: Schedule,
        recipe: Recipe,
        start_feeder: Callable[[], Feeder],
    ) -> None:
        self.split = split
        self.schedule = schedule
        self.recipe = recipe
        self.epoch = 0
        self._start_feeder = start_feeder
        # An epoch is ordered once, not for every batch that is asked for by its number.
        self._epoch_ids = lru_cache(maxsize=1)(schedule.epoch_ids)
        self._feeder: Feeder | None = None
        self._filler: Filler | None = None
        self._filler_lock = threading.Lock()

    @property
    def specs(self) -> tuple[Spec, ...]:
        """One sample of each array of a batch."""
        return self.recipe.layout.specs

    def batches(self) -> Iterator[Arrays]:
        """Go through the coming epoch. What follows runs at the first ``next``, not before."""
        epoch = self.epoch
        feeder = self._ready_feeder()
        ticket = feeder.begin(epoch)
        for index in range(self.schedule.batches):
            batch = feeder.take(ticket)
            # A newer pass has the workers now: this one goes on by itself.
            yield self._read(epoch, index) if batch is None else batch

    def read(self, index: int) -> Arrays:
        """Read one batch of the coming epoch into fresh memory; negative counts from the end.

        Raises
        ------
        IndexError
            There is no such batch.
        """
        return self._read(self.epoch, self._position(index))

    def names(self, index: int, epoch: int) -> list[str]:
        """Name the samples of a batch by their keys, row by row."""
        return sample_names(self.split, self._ids(epoch, self._position(index)))

    def close(self) -> None:
        """Stop the workers and free the memory that no batch is using; a new pass starts anew."""
        if self._feeder is not None:
            self._feeder.close()
        with self._filler_lock:
            if self._filler is not None:
                self._filler.close()
            self._filler = None

    def _ready_feeder(self) -> Feeder:
        if self._feeder is None or self._feeder.closed:
            self._feeder = self._start_feeder()
            weakref.finalize(self, self._feeder.close)
        return self._feeder

    def _read(self, epoch: int, index: int) -> Arrays:
        layout = self.recipe.layout
        memory = aligned_empty(layout.nbytes)
        ids = self._ids(epoch, index)
        layout.ids(memory)[: ids.size] = ids
        with self._filler_lock:
            if self._filler is None:
                self._filler = Filler(self.recipe)
            self._filler.fill(memory, rows=ids.size, epoch=epoch, batch=index)
        return layout.arrays(memory, ids.size)

    def _ids(self, epoch: int, index: int) -> NDArray[np.int64]:
        return self._epoch_ids(epoch)[self.schedule.rows(index)]

    def _position(self, index: int) -> int:
        length = self.schedule.batches
        if not -length <= index < length:
            raise IndexError(f"batch {index} of {length}")
        return index % length


def open_stream(
    path: str | os.PathLike[str],
    batch_size: int,
    *,
    shuffle: Shuffle,
    seed: int,
    fields: str | Sequence[str] | None,
    subset: Subset,
    transform: Transform | None,
    batch_transform: Transform | None,
    class_weight: ClassWeight | None,
    drop_remainder: bool,
    workers: int,
    use_multiprocessing: bool,
    max_queue_size: int,
    rank: int,
    world_size: int,
    timeout: float,
) -> Stream:
    """Check what the user asked for, and open it; no worker is started yet.

    The parameters and errors are those of :class:`zarrfeed.ZarrSequence`.
    """
    count = whole("workers", workers, at_least=0)
    depth = whole("max_queue_size", max_queue_size, at_least=1)
    if timeout <= 0:
        raise ValueError(f"timeout must be above 0 seconds, not {timeout}")
    split = open_split(path)
    named = (fields,) if isinstance(fields, str) else fields
    layouts = split.select(named or split.default_fields)
    warn_if_indirect(split, list(layouts))
    first = next(iter(layouts.values()))
    schedule = make_schedule(
        subset_ids(subset, first.shape[0]),
        batch_size=batch_size,
        shuffle=shuffle,
        chunk_rows=first.chunk_rows,
        seed=seed,
        drop_remainder=drop_remainder,
        rank=rank,
        world_size=world_size,
    )
    source = specs = sample_specs(layouts)
    if transform is not None or batch_transform is not None:
        specs = transformed_specs(
            source,
            [read_samples(split, spec.name, schedule.ids[:1]) for spec in source],
            name=sample_names(split, schedule.ids[:1])[0],
            seed=schedule.seed,
            transform=transform,
            batch_transform=batch_transform,
        )
    weights = None
    if class_weight is not None:
        weights = weight_table(
            class_weight,
            specs[-1],
            classes=split.classes,
            ignore=split.ignore,
            pixels=class_pixels(split, schedule.ids),
        )
        specs = (*specs, Spec(WEIGHT, specs[-1].shape, weights.dtype))
    recipe = Recipe(
        path=split.path,
        source=source,
        layout=SlotLayout.of(specs, schedule.batch_size),
        seed=schedule.seed,
        transform=transform,
        batch_transform=batch_transform,
        weights=weights,
        # A process may have 1024 files open as a rule; threads share that number.
        open_files=128 if use_multiprocessing else max(8, 256 // max(1, count)),
    )
    start_feeder = partial(
        Feeder,
        schedule,
        recipe.layout,
        partial(_start_workers, recipe, count, use_multiprocessing),
        depth=depth if count else 1,
        timeout=timeout,
    )
    return Stream(split, schedule, recipe, start_feeder)


def _start_workers(recipe: Recipe, count: int, processes: bool, arena: Arena) -> Workers:
    """Choose the kind of workers. It knows no stream, so that a dropped one can die."""
    if count == 0:
        return InlineWorkers(recipe, arena)
    if processes:
        return ProcessWorkers(recipe, arena, count)
    return ThreadWorkers(recipe, arena, count)
