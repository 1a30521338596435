"""How does a plan become a split, if need be in several runs?

A shard that has a record is done. Where samples fail under way and are skipped, the rows are laid
out again without them, and the shards that hold other rows than before are packed again: what is
written depends on what failed, not on when, nor on how often the work was interrupted.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from zarrfeed import __version__
from zarrfeed.errors import SourceError, WorkerError
from zarrfeed.store.schema import FORMAT_VERSION
from zarrfeed_convert.planning.deciding import OnProgress, step_progress
from zarrfeed_convert.planning.decisions import Decision
from zarrfeed_convert.planning.palettes import palette_text
from zarrfeed_convert.shards.packing import ShardTask, pack_shard, shard_path
from zarrfeed_convert.shards.rows import mixed, without
from zarrfeed_convert.shards.samples import DIGEST_METHOD
from zarrfeed_convert.splits import split_writer
from zarrfeed_convert.splits.descriptive import write_facts, write_tiles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from zarrfeed_convert.executors.executor import Executor
    from zarrfeed_convert.failures import Failures
    from zarrfeed_convert.planning.decisions import FieldLayout
    from zarrfeed_convert.planning.plan import Plan, Settings
    from zarrfeed_convert.shards.rows import Rows
    from zarrfeed_convert.shards.shard_record import ShardRecord
    from zarrfeed_convert.source import JSON, Source
    from zarrfeed_convert.splits.journal import Journal
    from zarrfeed_convert.splits.target import Target

_LOOK_EVERY_S = 0.5


def write_split(
    samples: Source,
    executor: Executor,
    plan: Plan,
    settings: Settings,
    target: Target,
    journal: Journal,
    failures: Failures,
    progress: OnProgress | None,
) -> JSON:
    """Pack what is not packed yet, and let the split be seen.

    Returns
    -------
    dict
        The split's ``attributes.zarrfeed``.

    Raises
    ------
    SourceError
        A sample cannot be packed, and ends the conversion; or none can.
    """
    journal.agree("decided", _decided(samples, plan))
    failures.add(journal.failed)
    layouts = (plan.image, plan.mask)
    folder = split_writer.prepare(target, [layout.name for layout in layouts])
    rows, records = _pack(executor, plan, target, journal, failures, settings, progress)
    write_fields(folder, layouts, shards=len(records), samples=len(rows))
    description = _description(samples, plan, settings, rows, failures)
    description["channels"] = _describe(folder, samples, plan, rows, records)
    used = _used(plan, records)
    if used:
        description["packed"]["palette"] = used
    left_out = sum(description["channels"].get("not_finite", ()))
    if left_out:
        said = "NaN or infinite: packed as they are, but left out of the channels' mean and std"
        decision = Decision("not finite", f"{left_out:,.0f} values", said)
        description["packed"]["decisions"].append(asdict(decision))
    split_writer.finish(target, folder, labels=plan.recipe.labels, description=description)
    journal.finished()
    return description


def _pack(
    executor: Executor,
    plan: Plan,
    target: Target,
    journal: Journal,
    failures: Failures,
    settings: Settings,
    progress: OnProgress | None,
) -> tuple[Rows, list[ShardRecord]]:
    goes_on = True
    while True:
        failed = failures.items
        rows = without(plan.rows, failed, ordered=settings.order == "source")
        if not len(rows):
            raise SourceError("needed samples that can be packed, found none: all were skipped")
        if settings.mixes_tiles:
            rows = mixed(rows, block=plan.image.shard_rows, seed=settings.seed)
        tasks = shard_tasks(plan, target, journal, rows)
        _remove_unfinished(tasks)
        records = [journal.record(task) for task in tasks]
        left = [task for task, record in zip(tasks, records, strict=True) if record is None]
        if not left:
            return rows, [record for record in records if record is not None]
        before = len(rows) - sum(len(task.rows) for task in left)
        if before and goes_on and progress is not None:
            progress("going on", before, len(rows))
        goes_on = False
        executor.run(pack_shard, left, step_progress(progress, "packing", len(rows), before=before))
        if failures.items != failed:
            journal.failed = failures.found
        elif not _are_there(journal, left, within_s=executor.visible_within_s):
            raise WorkerError(
                f"{target.folder}: shards were packed, but their files are not there as they were "
                f"written; {executor.advice}"
            )


def _remove_unfinished(tasks: Sequence[ShardTask]) -> None:
    """Remove what others were writing: who still does, on a lost machine, cannot finish it."""
    shards = {path for task in tasks for path in task.files}
    for layout in (tasks[0].image, tasks[0].mask):
        split_writer.prune(tasks[0].folder, layout.name, shards)


def _are_there(journal: Journal, tasks: Sequence[ShardTask], *, within_s: float) -> bool:
    """Look for the shards that tasks have packed; other machines' may take a while to be seen."""
    deadline = time.monotonic() + within_s
    while (missing := [task for task in tasks if journal.record(task) is None]) and (
        time.monotonic() < deadline
    ):
        for folder in {path.parent for task in missing for path in (task.record, *task.files)}:
            with suppress(OSError):
                next(folder.iterdir(), None)  # lets NFS look again
        time.sleep(_LOOK_EVERY_S)
        tasks = missing
    return not missing


def shard_tasks(plan: Plan, target: Target, journal: Journal, rows: Rows) -> list[ShardTask]:
    """Divide rows into the shards that are to be written."""
    folder = split_writer.partial_folder(target).absolute()
    mark = journal.mark().absolute()
    return [
        ShardTask(
            folder,
            journal.record_path(number).absolute(),
            mark,
            number,
            plan.recipe,
            plan.image,
            plan.mask,
            part,
        )
        for number, part in enumerate(plan.parts(rows))
    ]


def write_fields(
    folder: Path, layouts: Sequence[FieldLayout], *, shards: int, samples: int
) -> None:
    """Let every field have its shards, its metadata, and nothing else."""
    for layout in layouts:
        paths = {shard_path(folder, layout, number) for number in range(shards)}
        split_writer.prune(folder, layout.name, paths)
        split_writer.write_array(folder, layout, samples=samples)


def _describe(
    folder: Path, samples: Source, plan: Plan, rows: Rows, records: Sequence[ShardRecord]
) -> JSON:
    """Write the arrays that describe samples; give the statistics of the image's channels."""
    height, width = plan.recipe.geometry.size
    names = rows.keys(samples.keys, tiled=plan.tiled)
    if plan.tiled:
        items, source = np.unique(rows.item, return_inverse=True)
        place = np.column_stack([source, rows.window])
        sources = [samples.keys[item] for item in map(int, items)]
        write_tiles(folder, place, sources, plan.sizes[items])
    return write_facts(folder, records, names=names, pixels=height * width)


def _used(plan: Plan, records: Sequence[ShardRecord]) -> dict[str, str]:
    """Say what palettes showed where masks used them, for other splits to compare with."""
    pixels = sum(record.class_pixels.sum(axis=0) for record in records)
    binary, ids = plan.recipe.labels.binary, np.flatnonzero(pixels).tolist()
    indices = [255 if binary and number == 1 else number for number in ids]
    return palette_text({at: plan.palette[at] for at in indices if at in plan.palette})


def _decided(samples: Source, plan: Plan) -> JSON:
    """Sum up what a run that goes on must have found just so."""
    keys = xxhash.xxh3_128("\0".join(samples.keys).encode(errors="surrogateescape"))
    return {
        "labels": asdict(plan.recipe.labels),
        "layouts": [f"{layout}" for layout in (plan.image, plan.mask)],
        "digest of the names of samples": keys.hexdigest(),
        "digest of the order of samples": plan.rows.fingerprint(),
    }


def _description(
    samples: Source, plan: Plan, settings: Settings, rows: Rows, failures: Failures
) -> JSON:
    """Compose the split's ``attributes.zarrfeed``."""
    left_out = list(samples.left_out)
    skipped = [(failed.name, failed.why) for failed in failures.found]
    return {
        "format": FORMAT_VERSION,
        "fields": [plan.image.name, plan.mask.name],
        "samples": len(rows),
        "source": samples.describe(),
        "packed": {
            "zarrfeed": __version__,
            "found": len(samples.keys) + len(left_out),
            "skipped": [{"name": name, "why": why} for name, why in [*left_out, *skipped]],
            "settings": settings.to_json(),
            "binary": plan.recipe.labels.binary,
            "chunk_rows": plan.image.chunk_rows,
            "shard_rows": plan.image.shard_rows,
            "codecs": {layout.name: layout.codec for layout in (plan.image, plan.mask)},
            "coverage": _coverage(plan, rows),
            "decisions": [asdict(decision) for decision in plan.decisions],
            "digest": DIGEST_METHOD,
        },
    }


def _coverage(plan: Plan, rows: Rows) -> JSON:
    """Count the source's pixels that are lost, and the stored ones that are no news."""
    total = {"lost": 0, "repeated": 0, "padded": 0}
    sizes, counts = np.unique(plan.sizes[np.unique(rows.item)], axis=0, return_counts=True)
    for (height, width), count in zip(sizes.tolist(), counts.tolist(), strict=True):
        for what, pixels in asdict(plan.recipe.geometry.coverage(height, width)).items():
            total[what] += count * pixels
    return total
