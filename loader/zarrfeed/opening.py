"""What the user asked for becomes a stream: arguments checked, the store opened, no worker yet."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from zarrfeed.arguments import chosen_fields, require_callable
from zarrfeed.descriptors import descriptors_each, with_room
from zarrfeed.errors import StoreError, WorkerError, ZarrfeedError
from zarrfeed.feeder import Feeder
from zarrfeed.ranks import Found
from zarrfeed.reader import class_pixels, read_samples, sample_names, warn_if_indirect
from zarrfeed.request import (
    WEIGHT,
    ClassWeight,
    Subset,
    asked_share,
    make_schedule,
    sample_specs,
    share_schedule,
    subset_ids,
    transformed_specs,
    weight_table,
    whole,
    with_weights,
)
from zarrfeed.sharing import Sharing
from zarrfeed.slot import SlotLayout, Spec
from zarrfeed.store import open_split
from zarrfeed.stream import Stream
from zarrfeed.workers.inline import InlineWorkers
from zarrfeed.workers.processes import ProcessWorkers
from zarrfeed.workers.recipe import Recipe, Transform
from zarrfeed.workers.threads import ThreadWorkers

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from zarrfeed.arena import Arena
    from zarrfeed.order import Shuffle
    from zarrfeed.ranks import Auto
    from zarrfeed.schedule import Schedule
    from zarrfeed.workers import Workers


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
    pad_remainder: bool,
    rank: Auto,
    world_size: Auto,
    timeout: float,
    find_share: Callable[[], Found],
) -> Stream:
    """Check what the user asked for, and open it; no worker is started yet.

    The parameters and errors are those of :class:`zarrfeed.ZarrSequence`; `find_share` asks the
    frameworks which rank this process has, and must not know the sequence, which could never die.
    """
    count = whole("workers", workers, at_least=0)
    depth = whole("max_queue_size", max_queue_size, at_least=1)
    if timeout <= 0:
        raise ValueError(f"timeout must be above 0 seconds, not {timeout}")
    split = with_room(lambda: open_split(path), path, StoreError)
    layouts = split.select(chosen_fields(split, fields))
    require_callable("transform", transform, list(layouts))
    require_callable("batch_transform", batch_transform, list(layouts))
    warn_if_indirect(split, list(layouts))
    first = next(iter(layouts.values()))
    schedule = make_schedule(
        subset_ids(subset, first.shape[0]),
        batch_size=batch_size,
        shuffle=shuffle,
        chunk_rows=first.chunk_rows,
        seed=seed,
        drop_remainder=drop_remainder,
        pad_remainder=pad_remainder,
    )
    asked = asked_share(rank, world_size)
    if None not in (asked.rank, asked.world_size):
        schedule = share_schedule(schedule, *asked.share(Found()))
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
    elif pad_remainder:
        specs = with_weights(specs)
    recipe = Recipe(
        path=split.path,
        stamps={name: split.stamps[name] for name in layouts},
        source=source,
        layout=SlotLayout.of(specs, schedule.batch_size),
        seed=schedule.seed,
        transform=transform,
        batch_transform=batch_transform,
        weights=weights,
        open_files=descriptors_each(count, processes=use_multiprocessing),
    )
    return Stream(
        split,
        Sharing(str(split.path), schedule, asked=asked, find=find_share),
        recipe,
        partial(_start_feeder, recipe, depth, timeout),
        workers=count,
        processes=bool(use_multiprocessing),
    )


def _start_feeder(
    recipe: Recipe, depth: int, timeout: float, schedule: Schedule, count: int, processes: bool
) -> Feeder:
    """Start workers and their feeder. They know no stream, so that a dropped one can die."""
    recipe = replace(recipe, open_files=descriptors_each(count, processes=processes))
    start = partial(
        Feeder,
        schedule,
        recipe.layout,
        partial(_start_workers, recipe, count, processes),
        depth=depth if count else 1,
        timeout=timeout,
        shared=processes and count > 0,
    )
    what = f"{recipe.path} with {count} workers"
    try:
        return with_room(start, what, WorkerError)
    except OSError as error:
        if isinstance(error, ZarrfeedError):
            raise
        raise WorkerError(f"{what} cannot be started: {error}") from error


def _start_workers(recipe: Recipe, count: int, processes: bool, arena: Arena) -> Workers:
    """Choose the kind of workers."""
    if count == 0:
        return InlineWorkers(recipe, arena)
    if processes:
        return ProcessWorkers(recipe, arena, count)
    return ThreadWorkers(recipe, arena, count)
