"""In which order is everything decided before a split is written?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from zarrfeed.spelling import few, plural
from zarrfeed.store.schema import MASK
from zarrfeed_convert.geometry import GRID
from zarrfeed_convert.labels import Labels
from zarrfeed_convert.mask_kinds import require_same_kind
from zarrfeed_convert.mask_map import shown_value
from zarrfeed_convert.planning import classes, survey
from zarrfeed_convert.planning.class_advice import about_mask_dtype, about_sparse_ids
from zarrfeed_convert.planning.field_layouts import lay_out_fields
from zarrfeed_convert.planning.layout import (
    Decision,
    text_of_bytes,
)
from zarrfeed_convert.planning.padding import about_padding
from zarrfeed_convert.planning.palettes import agreed_palette
from zarrfeed_convert.planning.plan import Plan
from zarrfeed_convert.planning.survey_tasks import Measured, measure_part, probe_all, require_alike
from zarrfeed_convert.shards.case_parts import PART_NBYTES
from zarrfeed_convert.shards.field_layout import FieldLayout
from zarrfeed_convert.shards.samples import Recipe
from zarrfeed_convert.source import PAIR

if TYPE_CHECKING:
    from zarrfeed_convert.executors.executor import Executor, Progress
    from zarrfeed_convert.geometry import Geometry
    from zarrfeed_convert.planning.palettes import Palette
    from zarrfeed_convert.planning.plan import Settings
    from zarrfeed_convert.planning.tile_choice import KnownTiles
    from zarrfeed_convert.source import Source

# Called with the name of a step, the number of samples done, and their total.
OnProgress: TypeAlias = Callable[[str, int, int], None]

_NAN = "nan"


def plan_conversion(
    samples: Source,
    executor: Executor,
    settings: Settings,
    *,
    binding: Labels | None,
    palettes: Mapping[str, Palette],
    named: tuple[str, ...] | None,
    ignore: int | None,
    tiles: KnownTiles,
    progress: OnProgress | None,
) -> tuple[Plan, Measured]:
    """Measure the samples of a source, and decide how they are packed.

    Parameters
    ----------
    samples, executor
        The source, and the executor that reads it; its `failures` collect the samples that cannot
        be packed.
    settings
        The user's settings.
    binding, palettes
        Labels of the dataset's other splits, None if there are none; and the palettes that the
        masks of these use.
    named, ignore
        Classes and ignored id that the user or the source named.
    tiles
        Tiles that the tile ``auto`` takes instead of choosing one.
    progress
        Callback for progress.

    Returns
    -------
    plan, measured
        What was decided, and the headers of the samples to pack.

    Raises
    ------
    SourceError
        The samples cannot be packed with these settings.
    """
    count = len(samples.keys)
    measured = probe_all(
        samples,
        executor,
        step_progress(progress, "measuring", count),
        of_cases=settings.tile is not None,
    )
    kinds = require_alike(samples, measured)
    palette = agreed_palette(
        samples,
        executor,
        measured,
        palettes,
        progress=step_progress(progress, "comparing palettes", len(measured.items)),
    )
    surveyed: dict[int, int] | None = None
    names = [field.name for field in samples.fields]
    class_axis = kinds[MASK].shape if MASK in names else ()
    if MASK in names and binding is not None:
        found = Labels((), None, multi_hot=bool(class_axis), instances=samples.instances)
        require_same_kind(binding, found, samples.names(measured.items[0])[1])
    if MASK not in names:
        labels, about_classes = classes.without_masks(named, ignore, known=binding, fields=names)
    elif samples.instances:
        labels, about_classes = classes.instance_labels(ignore)
    elif class_axis:
        labels, about_classes = classes.multi_hot_labels(
            class_axis[-1], named, ignore, known=binding
        )
    elif named is not None:
        labels, about_classes = classes.given_labels(named, ignore, by_source=samples.classes)
        if samples.classes is not None and labels.classes == (*samples.classes,):
            labels = replace(labels, said_in=samples.classes_from)
    else:
        labels, about_classes, surveyed = classes.survey_labels(
            samples,
            executor,
            measured,
            known=binding,
            ignore=ignore,
            progress=step_progress(progress, "finding classes", len(measured.items)),
        )
    geometry, about_size, unfit = survey.decide_geometry(
        measured,
        settings,
        ignore=0 if labels.multi_hot or labels.instances else labels.ignore,
        names=samples.names,
        known=tiles,
    )
    survey.require_ignored_id(samples.fields, kinds, measured, geometry, labels.ignore)
    executor.failures.add(unfit, complete=True)
    measured = measured.without(executor.failures.items)
    largest, about_decoding = _decoded_at_once(samples, executor, measured, geometry)
    measured = measured.without(executor.failures.items)
    about_ids = about_sparse_ids(labels, surveyed or {}) if binding is None else ()
    notes = about_padding(
        settings,
        samples.fields,
        kinds,
        measured,
        geometry,
        labels,
        bound=binding is not None,
    )
    rows = survey.lay_out(
        samples.keys, measured, geometry, shuffled=settings.order == "shuffled", seed=settings.seed
    )
    recipe = Recipe(geometry, labels)
    drafts = tuple(
        FieldLayout(
            field.name,
            (*geometry.size, *kinds[field.name].shape),
            labels.dtype if field.name == MASK else np.dtype(kinds[field.name].dtype),
            "raw",
            1,
            1,
        )
        for field in samples.fields
    )
    fields, about_layout = lay_out_fields(
        executor,
        settings.storage,
        recipe,
        drafts,
        rows,
        count=len(rows),
        of_cases=geometry.fit == GRID,
    )
    about_order = survey.about_order(settings)
    decisions = (
        about_classes,
        *about_mask_dtype(labels, bound=binding is not None),
        about_size,
        *_about_turned(measured),
        *_about_nodata(samples, measured),
        *(Decision(*remark) for remark in samples.remarks),
        about_order,
        *about_layout,
    )
    plan = Plan(
        recipe,
        fields,
        rows,
        largest,
        decisions,
        surveyed,
        palette,
        notes=(*about_ids, *notes, *about_decoding),
        ordered=settings.order == "source" or settings.tile is not None,
    )
    return plan, measured


def _decoded_at_once(
    samples: Source, executor: Executor, measured: Measured, geometry: Geometry
) -> tuple[int, tuple[Decision, ...]]:
    """Return the bytes of the largest part of a sample that is decoded at once, and tell of it."""
    nbytes = [prod(header.size) * header.pixel_nbytes for header in measured.headers]
    sizes = dict(zip(measured.items, nbytes, strict=True))
    if geometry.fit != GRID:
        return max(nbytes), ()
    large = [item for item, nbytes in sizes.items() if nbytes > PART_NBYTES]
    found = executor.run(measure_part, [(item, geometry.size) for item in large])
    wholes = 0
    for item, (part, whole) in zip(large, found, strict=True):
        sizes[item] = part
        wholes += whole
    who = max(sizes, key=lambda item: sizes[item])
    if not wholes:
        return sizes[who], ()
    reason = (
        f"their format is not read in parts; the largest, {samples.names(who)[0]}, takes "
        f"{text_of_bytes(sizes[who])}, and several times that while it is decoded"
    )
    return sizes[who], (Decision("decoding", f"{plural(wholes, 'case')} whole", reason),)


def _about_turned(measured: Measured) -> tuple[Decision, ...]:
    """Tell of images that are turned while other fields are not: sizes may not show a mistake."""
    count = sum(header.turned for header in measured.headers)
    if not count:
        return ()
    reason = (
        "as EXIF says, and as viewers show them; their masks or other fields do not say it, and "
        "are taken as they are: save images without EXIF orientation if these were drawn on the "
        "stored pixels"
    )
    return (Decision("orientation", f"{plural(count, 'image')} turned", reason),)


def _about_nodata(samples: Source, measured: Measured) -> tuple[Decision, ...]:
    """Tell of values that files declare to be none, and of how many files declare one."""
    declaring = [
        (item, header.nodata)
        for item, header in zip(measured.items, measured.headers, strict=True)
        if header.nodata
    ]
    if not declaring:
        return ()
    item, nodata = declaring[0]
    # As texts, since NaN is not equal to itself.
    values = dict.fromkeys(shown_value(value) for _, declared in declaring for value in declared)
    names = samples.names(item)
    who = names[0] if set(samples.fields) <= set(PAIR) else f"one of {', '.join(names)}"
    total = len(measured.items)
    of_all = f", as {len(declaring)} of {total} samples declare such values" if total > 1 else ""
    counted = "" if [*values] == [_NAN] else ", and count in the channels' mean and std"
    reason = (
        f"{who} declares {shown_value(nodata[0])} as no data{of_all}: such pixels of images are "
        f"packed as they are{counted}"
    )
    if _NAN in values:
        reason += "; NaN in images make a loss NaN"
    if who != names[0]:
        reason += "; those of targets count in a loss, unless weights leave them out"
    reason += "; to replace them, " + ("use -o fill=0, or " if samples.takes_fill else "")
    reason += "do it in a transform"
    return (Decision("no data", few(values, counted=True), reason),)


def step_progress(
    progress: OnProgress | None, what: str, total: int, *, before: int = 0
) -> Progress | None:
    """Make an executor's callback for progress from that of a conversion.

    Parameters
    ----------
    progress
        Callback of the conversion; None for none.
    what, total
        Name of the step, and its number of samples.
    before
        Number of samples that were done before the executor began.
    """
    if progress is None:
        return None
    tell = progress
    return lambda done: tell(what, before + done, total)
