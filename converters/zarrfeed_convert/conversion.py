"""How does a source become a split of a dataset?

Check what the user asks for, and give it to a :class:`~zarrfeed_convert.splits.pack_job.PackJob`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from zarrfeed import __version__
from zarrfeed.errors import SourceError
from zarrfeed.spelling import few, named
from zarrfeed.store.address import local_path
from zarrfeed_convert.conversion_plan import ConversionPlan
from zarrfeed_convert.executors.selection import executor_of, require_executor
from zarrfeed_convert.failures import Failures
from zarrfeed_convert.labels import MAX_ID, Labels, parse_classes
from zarrfeed_convert.planning.plan import Order, Settings
from zarrfeed_convert.planning.planner import OnProgress, decide
from zarrfeed_convert.sources.iterables.spool import source_of_samples
from zarrfeed_convert.splits.destination import destination_of
from zarrfeed_convert.splits.existing_split import (
    asked_for,
    require_replaceable,
    require_same_split,
)
from zarrfeed_convert.splits.pack_job import PackJob
from zarrfeed_convert.supervision.board import PATIENCE_S

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from zarrfeed_convert.executors.executor import Executor
    from zarrfeed_convert.failures import OnError
    from zarrfeed_convert.geometry import Fit, Size
    from zarrfeed_convert.shards.codecs import CodecChoice
    from zarrfeed_convert.source import JSON, Source
    from zarrfeed_convert.sources.iterables.samples import Samples
    from zarrfeed_convert.splits.destination import Destination
    from zarrfeed_convert.splits.report import Report


@named
def convert(
    samples: Samples,
    out: str | os.PathLike[str],
    *,
    split: str,
    classes: str | int | Sequence[str] | None = None,
    ignore: int | None = None,
    size: Size | None = None,
    fit: Fit | None = None,
    overlap: int = 0,
    codec: CodecChoice = "auto",
    chunk_samples: int | None = None,
    shard_size: int | None = None,
    order: Order = "shuffled",
    seed: int = 0,
    workers: int | None = None,
    scheduler: str | None = None,
    on_error: OnError = "stop",
    read_timeout: float = PATIENCE_S,
    overwrite: bool = False,
    restart: bool = False,
    dry_run: bool = False,
    progress: OnProgress | None = None,
) -> Report:
    """Pack images and masks into one split of a dataset.

    Parameters
    ----------
    samples
        What is packed: a source, such as :class:`zarrfeed_convert.PairedFolders`, or any iterable
        of ``(image, mask)``, ``(key, image, mask)`` or ``{"image": …, "mask": …}``, which may have
        other maps of the image, or no mask. What is no source is first written to a temporary file
        beside `out`, of the decoded samples' size.
    out
        The dataset, made if it is not there. Run once per split.
    split
        The split's name, like ``train``.
    classes
        Class names, as in :func:`zarrfeed_convert.labels.parse_classes`. None takes those of the
        dataset's other splits; where there are none, every mask is looked at, and the channels of
        multi-hot masks are called by their numbers.
    ignore
        The mask value of pixels that belong to no class; multi-hot masks have none.
    size, fit
        (height, width) of every stored sample, and how others get there: ``resize``, ``crop``
        (the centre), ``pad`` (below and at the right; masks with `ignore`, multi-hot ones with 0)
        or ``tile``.
    overlap
        Pixels that neighbouring tiles share at least.
    codec
        ``auto`` decides by how much a codec saves; ``raw``, ``lz4``, ``zstd``.
    chunk_samples
        Samples per chunk; None for as many as are worth one read.
    shard_size
        Decoded bytes of the largest field per file; None for 8 to 256 MiB.
    order
        ``shuffled`` or ``source`` (sorted by key). Of tiles, the images are shuffled, and then the
        tiles within each shard, so that packing decodes an image once, or twice where two shards
        share it.
    seed
        Of the shuffled order.
    workers
        Processes; None for as many as there are cores, 1 for this one; fewer where the machine's
        memory would not hold what they need. The store is the same, byte for byte. A decoder that
        crashes or hangs over a file ends a process of its own, and the file is named; in this one,
        nobody could.
    scheduler
        The address of a Dask cluster, like ``tcp://10.0.0.1:8786``, whose workers do the work, each
        in as many threads as it has; in place of `workers`. The samples and `out` must be on paths
        that they share with this machine, and zarrfeed be the same everywhere.
    on_error
        ``stop``: a sample that cannot be packed ends the conversion. ``skip``: it is left out, and
        the split records it.
    read_timeout
        Seconds after which a process that still reads the same file is ended, and the file has
        failed; of large files, a second more for every MiB.
    overwrite
        Replace the split if it is there already, once the new one is complete. False accepts it
        where it is what would be packed, and refuses otherwise.
    restart
        Begin anew where a run was stopped, instead of going on with it.
    dry_run
        Decide everything, write nothing.
    progress
        Called with what is being done, and how many of how many samples are.

    Returns
    -------
    Report
        What was found, decided and written.

    Raises
    ------
    SourceError
        The input cannot be packed as it is; the message names the file and what to change.
    WorkerError
        A packing process died, or the Dask cluster cannot do the work.

    Notes
    -----
    A run that is stopped, by whatever, leaves the shards that are packed beside the split that it
    was to become. The same call goes on with them, and the split is, byte for byte, that of a run
    that was not stopped. A run that ends before any shard is packed leaves OUT as it was.
    """
    start = time.perf_counter()
    settings = Settings(size, fit, overlap, codec, chunk_samples, shard_size, order, seed)
    settings.check()
    _require_known(on_error, ignore)
    require_executor(workers, scheduler, read_timeout=read_timeout)
    place, failures = local_path(out), Failures(on_error)
    with source_of_samples(samples, place.absolute().parent, progress=progress) as source:
        named, ignore = _named_labels(source, classes, ignore)
        destination = destination_of(place, split)
        _require_same_labels(destination, named, ignore)
        planner = _ConversionPlanner(
            source, settings, destination, named, ignore, failures, progress, overwrite
        )
        executor = partial(
            executor_of,
            workers=workers,
            failures=failures,
            scheduler=scheduler,
            read_timeout=read_timeout,
        )
        job = PackJob(planner, destination, executor, progress)
        report = job.run(restart=restart, dry_run=dry_run)
    return replace(report, seconds=time.perf_counter() - start)


@dataclass(frozen=True, slots=True)
class _ConversionPlanner:
    """A :class:`~zarrfeed_convert.splits.split_plan.SplitPlanner` of the samples of a source."""

    samples: Source
    settings: Settings
    destination: Destination
    named: tuple[str, ...] | None
    ignore: int | None
    failures: Failures
    progress: OnProgress | None
    overwrite: bool

    @property
    def asked(self) -> JSON:
        """What decides the split's bytes, as far as it is known before samples are looked at."""
        labels = {"classes": self.named, "ignore": self.ignore}
        return {"zarrfeed": __version__, **self._asked_of_split, **labels}

    @property
    def _asked_of_split(self) -> JSON:
        found = len(self.samples.keys) + len(self.samples.left_out)
        return asked_for(self.samples.describe(), found, self.settings.to_json())

    def accepts(self, there: JSON) -> bool:
        """Accept a split that is what would be packed; False where it is to be replaced."""
        if self.overwrite:
            require_replaceable(self.destination, there)
        else:
            require_same_split(
                self.destination, there, self._asked_of_split, named=self.named, ignore=self.ignore
            )
        return not self.overwrite

    def require_packable(self) -> None:
        """Stop before any work where there are inputs of which no sample can be made."""
        left_out = self.samples.left_out
        if not left_out or self.failures.on_error == "skip":
            return
        listed = few((f"{name}: {why}" for name, why in left_out), joint="; ")
        inputs = f"{len(left_out)} inputs make" if len(left_out) > 1 else "1 input makes"
        raise SourceError(
            f"{inputs} no sample: {listed}; add what is missing, take them out, or leave "
            "them out with --on-error skip"
        )

    def decide(self, executor: Executor) -> ConversionPlan:
        """Look at everything, and decide."""
        plan, sizes = decide(
            self.samples,
            executor,
            self.settings,
            binding=self.destination.binding,
            palettes=self.destination.palettes(),
            named=self.named,
            ignore=self.ignore,
            progress=self.progress,
        )
        return ConversionPlan(self.samples, self.settings, plan, sizes, self.failures)


def _require_known(on_error: OnError, ignore: int | None) -> None:
    if on_error not in ("stop", "skip"):
        raise SourceError(f"on_error: needed 'stop' or 'skip', found {on_error!r}")
    if ignore is not None and not 0 <= ignore <= MAX_ID:
        raise SourceError(f"ignore: needed an id within 0 … {MAX_ID}, found {ignore}")


def _named_labels(
    samples: Source, classes: str | int | Sequence[str] | None, ignore: int | None
) -> tuple[tuple[str, ...] | None, int | None]:
    """Take the classes that the user names, or else those of the format."""
    if classes is not None:
        return parse_classes(classes), ignore
    if samples.classes is None:
        return None, ignore
    return parse_classes(samples.classes), samples.ignore if ignore is None else ignore


def _require_same_labels(
    destination: Destination, named: tuple[str, ...] | None, ignore: int | None
) -> None:
    if named is not None:
        destination.require_same_labels(Labels(named, ignore, multi_hot=None))
    elif ignore is not None and destination.binding is not None:
        destination.require_same_labels(replace(destination.binding, ignore=ignore))
