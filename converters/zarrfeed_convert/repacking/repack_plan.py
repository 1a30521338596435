"""How is a repacked split laid out, if its samples or tiles are copied?

Like its inputs, if they have the same layout and the user asks for no other; else as in a
conversion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.store.schema import MASK
from zarrfeed_convert.geometry import Geometry, size_text
from zarrfeed_convert.planning.field_layouts import neighbours
from zarrfeed_convert.planning.layout import Decision
from zarrfeed_convert.planning.plan import Plan
from zarrfeed_convert.repacking.copy_task import CopyTask, copy_shard
from zarrfeed_convert.repacking.kept_layout import AS_BEFORE, lay_out_kept
from zarrfeed_convert.shards.field_layout import FieldLayout
from zarrfeed_convert.shards.rows import Rows
from zarrfeed_convert.shards.samples import Recipe
from zarrfeed_convert.splits.destination import classes_text, ignore_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed_convert.executors.executor import Executor, Task
    from zarrfeed_convert.labels import Labels
    from zarrfeed_convert.repacking.repack_settings import RepackSettings
    from zarrfeed_convert.repacking.stored import StoredSplit
    from zarrfeed_convert.repacking.stored_facts import Facts
    from zarrfeed_convert.shards.cases import Cases
    from zarrfeed_convert.shards.packing import Shard
    from zarrfeed_convert.shards.rows import Numbers, Tiles
    from zarrfeed_convert.shards.shard_record import ShardRecord
    from zarrfeed_convert.source import JSON


@dataclass(frozen=True, slots=True)
class RepackPlan:
    """A :class:`~zarrfeed_convert.splits.split_plan.SplitPlan` of packed samples or tiles.

    Attributes
    ----------
    plan
        Layouts, rows and decisions.
    facts
        What is recorded about the samples or tiles, in the order of the plan's rows.
    description
        The split's ``attributes.zarrfeed``, without its ``channels``.
    own_size
        (n, 2 or 3) sizes of the parts of tiles of cases that are not padded; None for samples.
    """

    plan: Plan
    facts: Facts
    description: JSON
    own_size: Numbers | None = None

    @property
    def step(self) -> str:
        """Name of the step for progress reports."""
        return "repacking"

    @property
    def task(self) -> Task[Any, None]:
        """The task that copies the samples of a shard."""
        return copy_shard

    @property
    def decided(self) -> JSON:
        """Decisions that a run must share to resume another one, as JSON."""
        return decided(self.plan)

    def task_of(self, shard: Shard) -> CopyTask:
        """Return the item of :attr:`task` for a shard."""
        start = shard.number * self.plan.shard_rows
        here, facts = slice(start, start + len(shard.rows)), self.facts
        return CopyTask(
            shard,
            facts.digest[here],
            facts.class_pixels[here],
            facts.channel_sums[here],
            None if facts.dhash is None else facts.dhash[here],
            None if self.own_size is None else self.own_size[here],
        )

    def names(self, rows: Rows) -> tuple[Sequence[str], Tiles | Cases | None]:  # noqa: ARG002
        """Return the names of the samples and, for tiles, from where they were cut."""
        if self.facts.cases is not None:
            return [], self.facts.cases
        return self.facts.keys, self.facts.tiles

    def describe(self, rows: Rows, records: Sequence[ShardRecord], channels: JSON) -> JSON:  # noqa: ARG002
        """Return the split's ``attributes.zarrfeed``."""
        return self.description | {"channels": channels}


def decided(plan: Plan) -> JSON:
    """Return the decisions of a plan that a run must share to resume another one, as JSON."""
    layouts = [f"{layout}" for layout in plan.fields]
    return {"layouts": layouts, "rows": plan.rows.fingerprint(), **plan.tile_recorded()}


def plan_copies(
    executor: Executor,
    splits: Sequence[StoredSplit],
    settings: RepackSettings,
    facts: Facts,
    chosen: Numbers,
    about_tile: Decision | None,
) -> Plan:
    """Decide how the new split is laid out.

    Parameters
    ----------
    executor
        Executor that tries codecs, if that is needed.
    splits
        The input splits.
    settings
        Settings of the repacking.
    facts
        What is recorded about all samples or cases of the inputs.
    chosen
        Indices of the chosen samples or cases, in the new order.
    about_tile
        How the tile was decided, if it was and cases have it already; None to keep what is there.
    """
    labels, size = splits[0].labels, facts.size
    rows = facts.rows_of(chosen)
    recipe = Recipe(Geometry(size, None), labels)
    picked = Rows(rows, np.zeros((rows.size, len(size)), np.int64))
    drafts = [
        FieldLayout(name, layout.sample_shape, layout.dtype, "raw", 1, 1)
        for name, layout in splits[0].stored.items()
    ]
    fields, about_layout = lay_out_kept(
        executor,
        splits,
        settings,
        recipe,
        drafts,
        picked if facts.cases is None else picked.part(neighbours(rows.size)),
        count=rows.size,
        of_cases=facts.cases is not None,
        same_tiles=True,
    )
    if about_tile is None:
        what = "size" if facts.cases is None else "tile"
        about_tile = Decision(what, size_text(size), AS_BEFORE)
    about = about_chosen(splits, settings, facts, chosen, about_tile)
    counts, pixels = facts.class_pixels[rows].sum(axis=0), rows.size * math.prod(size)
    if facts.cases is not None:
        pixels = facts.cases.part(chosen, size).pixels
    return Plan(
        recipe,
        fields,
        picked,
        sum(layout.sample_nbytes for layout in fields),
        (*about, *about_layout),
        pixels_of_ids(counts, labels, pixels) if MASK in splits[0].stored else None,
        own_pixels=pixels,
    )


def about_chosen(
    splits: Sequence[StoredSplit],
    settings: RepackSettings,
    facts: Facts,
    chosen: Numbers,
    about_size: Decision,
) -> tuple[Decision, ...]:
    """Return the decisions on which samples or cases are repacked, and what they are."""
    first = splits[0]
    ignored = (
        "" if first.labels.ignore is None else f"; {ignore_text(first.labels.ignore)} is ignored"
    )
    some = "all" if chosen.size == len(facts) else f"{chosen.size} of {len(facts)}"
    of_what = f"of {', '.join(stored.name for stored in splits)}"
    why = {
        "stored": "as they lie",
        "source": "sorted by name",
        "shuffled": f"by seed {settings.seed}",
    }
    return (
        Decision(facts.of_what, some, of_what),
        Decision("order", settings.order, why[settings.order]),
        *(
            Decision("classes", f"{_classes(first.labels)}{ignored}", AS_BEFORE)
            for field in first.fields
            if field.name == MASK
        ),
        about_size,
    )


def _classes(labels: Labels) -> str:
    return "none" if labels.instances else classes_text(labels.classes)


def pixels_of_ids(counts: Numbers, labels: Labels, pixels: int) -> dict[int, int] | None:
    """Return the number of pixels of every id, including the ignored one; None of instances.

    Parameters
    ----------
    counts
        (K,) pixels of each class.
    labels
        The classes, and the ignored id.
    pixels
        Number of all pixels, without the padding of tiles of cases.
    """
    if labels.instances:
        return None
    of_ids = dict(enumerate(counts.tolist()))
    if labels.ignore is not None:
        of_ids[labels.ignore] = of_ids.get(labels.ignore, 0) + pixels - int(counts.sum())
    return of_ids
