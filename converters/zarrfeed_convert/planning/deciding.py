"""What is decided before anything is written, in which order?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from zarrfeed_convert.mask_ids import shown_value
from zarrfeed_convert.planning import survey
from zarrfeed_convert.planning.decisions import (
    Decision,
    FieldLayout,
    decide_chunk_rows,
    decide_codecs,
    decide_shard_rows,
)
from zarrfeed_convert.planning.measuring import Measured, probe_all, require_one_kind
from zarrfeed_convert.planning.palettes import agreed_palette
from zarrfeed_convert.planning.plan import Plan
from zarrfeed_convert.shards.rows import mixed
from zarrfeed_convert.shards.samples import Recipe

if TYPE_CHECKING:
    from zarrfeed_convert.executors.executor import Executor, Progress
    from zarrfeed_convert.failures import Failures
    from zarrfeed_convert.labels import Labels
    from zarrfeed_convert.planning.palettes import Palette
    from zarrfeed_convert.planning.plan import Settings, Storage
    from zarrfeed_convert.shards.rows import Numbers, Rows
    from zarrfeed_convert.source import Source

_SHOWN = 10  # values that a decision names
# What is being done, how many samples of it are done, of how many.
OnProgress: TypeAlias = Callable[[str, int, int], None]


def decide(
    samples: Source,
    executor: Executor,
    settings: Settings,
    failures: Failures,
    *,
    binding: Labels | None,
    palettes: Mapping[str, Palette],
    named: tuple[str, ...] | None,
    ignore: int | None,
    progress: OnProgress | None,
) -> tuple[Plan, Numbers]:
    """Look at everything, and decide.

    Parameters
    ----------
    samples, executor
        What is packed, and who looks at it.
    settings
        What was asked for.
    failures
        Takes the samples that cannot be packed.
    binding, palettes
        The labels of the dataset's other splits, None where there are none; and the palettes that
        their masks used.
    named, ignore
        The classes and the ignored id that the user named.
    progress
        Is told.

    Returns
    -------
    plan, sizes
        The latter (items, 2) height and width of the source's images; 0 where unknown.

    Raises
    ------
    SourceError
        The samples cannot be packed as they are.
    """
    count = len(samples.keys)
    measured = probe_all(samples, executor, failures, step_progress(progress, "measuring", count))
    channels, dtype = require_one_kind(measured.headers)
    palette = agreed_palette(
        samples,
        executor,
        measured,
        palettes,
        progress=step_progress(progress, "comparing palettes", len(measured.items)),
    )
    surveyed: dict[int, int] | None = None
    if named is not None:
        labels, about_classes = survey.given_labels(named, ignore)
    else:
        items = measured.items
        labels, about_classes, surveyed = survey.survey_labels(
            samples,
            executor,
            items,
            known=binding,
            ignore=ignore,
            progress=step_progress(progress, "finding classes", len(items)),
        )
    geometry, about_size, unfit = survey.decide_geometry(
        measured, settings, ignore=labels.ignore, names=samples.names
    )
    failures.add(unfit)
    measured = measured.without(failures.items)
    rows = survey.lay_out(
        samples.keys, measured, geometry, shuffled=settings.order == "shuffled", seed=settings.seed
    )
    recipe = Recipe(geometry, labels)
    draft = FieldLayout("image", (*geometry.size, channels), dtype, "raw", 1, 1)
    # Of tiles that are evenly spaced, all may be of the same corner of their images.
    tried = mixed(rows, block=len(rows), seed=settings.seed) if settings.fit == "tile" else rows
    image, mask, about_layout = lay_out_fields(executor, settings.storage, recipe, draft, tried)
    about_order = survey.about_order(settings)
    decisions = (
        about_classes,
        *survey.about_mask_dtype(labels, bound=binding is not None),
        about_size,
        *_about_turned(measured),
        *_about_nodata(samples, measured),
        *(Decision(*remark) for remark in samples.remarks),
        about_order,
        *about_layout,
    )
    sizes = _sizes(count, measured)
    pixel = channels * dtype.itemsize + labels.dtype.itemsize
    largest = pixel * int(sizes.prod(axis=1).max())
    plan = Plan(
        recipe,
        image,
        mask,
        rows,
        largest,
        decisions,
        surveyed,
        palette,
        ordered=settings.order == "source",
        mixing_seed=settings.seed if settings.mixes_tiles else None,
    )
    return plan, sizes


def _about_turned(measured: Measured) -> tuple[Decision, ...]:
    """Tell of images that are turned while their masks are not: sizes may not show a mistake."""
    count = sum(header.turned for header in measured.headers)
    if not count:
        return ()
    reason = (
        "as EXIF says, and as viewers show them; their masks do not say it, and are taken as they "
        "are: save images without EXIF orientation if masks were drawn on the stored pixels"
    )
    return (Decision("orientation", f"{count} images turned", reason),)


def _about_nodata(samples: Source, measured: Measured) -> tuple[Decision, ...]:
    """Tell of values of images that their files declare to be none; NaN are counted elsewhere."""
    first: dict[float, int] = {}
    for item, header in zip(measured.items, measured.headers, strict=True):
        for value in header.nodata:
            if not math.isnan(value):
                first.setdefault(value, item)
    if not first:
        return ()
    value, item = next(iter(first.items()))
    reason = (
        f"{samples.names(item)[0]} declares {shown_value(value)} as no data: such pixels of images "
        "are packed as they are, and count in the channels' mean and std"
    )
    shown = ", ".join(map(shown_value, list(first)[:_SHOWN])) + (
        " …" if len(first) > _SHOWN else ""
    )
    return (Decision("no data", shown, reason),)


def lay_out_fields(
    executor: Executor, storage: Storage, recipe: Recipe, draft: FieldLayout, rows: Rows
) -> tuple[FieldLayout, FieldLayout, tuple[Decision, ...]]:
    """Decide how images, as in `draft`, and their masks are stored; some of the rows are tried."""
    chunk_rows, about_chunks = decide_chunk_rows(
        draft.sample_nbytes, len(rows), asked=storage.chunk_samples
    )
    shard_rows, about_shards = decide_shard_rows(
        draft.sample_nbytes, len(rows), chunk_rows=chunk_rows, asked=storage.shard_size
    )
    image_trial, mask_trial = survey.try_samples(
        executor, recipe, rows, codec=storage.codec, chunk_rows=chunk_rows
    )
    image_codec, mask_codec, about_codecs = decide_codecs(
        storage.codec, image_trial, mask_trial, chunk_rows=chunk_rows
    )
    labels, size = recipe.labels, recipe.geometry.size
    image = replace(draft, codec=image_codec, chunk_rows=chunk_rows, shard_rows=shard_rows)
    mask = FieldLayout("mask", size, labels.dtype, mask_codec, chunk_rows, shard_rows)
    return image, mask, (about_chunks, about_shards, *about_codecs)


def _sizes(count: int, measured: Measured) -> Numbers:
    sizes = np.zeros((count, 2), np.int64)
    sizes[list(measured.items)] = [(header.height, header.width) for header in measured.headers]
    return sizes


def step_progress(
    progress: OnProgress | None, what: str, total: int, *, before: int = 0
) -> Progress | None:
    """Let an executor's progress be that of a step.

    Parameters
    ----------
    progress
        Is told what is being done, how much of it is, of how much.
    what, total
        The step, and its samples.
    before
        How many of them were done before the executor began.
    """
    if progress is None:
        return None
    tell = progress
    return lambda done: tell(what, before + done, total)
