"""How is a split made from packed splits?

:func:`repack` opens the splits, checks that they have the same kind of samples, and passes the
chosen samples to a :class:`~zarrfeed_convert.splits.pack_job.PackJob`.
"""

from __future__ import annotations

import os
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

from zarrfeed import __version__
from zarrfeed.errors import SourceError
from zarrfeed.spelling import named
from zarrfeed.store.address import local_path
from zarrfeed_convert.executors.selection import executor_of, require_executor
from zarrfeed_convert.failures import Failures, split_errors
from zarrfeed_convert.planning.palettes import require_same_palettes
from zarrfeed_convert.repacking.provenance import (
    asked_of,
    description_of,
    is_repeated,
    labels_of,
    palettes_of,
    require_same_repacked,
    source_of_splits,
)
from zarrfeed_convert.repacking.repack_plan import RepackPlan, RepackSettings, plan_repack
from zarrfeed_convert.repacking.row_selection import chosen_rows, in_order
from zarrfeed_convert.repacking.stored import open_stored, require_same_labels
from zarrfeed_convert.repacking.stored_facts import facts_of, joined
from zarrfeed_convert.repacking.stored_source import StoredSamples
from zarrfeed_convert.splits.destination import destination_of
from zarrfeed_convert.splits.existing_split import require_replaceable
from zarrfeed_convert.splits.journal import journal_folder, opened_journal
from zarrfeed_convert.splits.pack_job import PackJob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from zarrfeed_convert.executors.executor import Executor
    from zarrfeed_convert.planning.planner import OnProgress
    from zarrfeed_convert.repacking.repack_plan import RepackCodec
    from zarrfeed_convert.repacking.row_selection import StoredOrder, Subset
    from zarrfeed_convert.repacking.stored import StoredSplit
    from zarrfeed_convert.repacking.stored_facts import Facts
    from zarrfeed_convert.shards.rows import Numbers
    from zarrfeed_convert.source import JSON, Source
    from zarrfeed_convert.splits.destination import Destination
    from zarrfeed_convert.splits.report import Report


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
    """Make a split from packed splits, without their sources.

    Change the codec, layout or order of a split, choose some of its samples, or merge several
    splits. Pixels, names, digests, class counts, locations of tiles, classes and the description of
    the source are copied. The digest of every sample is recomputed and compared.

    Parameters
    ----------
    inputs
        Path of a split, such as ``city.zarr/train``, or paths of several splits with the same kind
        of samples. The path of a dataset with a single split is accepted, too.
    out
        Path of the dataset for the new split. It is created if it does not exist, and may be that
        of an input.
    split
        Name of the new split. With `overwrite`, it may be that of an input.
    codec
        ``keep``: the codecs of `inputs`, if they have the same ones. ``auto``: chosen by how much a
        codec saves. Or ``raw``, ``lz4``, ``zstd``.
    chunk_samples
        Number of samples per chunk; None for that of `inputs`, if they have the same.
    shard_size
        Decoded bytes of the largest field per file; None for that of `inputs`, if they have the
        same.
    order
        ``stored``: the order of `inputs`, one after the other. ``source``: sorted by name.
        ``shuffled``: shuffled by `seed`, as in a conversion. The default is ``stored`` for one
        input. For several, it is ``shuffled``, so that reading without shuffling mixes them.
    seed
        Seed of the shuffled order.
    subset
        Samples to choose, counted through all inputs: a slice, integers, or one boolean per sample.
        None for all samples.
    keys
        Names of samples to choose. The name of an image that was cut into tiles chooses all its
        tiles.
    prefix_keys
        Whether to name samples ``SPLIT/KEY``, by the split that they come from, or
        ``DATASET/SPLIT/KEY`` if splits of several datasets have the same name.
    workers
        Number of processes. 1 uses this process; None uses one per core, or fewer if memory is
        short. The bytes of the store do not depend on it.
    overwrite, restart, dry_run, progress
        As in :func:`zarrfeed_convert.convert`.

    Returns
    -------
    Report
        ``found`` is the number of samples of `inputs`, ``packed`` that of the chosen ones.

    Raises
    ------
    SourceError
        The inputs have different kinds of samples, or a sample is damaged. The message names the
        sample, its file and its split.
    StoreError
        An input is not a split.
    WorkerError
        A packing process died.

    Notes
    -----
    A run that was stopped can be resumed; see the notes of :func:`zarrfeed_convert.convert`.

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
        raise SourceError(f"keys: needed a list of names, found the text {keys!r}; use [{keys!r}]")
    destination = _settled(destination_of(local_path(out), split))
    with split_errors(", ".join(map(str, paths))):
        splits = open_stored(paths, prefix_keys=prefix_keys)
        require_same_labels(destination, splits)
        require_same_palettes({**destination.palettes(), **palettes_of(splits)})
        parts = [facts_of(stored) for stored in splits]
        names = None if keys is None else list(keys)
        asked = asked_of(splits, parts, settings, subset=subset, keys=names)
    choose = partial(chosen_rows, subset=subset, keys=names)
    planner = _RepackPlanner(splits, parts, settings, asked, choose, destination, overwrite)

    @contextmanager
    def executor(samples: Source) -> Iterator[Executor]:
        with (
            closing(planner.samples),
            executor_of(samples, workers, planner.failures) as executor,
        ):
            yield executor

    report = PackJob(planner, destination, executor, progress).run(restart=restart, dry_run=dry_run)
    found = sum(len(part) for part in parts)
    return replace(
        report, found=found, skipped=(), seconds=time.perf_counter() - start, repacked=True
    )


@dataclass(eq=False)
class _RepackPlanner:
    """A :class:`~zarrfeed_convert.splits.split_plan.SplitPlanner` of the samples of splits."""

    splits: tuple[StoredSplit, ...]
    parts: Sequence[Facts]
    settings: RepackSettings
    asked_of_split: JSON
    choose: Callable[[Facts], Numbers]
    destination: Destination
    overwrite: bool

    failures = Failures("stop")

    @property
    def asked(self) -> JSON:
        """Arguments that decide the split's bytes, as JSON."""
        labels = labels_of(self.splits[0].labels)
        return {"zarrfeed": __version__, **self.asked_of_split, **labels}

    @property
    def said(self) -> str:
        """The paths of the splits, for errors."""
        return ", ".join(str(stored.split.path) for stored in self.splits)

    @cached_property
    def facts(self) -> Facts:
        """What the splits record about their samples."""
        with split_errors(self.said):
            return joined(self.splits, self.parts)

    @cached_property
    def rows(self) -> Numbers:
        """Indices of the chosen samples, in the new order."""
        order, seed = self.settings.order, self.settings.seed
        return in_order(self.choose(self.facts), self.facts, order=order, seed=seed)

    @property
    def samples(self) -> StoredSamples:
        """The samples of the splits, as a source."""
        return self._samples

    @cached_property
    def _samples(self) -> StoredSamples:
        splits = [stored.split for stored in self.splits]
        with split_errors(self.said):
            return StoredSamples(splits, self.facts.keys, source_of_splits(self.splits))

    def accepts(self, there: JSON) -> bool:
        """Return whether an existing split is what would be packed; False to replace it."""
        replaced = any(
            stored.split.path.samefile(self.destination.folder) for stored in self.splits
        )
        if replaced and is_repeated(there, self.asked_of_split):
            return True
        if self.overwrite:
            require_replaceable(self.destination, there)
        else:
            require_same_repacked(
                self.destination, there, self.asked_of_split, self.splits[0].labels
            )
        return not self.overwrite

    def require_packable(self) -> None:
        """Check that `subset` and `keys` choose samples that exist."""
        _ = self.rows

    def decide(self, executor: Executor) -> RepackPlan:
        """Decide the layout of the new split."""
        with split_errors(self.said):
            plan = plan_repack(executor, self.splits, self.settings, self.facts, self.rows)
            description = description_of(self.splits, plan, self.settings, self.asked_of_split)
        return RepackPlan(plan, self.facts.part(self.rows), description)


def _settled(destination: Destination) -> Destination:
    """Complete the commit of a killed run: what it was replacing may be an input of this run."""
    if destination.folder.exists() or not journal_folder(destination).exists():
        return destination
    with opened_journal(destination, restart=False):
        return destination_of(destination.out, destination.split)
