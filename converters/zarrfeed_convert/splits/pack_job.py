"""How is a split packed, in one run or several?

A job checks what exists, locks the split, decides, runs a task for every shard, and commits. A
shard with a record is complete. If samples fail and are skipped, the rows are laid out again
without them, and shards whose rows changed are packed again. The bytes of the split therefore
depend on which samples failed, but not on when they did or how often the run was interrupted.
"""

from __future__ import annotations

import math
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError, WorkerError
from zarrfeed_convert.failures import split_errors
from zarrfeed_convert.planning.memory import fit_workers
from zarrfeed_convert.planning.planner import step_progress
from zarrfeed_convert.shards.cases import Cases
from zarrfeed_convert.shards.packing import Shard, shard_path
from zarrfeed_convert.splits import split_writer
from zarrfeed_convert.splits.descriptive import write_cases, write_facts, write_tiles
from zarrfeed_convert.splits.journal import journal_folder, opened_journal
from zarrfeed_convert.splits.other_tiles import about_other_tiles
from zarrfeed_convert.splits.report import Report, report_of_plan, report_of_split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from zarrfeed_convert.executors.executor import Executor
    from zarrfeed_convert.planning.layout import Decision
    from zarrfeed_convert.planning.plan import Plan
    from zarrfeed_convert.planning.planner import OnProgress
    from zarrfeed_convert.shards.rows import Rows
    from zarrfeed_convert.shards.shard_record import ShardRecord
    from zarrfeed_convert.source import JSON, Source
    from zarrfeed_convert.splits.destination import Destination
    from zarrfeed_convert.splits.journal import Journal
    from zarrfeed_convert.splits.split_plan import SplitPlan, SplitPlanner

_LOOK_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class PackJob:
    """Packs one split.

    Parameters
    ----------
    planner
        Decides what is packed, and how.
    destination
        Where it is written.
    executor
        Function that starts an executor for a source.
    progress
        Called with the current step, the number of samples that are done, and their total number.
    """

    planner: SplitPlanner
    destination: Destination
    executor: Callable[[Source], AbstractContextManager[Executor]]
    progress: OnProgress | None

    def run(self, *, restart: bool, dry_run: bool) -> Report:
        """Pack the split, or report on it if it is packed already.

        Parameters
        ----------
        restart
            Whether to start anew instead of resuming a run that was stopped.
        dry_run
            Whether to decide everything, but write nothing.

        Raises
        ------
        SourceError
            The split cannot be packed.
        WorkerError
            A worker was lost, or the files that it has written do not appear.
        """
        done = self._already_packed()
        # The journal of a complete split exists if its run was killed before it removed it.
        left_over = journal_folder(self.destination).exists()
        if done is None:
            self.planner.require_packable()
        elif dry_run or not left_over:
            return done
        if not dry_run:
            return self._pack(restart=restart)
        with self._decided() as (_, split_plan, notes):
            return report_of_plan(
                split_plan.plan,
                self.destination,
                self.planner.samples,
                self.planner.failures,
                notes,
            )

    def _already_packed(self) -> Report | None:
        with split_errors(self.destination.folder):
            there = self.destination.packed()
            if there is None or not self.planner.accepts(there):
                return None
            return report_of_split(self.destination, there, status="already packed")

    def _pack(self, *, restart: bool) -> Report:
        with opened_journal(self.destination, restart=restart) as journal:
            done = self._already_packed()  # by a run that held the lock until now
            if done is not None:
                journal.remove()
                return done
            journal.agree("asked", self.planner.asked)
            with self._decided() as (executor, split_plan, notes):
                there = self._write(executor, split_plan, journal)
        report = report_of_split(self.destination, there, status="packed")
        return replace(report, decisions=(*report.decisions, *notes))

    @contextmanager
    def _decided(self) -> Iterator[tuple[Executor, SplitPlan, tuple[Decision, ...]]]:
        """Start an executor, make the plan, and limit the workers by memory.

        The decisions are those that the split does not record.
        """
        with self.executor(self.planner.samples) as executor:
            split_plan = self.planner.decide(executor)
            need = split_plan.plan.need(self.planner.samples.memory_nbytes)
            executor.workers, about_workers = fit_workers(
                executor.workers, need, free=executor.free_nbytes
            )
            about_others = self.destination.about_other_splits(
                split_plan.plan.fields, has_axes="axes" in self.planner.samples.arguments
            )
            if split_plan.plan.of_cases:
                tile = split_plan.plan.recipe.geometry.size
                about_others += about_other_tiles(self.destination, tile)
            yield executor, split_plan, (*split_plan.plan.notes, *about_others, about_workers)

    def _write(self, executor: Executor, split_plan: SplitPlan, journal: Journal) -> JSON:
        """Pack what is not packed yet, and commit; return the split's ``attributes.zarrfeed``."""
        plan, failures = split_plan.plan, self.planner.failures
        journal.agree("decided", split_plan.decided)
        failures.add(journal.failed)
        folder = split_writer.prepare(self.destination, [layout.name for layout in plan.fields])
        rows, records = self._run_tasks(executor, split_plan, journal)
        size = plan.recipe.geometry.size
        for layout in plan.fields:
            paths = {shard_path(folder, layout, number) for number in range(len(records))}
            split_writer.prune(folder, layout.name, paths)
            split_writer.write_array(folder, layout, samples=len(rows), spatial_axes=len(size))
        names, places = split_plan.names(rows)
        pixels = len(rows) * math.prod(size)
        if isinstance(places, Cases):
            write_cases(folder, places)
            pixels = places.pixels
        elif places is not None:
            write_tiles(folder, places)
        channels = write_facts(folder, records, names=names, pixels=pixels)
        description = split_plan.describe(rows, records, channels)
        split_writer.commit(
            self.destination, folder, labels=plan.recipe.labels, description=description
        )
        journal.remove()
        return description

    def _run_tasks(
        self, executor: Executor, split_plan: SplitPlan, journal: Journal
    ) -> tuple[Rows, list[ShardRecord]]:
        failures, step, goes_on = self.planner.failures, split_plan.step, True
        while True:
            failed = failures.items
            rows = split_plan.plan.rows_without(failed)
            if not len(rows):
                raise SourceError("needed samples that can be packed, found none: all were skipped")
            shards = self._shards(split_plan.plan, rows, journal)
            _remove_unfinished(shards)
            records = [journal.record(shard) for shard in shards]
            left = [shard for shard, done in zip(shards, records, strict=True) if done is None]
            if not left:
                return rows, [record for record in records if record is not None]
            before = len(rows) - sum(len(shard.rows) for shard in left)
            if before and goes_on and self.progress is not None:
                self.progress("resuming", before, len(rows))
            goes_on = False
            executor.run(
                split_plan.task,
                [split_plan.task_of(shard) for shard in left],
                step_progress(self.progress, step, len(rows), before=before),
            )
            if failures.items != failed:
                journal.failed = failures.found
            elif not _are_there(journal, left, within_s=executor.visible_within_s):
                raise WorkerError(
                    f"{self.destination.folder}: shards were packed, but their files are missing "
                    f"or have another size than was written; {executor.advice}"
                )

    def _shards(self, plan: Plan, rows: Rows, journal: Journal) -> list[Shard]:
        """Divide rows into shards."""
        folder = split_writer.partial_folder(self.destination).absolute()
        mark = journal.mark().absolute()
        return [
            Shard(
                folder,
                journal.record_path(number).absolute(),
                mark,
                number,
                plan.fields,
                part,
            )
            for number, part in enumerate(plan.parts(rows))
        ]


def _remove_unfinished(shards: Sequence[Shard]) -> None:
    """Remove unfinished files of other runs, so that a lost machine cannot complete them."""
    files = {path for shard in shards for path in shard.files}
    for layout in shards[0].fields:
        split_writer.prune(shards[0].folder, layout.name, files)


def _are_there(journal: Journal, shards: Sequence[Shard], *, within_s: float) -> bool:
    """Return whether packed shards are visible; wait for those that other machines have written."""
    deadline = time.monotonic() + within_s
    while (missing := [shard for shard in shards if journal.record(shard) is None]) and (
        time.monotonic() < deadline
    ):
        for folder in {path.parent for shard in missing for path in (shard.record, *shard.files)}:
            with suppress(OSError):
                next(folder.iterdir(), None)  # makes NFS refresh its cache
        time.sleep(_LOOK_EVERY_S)
        shards = missing
    return not missing
