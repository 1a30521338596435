"""How does a source become a split of a dataset?

The steps, in order: look at everything, decide, write. What each of them is stands in its own
module; here is only how they follow each other.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from zarrfeed import __version__
from zarrfeed.errors import SourceError
from zarrfeed.schema import FORMAT_VERSION
from zarrfeed_convert import split_writer, survey
from zarrfeed_convert.crew import Crew, crew_of
from zarrfeed_convert.decisions import (
    CodecChoice,
    FieldLayout,
    decide_chunk_rows,
    decide_codecs,
    decide_shard_rows,
)
from zarrfeed_convert.labels import Labels, parse_classes
from zarrfeed_convert.packing import DIGEST_METHOD, Recipe, ShardDone, ShardTask, pack_shard
from zarrfeed_convert.plan import Order, Plan, Settings
from zarrfeed_convert.repetition import require_replaceable, require_same_split
from zarrfeed_convert.report import Report, report_of_plan, report_of_split
from zarrfeed_convert.target import target_of

if TYPE_CHECKING:
    from zarrfeed_convert.geometry import Fit, Size
    from zarrfeed_convert.source import JSON, Source
    from zarrfeed_convert.target import Target

# What is being done, how many samples of it are done, of how many.
OnProgress: TypeAlias = Callable[[str, int, int], None]


def convert(
    samples: Source,
    out: str | os.PathLike[str],
    *,
    split: str,
    classes: str | int | Sequence[str] | None = None,
    ignore: int | None = None,
    size: Size | None = None,
    fit: Fit | None = None,
    codec: CodecChoice = "auto",
    chunk_samples: int | None = None,
    shard_size: int | None = None,
    order: Order = "shuffled",
    seed: int = 0,
    workers: int | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    progress: OnProgress | None = None,
) -> Report:
    """Pack images and masks into one split of a dataset.

    Parameters
    ----------
    samples
        What is packed, such as :class:`zarrfeed_convert.PairedFolders`.
    out
        The dataset, made if it is not there. Run once per split.
    split
        The split's name, like ``train``.
    classes
        Class names, as in :func:`zarrfeed_convert.labels.parse_classes`. None takes those of the
        dataset's other splits; where there are none, every mask is looked at.
    ignore
        The mask value of pixels that belong to no class.
    size, fit
        (height, width) of every stored sample, and how others get there: ``resize``, ``crop``
        (the centre), ``pad`` (below and at the right, the mask with `ignore`) or ``tile``.
    codec
        ``auto`` decides by how much a codec saves; ``raw``, ``lz4``, ``zstd``.
    chunk_samples
        Samples per chunk; None for as many as are worth one read.
    shard_size
        Decoded bytes of the largest field per file; None for 8 to 256 MiB.
    order
        ``shuffled`` or ``source`` (sorted by key).
    seed
        Of the shuffled order.
    workers
        Processes; None for as many as there are cores, 1 for this one. The store is the same,
        byte for byte.
    overwrite
        Replace the split if it is there already, once the new one is complete. False accepts it
        where it is what would be packed, and refuses otherwise.
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
        The input cannot be packed as it is; the message names the file and what to change. OUT
        is then what it was before.
    WorkerError
        A packing process died.
    """
    start = time.perf_counter()
    settings = Settings(size, fit, codec, chunk_samples, shard_size, order, seed)
    settings.check()
    if workers is not None and workers < 1:
        raise SourceError(f"workers: needed at least 1, found {workers}")
    named = None if classes is None else parse_classes(classes)
    if ignore is not None and not 0 <= ignore <= 65535:
        raise SourceError(f"ignore: needed an id within 0 … 65535, found {ignore}")
    target = target_of(Path(out), split)
    _require_same_labels(target, named, ignore)
    there = target.packed()
    if there is not None and overwrite:
        require_replaceable(target, there)
    elif there is not None:
        require_same_split(target, there, samples, settings, named=named, ignore=ignore)
        return replace(
            report_of_split(target, there, status="already packed"),
            seconds=time.perf_counter() - start,
        )
    with crew_of(samples, workers or _cores()) as crew:
        plan = _decide(samples, crew, settings, target, named, ignore, progress)
        if dry_run:
            report = report_of_plan(plan, target, len(samples.keys))
        else:
            report = _pack(samples, crew, plan, settings, target, progress)
    return replace(report, seconds=time.perf_counter() - start)


def _require_same_labels(target: Target, named: tuple[str, ...] | None, ignore: int | None) -> None:
    if named is not None:
        target.require_same_labels(Labels(named, ignore))
    elif ignore is not None and target.binding is not None:
        target.require_same_labels(Labels(target.binding.classes, ignore))


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _decide(
    samples: Source,
    crew: Crew,
    settings: Settings,
    target: Target,
    named: tuple[str, ...] | None,
    ignore: int | None,
    progress: OnProgress | None,
) -> Plan:
    count = len(samples.keys)
    headers = survey.probe_all(samples, crew, _told(progress, "measuring", count))
    channels, dtype = survey.require_one_kind(headers)
    surveyed: dict[int, int] | None = None
    if named is not None:
        labels, about_classes = survey.given_labels(named, ignore)
    else:
        told = _told(progress, "finding classes", count)
        labels, about_classes, surveyed = survey.survey_labels(
            samples, crew, known=target.binding, ignore=ignore, progress=told
        )
    geometry, about_size = survey.decide_geometry(
        headers, size=settings.size, fit=settings.fit, ignore=labels.ignore, names=samples.names
    )
    rows, keys = survey.lay_out(
        samples.keys, headers, geometry, shuffled=settings.order == "shuffled", seed=settings.seed
    )
    recipe = Recipe(geometry, labels)
    draft = FieldLayout("image", (*geometry.size, channels), dtype, "raw", 1, 1)
    chunk_rows, about_chunks = decide_chunk_rows(
        draft.sample_nbytes, len(rows), asked=settings.chunk_samples
    )
    shard_rows, about_shards = decide_shard_rows(
        draft.sample_nbytes, len(rows), chunk_rows=chunk_rows, asked=settings.shard_size
    )
    image_trial, mask_trial = survey.try_samples(
        crew, recipe, rows, codec=settings.codec, chunk_rows=chunk_rows
    )
    image_codec, mask_codec, about_codecs = decide_codecs(settings.codec, image_trial, mask_trial)
    image = replace(draft, codec=image_codec, chunk_rows=chunk_rows, shard_rows=shard_rows)
    mask = FieldLayout("mask", geometry.size, labels.dtype, mask_codec, chunk_rows, shard_rows)
    decisions = (about_classes, about_size, about_chunks, about_shards, *about_codecs)
    return Plan(recipe, image, mask, rows, keys, decisions, surveyed)


def _pack(
    samples: Source,
    crew: Crew,
    plan: Plan,
    settings: Settings,
    target: Target,
    progress: OnProgress | None,
) -> Report:
    with split_writer.partial_split(target) as folder:
        for layout in (plan.image, plan.mask):
            split_writer.write_array(folder, layout, samples=len(plan.rows))
        tasks = [
            ShardTask(folder, number, plan.recipe, plan.image, plan.mask, plan.rows.part(part))
            for number, part in enumerate(plan.tasks)
        ]
        done = crew.run(pack_shard, tasks, _told(progress, "packing", len(plan.rows)))
        class_pixels = np.concatenate([shard.class_pixels for shard in done])
        description = _description(samples, plan, settings)
        split_writer.write_descriptions(
            folder, keys=plan.keys, digest=_digests(done), class_pixels=class_pixels
        )
        split_writer.finish(
            target,
            folder,
            labels=plan.recipe.labels,
            description=description,
        )
    return report_of_split(target, description, status="packed")


def _digests(done: Sequence[ShardDone]) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.concatenate([shard.digest for shard in done])


def _told(progress: OnProgress | None, what: str, total: int) -> Callable[[int], None] | None:
    if progress is None:
        return None
    tell = progress
    return lambda done: tell(what, done, total)


def _description(samples: Source, plan: Plan, settings: Settings) -> JSON:
    """Compose the split's ``attributes.zarrfeed``."""
    return {
        "format": FORMAT_VERSION,
        "fields": [plan.image.name, plan.mask.name],
        "samples": len(plan.rows),
        "source": samples.describe(),
        "packed": {
            "zarrfeed": __version__,
            "found": len(samples.keys),
            "settings": settings.to_json(),
            "binary": plan.recipe.labels.binary,
            "chunk_rows": plan.image.chunk_rows,
            "shard_rows": plan.image.shard_rows,
            "codecs": {layout.name: layout.codec for layout in (plan.image, plan.mask)},
            "decisions": [asdict(decision) for decision in plan.decisions],
            "digest": DIGEST_METHOD,
        },
    }
