"""How does a source become a split of a dataset?

:func:`convert` checks its arguments, and passes them to a
:class:`~zarrfeed_convert.splits.pack_job.PackJob`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from zarrfeed import __version__
from zarrfeed.errors import SourceError, look_up
from zarrfeed.spelling import few, named
from zarrfeed.store.address import local_out
from zarrfeed_convert.arguments import (
    refusing,
    require_choice,
    require_spacing,
    require_whole,
    unlisted,
)
from zarrfeed_convert.conversion_plan import ConversionPlan
from zarrfeed_convert.copying.original_addresses import with_addresses
from zarrfeed_convert.executors.selection import executor_of, require_executor
from zarrfeed_convert.failures import Failures
from zarrfeed_convert.labels import MAX_ID, Labels, parse_classes
from zarrfeed_convert.orientation import require_codes
from zarrfeed_convert.planning.plan import NO_OVERLAP, Order, Settings, Spacing, Tile
from zarrfeed_convert.planning.planner import OnProgress, plan_conversion
from zarrfeed_convert.planning.spacing import regridded
from zarrfeed_convert.sources.iterables.spool import source_of_samples
from zarrfeed_convert.splits.destination import destination_of
from zarrfeed_convert.splits.existing_split import (
    asked_for,
    require_replaceable,
    require_same_split,
)
from zarrfeed_convert.splits.other_tiles import known_tiles
from zarrfeed_convert.splits.pack_job import PackJob
from zarrfeed_convert.splits.spaces import about_other_spaces, spacing_of_others
from zarrfeed_convert.supervision.board import PATIENCE_S

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.executors.executor import Executor
    from zarrfeed_convert.failures import OnError
    from zarrfeed_convert.geometry import Fit, Size
    from zarrfeed_convert.shards.codecs import CodecChoice
    from zarrfeed_convert.source import JSON, Source
    from zarrfeed_convert.sources.iterables.samples import Samples
    from zarrfeed_convert.splits.destination import Destination
    from zarrfeed_convert.splits.report import Report


@refusing(overlap=NO_OVERLAP)
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
    pad_value: float | None = None,
    tile: Tile | None = None,
    orient: str | None = None,
    spacing: Spacing | Literal["keep"] | None = None,
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
    limits: Limits | None = None,
) -> Report:
    """Pack images and masks into one split of a dataset.

    Parameters
    ----------
    samples
        A source, such as :class:`zarrfeed_convert.PairedFolders`, or any iterable of
        ``(image, mask)``, ``(key, image, mask)`` or ``{"image": …, "mask": …}``. Mappings may have
        further arrays, or no mask; texts in them are not packed. Volumes without masks are
        (D, H, W, C), or (D, H, W) if `size` or another split says that they are volumes. Mappings
        may say where voxels lie: ``affine``, (4, 4) from (z, y, x, 1) to (x, y, z, 1) in mm, or
        ``spacing``, in mm along D, H, W. The samples of an iterable are first written to a
        temporary file beside `out`, which takes their decoded size.
    out
        Path of the dataset. It is created if it does not exist. Convert each split with its own
        call.
    split
        Name of the split, such as ``train``.
    classes
        Class names in the order of their ids: a sequence; an integer K, for classes named ``0`` to
        ``K-1``; or a text with K, with names separated by commas, or with the path of a file of one
        name per line. None uses those of the dataset's other splits; without other splits, they are
        found by reading every mask, and the channels of multi-hot masks are named by their numbers.
    ignore
        Mask value of pixels that belong to no class. Multi-hot masks have none.
    size
        (height, width) or (depth, height, width) of every stored sample.
    fit
        How samples of other sizes are converted: ``resize``, ``crop`` (keep the centre) or ``pad``
        (at the bottom and right; images with `pad_value`, masks with `ignore`, multi-hot ones with
        0).
    pad_value
        Value of padded pixels of images, such as -1024 for CT; None for 0.
    tile
        (height, width) or (depth, height, width): the samples are cases, images or volumes of any
        size, which are cut into tiles of this size by a grid without overlap. The last tiles along
        an axis are padded. ``auto`` takes the tile of the dataset's other splits of cases, if there
        are any, else that which pads least. See :func:`zarrfeed.open_case`.
    orient
        Turn volumes so that their x, y and z axes point to these directions: ``RAS`` to the right,
        the anterior and the superior, as nibabel's canonical orientation; ``LPS`` as in DICOM.
        Volumes are stored as (D, H, W), which is (z, y, x). None or ``keep`` leaves them as they
        are. The headers of the source must have an affine.
    spacing
        Resample volumes to this distance of voxels along D, H, W in mm, after they are turned:
        images linearly, without smoothing; masks and targets by the nearest voxel. ``median`` takes
        that of the dataset's other splits, if they have one, else the median of all volumes along
        each axis. None or ``keep`` leaves it as it is.
    codec
        ``auto``: chosen by how much a codec saves. Or ``raw``, ``lz4``, ``zstd``.
    chunk_samples
        Number of samples per chunk; None for as many as one read should have. With `tile`, always
        1.
    shard_size
        Decoded bytes of the largest field per file; None for 8 to 256 MiB, with `tile` 64 to 256
        MiB, by the size of the split.
    order
        ``shuffled``, or ``source``: sorted by key. Tiles of a case follow each other in any case.
    seed
        Seed of the shuffled order.
    workers
        Number of processes. 1 uses this process; None uses one per core, or fewer if memory is
        short. The bytes of the store do not depend on it. If a decoder crashes or hangs in another
        process, the error names the file. In this process, it cannot.
    scheduler
        Address of the scheduler of a Dask cluster, such as ``tcp://10.0.0.1:8786``, whose workers
        then pack, each in all its threads. It replaces `workers`. The samples and `out` must be on
        paths that the workers share with this machine, with the same version of zarrfeed.
    on_error
        ``stop``: a sample that cannot be packed ends the conversion. ``skip``: it is left out, and
        the split records it.
    read_timeout
        Seconds after which a process that is still reading the same file is killed, plus one second
        per MiB of the file. The file then counts as one that cannot be packed.
    overwrite
        Whether to replace an existing split, once the new one is complete. If False, an existing
        split must be what would be packed.
    restart
        Whether to start anew instead of resuming a run that was stopped.
    dry_run
        Whether to decide everything, but write nothing.
    progress
        Called with the current step, the number of samples that are done, and their total number.
    limits
        Limits of what resampled volumes may claim; see :class:`zarrfeed_convert.Limits`. Those of
        files are arguments of the source.

    Returns
    -------
    Report
        What was found, decided and written.

    Raises
    ------
    SourceError
        The samples cannot be packed, or an argument is not valid.
    WorkerError
        A packing process died, or the Dask cluster cannot run the tasks.

    Notes
    -----
    A run that is stopped, for whatever reason, leaves its packed shards beside the path of the
    split. The same call resumes it. The split then has the same bytes as that of a run that was not
    stopped. A run that ends before a shard is packed leaves `out` as it was.
    """
    start = time.perf_counter()
    size, tile = unlisted(size), unlisted(tile)
    settings = Settings(
        size,
        fit,
        codec,
        chunk_samples,
        shard_size,
        order,
        seed,
        pad_value,
        tile,
        None if orient in (None, "keep") else require_codes(orient),
        _asked_spacing(spacing),
    )
    settings.check()
    _require_known(on_error, ignore)
    require_executor(workers, scheduler, read_timeout=read_timeout)
    place = local_out(out, option="--upload")
    destination = destination_of(place, split)
    given = size or (None if tile == "auto" else tile)
    axes = len(given) if given else destination.spatial_axes(replaced=overwrite)
    with source_of_samples(
        samples, place.absolute().parent, axes=axes, progress=progress
    ) as given_source:
        source, resolved = regridded(
            given_source,
            orient=settings.orient,
            spacing=settings.spacing,
            known=spacing_of_others(destination),
            limits=limits,
            progress=progress,
        )
        settings = replace(settings, spacing=resolved)
        failures = Failures(on_error, len(source.keys))
        named, ignore = _named_labels(source, classes, ignore)
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
        """Arguments that decide the split's bytes, as JSON; known before samples are read."""
        labels = {"classes": self.named, "ignore": self.ignore}
        return {"zarrfeed": __version__, **self._asked_of_split, **labels}

    @property
    def _asked_of_split(self) -> JSON:
        found = len(self.samples.keys) + len(self.samples.left_out)
        asked = asked_for(self.samples.describe(), found, self.settings.to_json())
        return with_addresses(asked)

    def accepts(self, there: JSON) -> bool:
        """Return whether an existing split is what would be packed; False to replace it."""
        if self.overwrite:
            require_replaceable(self.destination, there)
        else:
            require_same_split(
                self.destination,
                there,
                self._asked_of_split,
                fields=[field.name for field in self.samples.fields],
                named=self.named,
                ignore=self.ignore,
            )
        return not self.overwrite

    def require_packable(self) -> None:
        """Check, before any work, that all inputs make samples, unless failures are skipped."""
        left_out = self.samples.left_out
        if not left_out or self.failures.on_error == "skip":
            return
        listed = few((f"{name}: {why}" for name, why in left_out), joint="; ")
        inputs = f"{len(left_out)} inputs make" if len(left_out) > 1 else "1 input makes"
        skip = "leave them out with --on-error skip"
        advised = all("; " in why for _, why in left_out)  # by the reasons themselves
        if self.samples.keys:
            advice = f"or {skip}" if advised else f"add what is missing, take them out, or {skip}"
        else:
            advice = "" if advised else "add what is missing, or take them out"
        raise SourceError(
            f"{inputs} no sample: {listed}{advice and f'; {advice}'}{look_up('left-out-inputs')}"
        )

    def decide(self, executor: Executor) -> ConversionPlan:
        """Look at the samples, and decide how they are packed."""
        plan, measured = plan_conversion(
            self.samples,
            executor,
            self.settings,
            binding=self.destination.binding,
            palettes=self.destination.palettes(),
            named=self.named,
            ignore=self.ignore,
            tiles=known_tiles(self.destination, self.asked),
            progress=self.progress,
        )
        about = about_other_spaces(self.destination, self.settings)
        plan = replace(plan, notes=(*plan.notes, *about))
        return ConversionPlan(self.samples, self.settings, plan, measured, self.failures)


def _require_known(on_error: OnError, ignore: int | None) -> None:
    require_choice("on_error", on_error, ("stop", "skip"))
    require_whole("ignore", ignore, least=0, most=MAX_ID)


def _asked_spacing(spacing: Spacing | Literal["keep"] | None) -> Spacing | None:
    if isinstance(spacing, str) and spacing in ("median", "keep"):
        return "median" if spacing == "median" else None
    return require_spacing(spacing)


def _named_labels(
    samples: Source, classes: str | int | Sequence[str] | None, ignore: int | None
) -> tuple[tuple[str, ...] | None, int | None]:
    """Return classes and ignored id of the user or, if there are none, those of the source."""
    if samples.instances:
        return None, _ignored_of_instances(samples, classes, ignore)
    if samples.filled is not None:
        if ignore not in (None, samples.filled):
            raise SourceError(
                f"--ignore: needed {samples.filled}, the id that masks of this format get where "
                f"there are no data, found {ignore}; use -o nodata={ignore}, too"
            )
        ignore = samples.filled
    if classes is not None:
        return _renamed(parse_classes(classes), samples), ignore
    if samples.classes is None:
        return None, ignore
    return parse_classes(samples.classes), samples.ignore if ignore is None else ignore


def _renamed(named: tuple[str, ...], samples: Source) -> tuple[str, ...]:
    """Return the user's names of classes, and refuse those that give other ids to the source's."""
    known = tuple(samples.classes or ())
    # Fewer are right for the first ones, where --ignore leaves the last ones out.
    counted = named == tuple(map(str, range(len(named))))  # --classes 3
    moved = named != known[: len(named)] and not counted
    if known and moved and (set(named) <= set(known) or len(named) < len(known)):
        how = "in another order" if set(named) == set(known) else "which are others"
        raise SourceError(
            "--classes: needed names in the order of their ids, which the source gives: "
            f"{few(known, shown=9)}; found {few(named, shown=9)}, {how}; leave --classes out"
            f"{look_up('class-ids')}"
        )
    return named


def _ignored_of_instances(
    samples: Source, classes: str | int | Sequence[str] | None, ignore: int | None
) -> int | None:
    """Return the ignored id of masks that number instances, and refuse classes."""
    if classes is not None:
        raise SourceError(
            "--classes: needed none with masks that number instances, which have no classes, found "
            f"{classes!r:.80}; leave it out, or use --instances semantic"
        )
    if ignore not in (None, samples.ignore):
        needed = "none" if samples.ignore is None else str(samples.ignore)
        raise SourceError(
            f"--ignore: needed {needed}, because every other number is that of an instance, found "
            f"{ignore}; leave it out"
        )
    return samples.ignore


def _require_same_labels(
    destination: Destination, named: tuple[str, ...] | None, ignore: int | None
) -> None:
    if named is not None:
        destination.require_same_labels(Labels(named, ignore, multi_hot=None))
    elif ignore is not None and destination.binding is not None:
        destination.require_same_labels(replace(destination.binding, ignore=ignore))
