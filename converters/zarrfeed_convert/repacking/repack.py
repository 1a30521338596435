"""How do packed splits become another one, without their sources?

The steps, in order: open the splits and see that they fit together, choose samples, decide, copy.
What each of them is stands in its own module; here is only how they follow each other.
"""

from __future__ import annotations

import os
import time
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from zarrfeed import __version__
from zarrfeed.errors import SourceError
from zarrfeed.spelling import named
from zarrfeed.store.address import local_path
from zarrfeed_convert.executors.selection import executor_of, require_executor
from zarrfeed_convert.failures import Failures, understood
from zarrfeed_convert.planning.memory import afford, need_of
from zarrfeed_convert.planning.palettes import require_same_palettes
from zarrfeed_convert.repacking.copy_task import READ_NBYTES
from zarrfeed_convert.repacking.provenance import (
    asked_of,
    description_of,
    is_repeated,
    labels_of,
    palettes_of,
    require_same_repacked,
    source_of_splits,
)
from zarrfeed_convert.repacking.repack_plan import RepackSettings, plan_repack
from zarrfeed_convert.repacking.rewriting import rewrite_split
from zarrfeed_convert.repacking.row_selection import chosen_rows, in_order
from zarrfeed_convert.repacking.stored import open_stored, require_same_labels
from zarrfeed_convert.repacking.stored_facts import facts_of, joined
from zarrfeed_convert.repacking.stored_source import StoredSamples
from zarrfeed_convert.report import Report, report_of_plan, report_of_split
from zarrfeed_convert.splits.journal import journal_folder, opened_journal
from zarrfeed_convert.splits.repetition import require_replaceable
from zarrfeed_convert.splits.target import target_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from zarrfeed_convert.executors.executor import Executor
    from zarrfeed_convert.planning.deciding import OnProgress
    from zarrfeed_convert.planning.decisions import Decision
    from zarrfeed_convert.planning.plan import Plan
    from zarrfeed_convert.repacking.repack_plan import RepackCodec
    from zarrfeed_convert.repacking.row_selection import StoredOrder, Subset
    from zarrfeed_convert.repacking.stored import StoredSplit
    from zarrfeed_convert.repacking.stored_facts import Facts
    from zarrfeed_convert.shards.rows import Numbers
    from zarrfeed_convert.source import JSON
    from zarrfeed_convert.splits.target import Target


@named
def repack(
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    split: str,
    codec: RepackCodec = "keep",
    chunk_samples: int | None = None,
    shard_size: int | None = None,
    order: StoredOrder | None = None,
    seed: int = 0,
    subset: Subset = None,
    keys: Iterable[str] | None = None,
    prefix_keys: bool = False,
    workers: int | None = None,
    overwrite: bool = False,
    restart: bool = False,
    dry_run: bool = False,
    progress: OnProgress | None = None,
) -> Report:
    """Make a split of packed ones: another codec, layout or order, a part, or several in one.

    Pixels, names, digests, class counts, places of tiles, classes and the description of the
    source are carried over. The digest of every sample is recomputed on the way.

    Parameters
    ----------
    inputs
        A split, such as ``city.zarr/train``, or several of the same kind of samples. Of a dataset
        with one split, its path is enough.
    out
        The dataset that the new split goes to, made if it is not there; it may be the one that the
        samples come from.
    split
        The new split's name; with `overwrite`, it may be that of an input.
    codec
        ``keep`` the codecs, if `inputs` have the same; ``auto`` decides by how much a codec saves;
        ``raw``, ``lz4``, ``zstd``.
    chunk_samples
        Samples per chunk; None for as many as there are in a chunk of `inputs`, if they agree.
    shard_size
        Decoded bytes of the largest field per file; None for what it is in `inputs`, likewise.
    order
        ``stored``: as samples lie, one input after the other. ``source``: sorted by name.
        ``shuffled``: by `seed`, as a conversion does. None for ``stored`` where there is one input,
        and ``shuffled`` where there are more, so that reading in storage order is a fair order.
    seed
        Of the shuffled order.
    subset
        Samples by number, as they lie, one input after the other: a slice, numbers, or a truth
        value for each. None for all.
    keys
        Samples by name. The name of an image that was cut into tiles names all of them.
    prefix_keys
        Name samples ``SPLIT/KEY``, by the split that they come from, or ``DATASET/SPLIT/KEY`` where
        splits of several datasets are called the same.
    workers
        Processes; None for as many as there are cores, 1 for this one; fewer where the machine's
        memory would not hold what they need. The store is the same, byte for byte.
    overwrite, restart, dry_run, progress
        As in :func:`zarrfeed_convert.convert`.

    Returns
    -------
    Report
        Its ``found`` are the samples of `inputs`, its ``packed`` those that were chosen.

    Raises
    ------
    SourceError
        The inputs do not fit together, or a sample is damaged: the message names it, its file and
        the split.
    StoreError
        An input is no split.
    WorkerError
        A packing process died.

    Notes
    -----
    What is said of runs that are stopped in :func:`zarrfeed_convert.convert` holds here too.

    Examples
    --------
    >>> from zarrfeed_convert import repack
    >>> repack("city.zarr/train", "small.zarr", split="train", codec="lz4",
    ...        subset=slice(1000))  # doctest: +SKIP
    """
    start = time.perf_counter()
    paths = [inputs] if isinstance(inputs, str | os.PathLike) else list(inputs)
    settings = RepackSettings(
        codec,
        chunk_samples,
        shard_size,
        order or ("stored" if len(paths) == 1 else "shuffled"),
        seed,
    )
    settings.check()
    require_executor(workers)
    if isinstance(keys, str):
        raise SourceError(f"keys: needed names of samples, found one text, {keys!r}")
    names = None if keys is None else list(keys)
    target = _settled(target_of(local_path(out), split))
    said = ", ".join(map(str, paths))
    with understood(said):
        splits = open_stored(paths, prefix_keys=prefix_keys)
        require_same_labels(target, splits)
        require_same_palettes({**target.palettes(), **palettes_of(splits)})
        parts = [facts_of(stored) for stored in splits]
        asked = asked_of(splits, parts, settings, subset=subset, keys=names)
    job = _Job(splits, settings, asked, overwrite, progress)
    with understood(target.folder):
        done = job.done_already(target)
    if done is None:
        with understood(said):
            facts = joined(splits, parts)
        rows = in_order(
            chosen_rows(facts, subset=subset, keys=names), facts, order=settings.order, seed=seed
        )
        if dry_run:
            done = job.dry_run(facts, rows, target, workers)
        else:
            done = job.pack(facts, rows, target, workers, restart=restart)
    elif journal_folder(target).exists():  # a run was killed as it ended
        with opened_journal(target, restart=False) as journal:
            journal.finished()
    found = sum(len(part) for part in parts)
    return replace(done, found=found, skipped=(), seconds=time.perf_counter() - start)


@dataclass(frozen=True, slots=True)
class _Job:
    """A repacking, and how it goes."""

    splits: tuple[StoredSplit, ...]
    settings: RepackSettings
    asked: JSON
    overwrite: bool
    progress: OnProgress | None

    @property
    def said(self) -> str:
        """What the samples come from."""
        return ", ".join(str(stored.split.path) for stored in self.splits)

    def done_already(self, target: Target) -> Report | None:
        """Report on the split that is there; None where it is to be packed."""
        there = target.packed()
        if there is None:
            return None
        replaced = any(stored.split.path.samefile(target.folder) for stored in self.splits)
        if not (replaced and is_repeated(there, self.asked)):
            if self.overwrite:
                require_replaceable(target, there)
                return None
            require_same_repacked(target, there, self.asked, self.splits[0].labels)
        return report_of_split(target, there, status="already packed")

    def dry_run(self, facts: Facts, rows: Numbers, target: Target, workers: int | None) -> Report:
        """Decide everything, write nothing."""
        failures = Failures("stop")
        with (
            closing(self._source(facts)) as source,
            executor_of(source, workers, failures) as executor,
        ):
            plan, about_workers = self._decide(facts, rows, executor)
            return report_of_plan(plan, target, source, failures, about_workers)

    def pack(
        self, facts: Facts, rows: Numbers, target: Target, workers: int | None, *, restart: bool
    ) -> Report:
        """Pack the split, or what is left of it to be packed."""
        with opened_journal(target, restart=restart) as journal:
            done = self.done_already(target)  # by a run that has just ended
            if done is not None:
                journal.finished()
                return done
            labels = labels_of(self.splits[0].labels)
            journal.agree("asked", {"zarrfeed": __version__, **self.asked, **labels})
            with (
                closing(self._source(facts)) as source,
                executor_of(source, workers, Failures("stop")) as executor,
            ):
                plan, about_workers = self._decide(facts, rows, executor)
                with understood(self.said):
                    description = description_of(self.splits, plan, self.settings, self.asked)
                there = rewrite_split(
                    executor, plan, facts.part(rows), target, journal, description, self.progress
                )
        report = report_of_split(target, there, status="packed")
        return replace(report, decisions=(*report.decisions, about_workers))

    def _source(self, facts: Facts) -> StoredSamples:
        splits = [stored.split for stored in self.splits]
        with understood(self.said):
            return StoredSamples(splits, facts.keys, source_of_splits(self.splits))

    def _decide(self, facts: Facts, rows: Numbers, executor: Executor) -> tuple[Plan, Decision]:
        with understood(self.said):
            plan = plan_repack(executor, self.splits, self.settings, facts, rows)
        need = need_of(plan.largest, (plan.image, plan.mask), READ_NBYTES)
        executor.workers, about_workers = afford(executor.workers, need, free=executor.free_nbytes)
        return plan, about_workers


def _settled(target: Target) -> Target:
    """Complete what a killed run had begun to put in place: it may be what is to be read now."""
    if target.folder.exists() or not journal_folder(target).exists():
        return target
    with opened_journal(target, restart=False):
        return target_of(target.out, target.split)
