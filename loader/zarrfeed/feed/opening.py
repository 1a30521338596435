"""What the user asked for becomes a stream: arguments checked, the store opened, no worker yet."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from zarrfeed.errors import StoreError, WorkerError, ZarrfeedError
from zarrfeed.feed.arguments import chosen_fields, require_callable
from zarrfeed.feed.feeder import Feeder
from zarrfeed.feed.request import (
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
from zarrfeed.feed.sharing import Sharing
from zarrfeed.feed.slot import SlotLayout, Spec
from zarrfeed.feed.stream import Stream
from zarrfeed.feed.workers.batch_spec import BatchSpec, Transform
from zarrfeed.feed.workers.inline import InlineWorkers
from zarrfeed.feed.workers.processes import ProcessWorkers
from zarrfeed.feed.workers.threads import ThreadWorkers
from zarrfeed.order.ranks import Found
from zarrfeed.store.file_limits import descriptors_each, with_room
from zarrfeed.store.reader import class_pixels, read_samples, sample_names, warn_if_indirect
from zarrfeed.store.split import open_split

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from zarrfeed.feed.arena import Arena
    from zarrfeed.feed.workers import Workers
    from zarrfeed.order.ranks import Auto
    from zarrfeed.order.sample_order import Shuffle
    from zarrfeed.order.schedule import Schedule


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
    batch_spec = BatchSpec(
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
        batch_spec,
        partial(_start_feeder, batch_spec, depth, timeout),
        workers=count,
        processes=bool(use_multiprocessing),
    )


def _start_feeder(
    batch_spec: BatchSpec,
    depth: int,
    timeout: float,
    schedule: Schedule,
    count: int,
    processes: bool,
) -> Feeder:
    """Start workers and their feeder. They know no stream, so that a dropped one can die."""
    batch_spec = replace(batch_spec, open_files=descriptors_each(count, processes=processes))
    start = partial(
        Feeder,
        schedule,
        batch_spec.layout,
        partial(_start_workers, batch_spec, count, processes),
        depth=depth if count else 1,
        timeout=timeout,
        shared=processes and count > 0,
    )
    what = f"{batch_spec.path} with {count} workers"
    try:
        return with_room(start, what, WorkerError)
    except OSError as error:
        if isinstance(error, ZarrfeedError):
            raise
        raise WorkerError(f"{what} cannot be started: {error}") from error


def _start_workers(batch_spec: BatchSpec, count: int, processes: bool, arena: Arena) -> Workers:
    """Choose the kind of workers."""
    if count == 0:
        return InlineWorkers(batch_spec, arena)
    if processes:
        return ProcessWorkers(batch_spec, arena, count)
    return ThreadWorkers(batch_spec, arena, count)
