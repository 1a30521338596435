"""How do packed samples become a split, if need be in several runs?

A shard that has a record is done, as in :mod:`zarrfeed_convert.splits.writing`. Nothing is ever
left out: a sample that is damaged ends the run.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from zarrfeed.errors import WorkerError
from zarrfeed_convert.planning.deciding import step_progress
from zarrfeed_convert.repacking.copy_task import CopyTask, copy_shard
from zarrfeed_convert.splits import split_writer
from zarrfeed_convert.splits.descriptive import write_facts, write_tiles
from zarrfeed_convert.splits.writing import shard_tasks, write_fields

if TYPE_CHECKING:
    from zarrfeed_convert.executors.executor import Executor
    from zarrfeed_convert.planning.deciding import OnProgress
    from zarrfeed_convert.planning.plan import Plan
    from zarrfeed_convert.repacking.stored_facts import Facts
    from zarrfeed_convert.shards.shard_record import ShardRecord
    from zarrfeed_convert.source import JSON
    from zarrfeed_convert.splits.journal import Journal
    from zarrfeed_convert.splits.target import Target


def rewrite_split(
    executor: Executor,
    plan: Plan,
    facts: Facts,
    target: Target,
    journal: Journal,
    description: JSON,
    progress: OnProgress | None,
) -> JSON:
    """Copy what is not copied yet, and let the split be seen.

    Parameters
    ----------
    executor, plan
        Who copies, and what was decided.
    facts
        Of the samples, in the order of the plan's rows.
    target, journal
        Where the split goes, and what is done of it.
    description
        Its ``attributes.zarrfeed``, but for its channels.
    progress
        Is told.

    Returns
    -------
    dict
        The split's ``attributes.zarrfeed``.

    Raises
    ------
    SourceError
        A sample is damaged.
    """
    layouts = (plan.image, plan.mask)
    journal.agree(
        "decided",
        {"layouts": [f"{layout}" for layout in layouts], "rows": plan.rows.fingerprint()},
    )
    folder = split_writer.prepare(target, [layout.name for layout in layouts])
    tasks = _tasks(plan, facts, target, journal)
    records = _copy(executor, tasks, len(plan.rows), target, journal, progress)
    write_fields(folder, layouts, shards=len(records), samples=len(plan.rows))
    height, width = plan.recipe.geometry.size
    if facts.tiles is not None:
        write_tiles(folder, facts.tiles.place, facts.tiles.names, facts.tiles.sizes)
    channels = write_facts(folder, records, names=facts.keys, pixels=height * width)
    described = description | {"channels": channels}
    split_writer.finish(target, folder, labels=plan.recipe.labels, description=described)
    journal.finished()
    return described


def _tasks(plan: Plan, facts: Facts, target: Target, journal: Journal) -> list[CopyTask]:
    tasks = []
    for task in shard_tasks(plan, target, journal, plan.rows):
        start = task.number * plan.image.shard_rows
        here = slice(start, start + len(task.rows))
        values = {field.name: getattr(task, field.name) for field in fields(task)}
        tasks.append(
            CopyTask(
                **values,
                digest=facts.digest[here],
                class_pixels=facts.class_pixels[here],
                channel_sums=facts.channel_sums[here],
            )
        )
    return tasks


def _copy(
    executor: Executor,
    tasks: list[CopyTask],
    samples: int,
    target: Target,
    journal: Journal,
    progress: OnProgress | None,
) -> list[ShardRecord]:
    left = [task for task in tasks if journal.record(task) is None]
    before = samples - sum(len(task.rows) for task in left)
    executor.run(copy_shard, left, step_progress(progress, "repacking", samples, before=before))
    records = [journal.record(task) for task in tasks]
    whole = [record for record in records if record is not None]
    if len(whole) < len(records):
        raise WorkerError(
            f"{target.folder}: shards were packed, but their files are not there as they were "
            f"written; {executor.advice}"
        )
    return whole
