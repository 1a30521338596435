"""Open the store of a request, and derive its schedule, its batches and its feeder.

The first two are determined once, when a sequence is made. Workers start when they are needed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import StoreError, WorkerError, ZarrfeedError
from zarrfeed.feed.batch_arrays import (
    default_fields,
    fields_to_read,
    sample_specs,
    transformed_specs,
    with_weights,
)
from zarrfeed.feed.batch_structure import BatchStructure
from zarrfeed.feed.class_weights import require_ids, weight_table
from zarrfeed.feed.draw_opening import block_rows
from zarrfeed.feed.drawn_classes import drawn_pixels
from zarrfeed.feed.feeder import Feeder
from zarrfeed.feed.patch_opening import patch_spec
from zarrfeed.feed.rank_share import share_schedule
from zarrfeed.feed.slot import SlotLayout
from zarrfeed.feed.store_opening import open_store
from zarrfeed.feed.workers.batch_maker import read_draws
from zarrfeed.feed.workers.batch_spec import BatchSpec
from zarrfeed.feed.workers.draw_names import DrawNames
from zarrfeed.feed.workers.inline import InlineWorkers
from zarrfeed.feed.workers.process_pool import ProcessWorkers
from zarrfeed.feed.workers.threads import ThreadWorkers
from zarrfeed.machine_memory import require_memory
from zarrfeed.order.draws import sample_draws
from zarrfeed.order.ranks import DetectedRank
from zarrfeed.order.schedule import Schedule
from zarrfeed.store.file_limits import descriptors_each, with_room
from zarrfeed.store.split import warn_if_indirect

if TYPE_CHECKING:
    from zarrfeed.feed.arena import Arena
    from zarrfeed.feed.opened_draws import OpenedDraws
    from zarrfeed.feed.request import Request
    from zarrfeed.feed.slot import Spec
    from zarrfeed.feed.workers import Workers
    from zarrfeed.feed.workers.batch_spec import PatchSpec
    from zarrfeed.order.draws import Draws
    from zarrfeed.store.schema import ArrayLayout
    from zarrfeed.store.split import Split


def open_request(request: Request) -> tuple[Split, Schedule, BatchSpec]:
    """Open the store, and determine the batches.

    Returns
    -------
    split
        The opened split.
    schedule
        Which samples are in which batch, in a single process or for the requested rank.
    batch_spec
        How a batch is made.

    Raises
    ------
    StoreError
        There is no such split, or it lacks a field.
    ValueError
        The subset, the sampling or the class weights do not fit the split, or an epoch has no
        batch.
    WorkerError
        A transform raised, or did not return the arrays of a batch.
    """
    store = with_room(lambda: open_store(request), str(request.path), StoreError)
    split = store.split
    structure = request.structure or BatchStructure(default_fields(split))
    fields = fields_to_read(request, split, structure)
    drawn = store.draws(fields)
    layouts = split.select(fields)
    warn_if_indirect(split, list(layouts))
    source, first = sample_specs(layouts), next(iter(layouts.values()))
    schedule = _schedule(request, first, drawn)
    if request.patches is not None:
        source = tuple(patch_spec(spec, request.patches.size) for spec in source)
        what = f"a batch of {request.batch_size:,} patches of {request.patches.size}"
        require_memory(split.path, request.batch_size * sum(s.nbytes for s in source), what)
    return split, schedule, _batch_spec(request, split, structure, source, drawn.patches, schedule)


def _schedule(request: Request, first: ArrayLayout, drawn: OpenedDraws) -> Schedule:
    sampler = drawn.sampler
    schedule = Schedule(
        ids=drawn.rows,
        batch_size=request.batch_size,
        shuffle=request.shuffle if sampler is None or not sampler.shuffled else True,
        block=block_rows(request.batch_size, first),
        seed=request.seed,
        drop_remainder=request.drop_remainder,
        pad_remainder=request.pad_remainder,
        rank=0,
        world_size=1,
        sampler=sampler,
    )
    schedule = share_schedule(schedule, 0, 1)
    requested = request.requested_rank
    if None not in (requested.rank, requested.world_size):
        schedule = share_schedule(schedule, *requested.resolve(DetectedRank()))
    return schedule


def _batch_spec(
    request: Request,
    split: Split,
    structure: BatchStructure,
    source: tuple[Spec, ...],
    patches: PatchSpec | None,
    schedule: Schedule,
) -> BatchSpec:
    open_files = descriptors_each(request.workers, processes=request.processes)
    specs, between = source, tuple(spec.name for spec in source)
    if request.transforms:
        draws = _first_draw(schedule)
        sample = read_draws(split, source, patches, draws, open_files=open_files)
        name = str(DrawNames(split, draws))
        specs, between = transformed_specs(request, structure, sample, name, split.field_names)
    structure, specs, added = with_weights(request, structure, specs)
    weights = None
    if request.class_weight is not None:
        mask = next(spec for spec in specs if spec.name in added.values())
        require_ids(mask, split)
        pixels = drawn_pixels(split, schedule)
        weights = weight_table(request.class_weight, mask, split, pixels)
    return BatchSpec(
        split=split,
        source=source,
        patches=patches,
        layout=SlotLayout.of(specs, schedule.batch_size, schedule.draw),
        structure=structure,
        seed=schedule.seed,
        transform=request.transform,
        batch_transform=request.batch_transform,
        between=between,
        added=added,
        weights=weights,
        open_files=open_files,
    )


def _first_draw(schedule: Schedule) -> Draws:
    """Return the first draw of the first epoch, before any shuffle."""
    if schedule.sampler is None:
        return sample_draws(np.asarray(schedule.ids[:1], np.int64))
    return schedule.sampler.draws(np.zeros(1, np.int64), seed=schedule.seed, epoch=0)


def start_feeder(request: Request, batch_spec: BatchSpec, schedule: Schedule) -> Feeder:
    """Start the requested workers and their feeder.

    They do not refer to the stream, so that it can be garbage-collected.

    Raises
    ------
    WorkerError
        The system cannot start them.
    """
    count, processes = request.workers, request.processes
    own = replace(batch_spec, open_files=descriptors_each(count, processes=processes))

    def start_workers(arena: Arena) -> Workers:
        if not count:
            return InlineWorkers(own, arena)
        return ProcessWorkers(own, arena, count) if processes else ThreadWorkers(own, arena, count)

    def start() -> Feeder:
        return Feeder(
            schedule,
            own.layout,
            start_workers,
            depth=request.max_queue_size if count else 1,
            timeout=request.timeout,
            shared=processes,
        )

    what = f"{own.split.address} with {count} workers"
    try:
        return with_room(start, what, WorkerError)
    except OSError as error:
        if isinstance(error, ZarrfeedError):
            raise
        raise WorkerError(f"{what} cannot be started: {error}") from error
