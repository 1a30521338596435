"""How is a repacked split laid out, if its cases are cut into other tiles?

As in a conversion: cases are read from stored tiles, and packed like those of any source.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed.store.schema import MASK
from zarrfeed_convert.arguments import require_number
from zarrfeed_convert.geometry import GRID, Geometry
from zarrfeed_convert.planning.padding import about_much
from zarrfeed_convert.planning.plan import Plan
from zarrfeed_convert.repacking.kept_layout import lay_out_kept
from zarrfeed_convert.repacking.repack_plan import about_chosen, decided, pixels_of_ids
from zarrfeed_convert.shards.case_parts import PART_NBYTES
from zarrfeed_convert.shards.field_layout import FieldLayout
from zarrfeed_convert.shards.packing import ShardTask, pack_shard
from zarrfeed_convert.shards.samples import Recipe
from zarrfeed_convert.source import image_names
from zarrfeed_convert.verification.originals import parts_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed_convert.executors.executor import Executor, Task
    from zarrfeed_convert.geometry import Size
    from zarrfeed_convert.planning.layout import Decision
    from zarrfeed_convert.planning.tile_choice import KnownTiles
    from zarrfeed_convert.repacking.repack_settings import RepackSettings
    from zarrfeed_convert.repacking.stored import StoredSplit
    from zarrfeed_convert.repacking.stored_facts import Facts
    from zarrfeed_convert.shards.cases import Cases
    from zarrfeed_convert.shards.packing import Shard
    from zarrfeed_convert.shards.rows import Numbers, Rows
    from zarrfeed_convert.shards.shard_record import ShardRecord
    from zarrfeed_convert.source import JSON


@dataclass(frozen=True, slots=True)
class RetilePlan:
    """A :class:`~zarrfeed_convert.splits.split_plan.SplitPlan` of cases that are cut anew.

    Attributes
    ----------
    plan
        Layouts, rows and decisions.
    cases
        The chosen cases, in the new order and with the new tiles.
    description
        The split's ``attributes.zarrfeed``, without its ``channels``.
    """

    plan: Plan
    cases: Cases
    description: JSON

    @property
    def step(self) -> str:
        """Name of the step for progress reports."""
        return "repacking"

    @property
    def task(self) -> Task[Any, None]:
        """The task that packs a shard."""
        return pack_shard

    @property
    def decided(self) -> JSON:
        """Decisions that a run must share to resume another one, as JSON."""
        return decided(self.plan)

    def task_of(self, shard: Shard) -> ShardTask:
        """Return the item of :attr:`task` for a shard."""
        return ShardTask(shard, self.plan.recipe)

    def names(self, rows: Rows) -> tuple[Sequence[str], Cases]:  # noqa: ARG002
        """Return no names of samples, and the cases."""
        return [], self.cases

    def describe(self, rows: Rows, records: Sequence[ShardRecord], channels: JSON) -> JSON:  # noqa: ARG002
        """Return the split's ``attributes.zarrfeed``."""
        return self.description | {"channels": channels}


def plan_tiles(
    executor: Executor,
    splits: Sequence[StoredSplit],
    settings: RepackSettings,
    facts: Facts,
    chosen: Numbers,
    tile: tuple[Size, Decision],
) -> tuple[Plan, Cases]:
    """Decide how the new split is laid out.

    Parameters
    ----------
    executor
        Executor that tries codecs, if that is needed.
    splits, settings
        The input splits, and the settings of the repacking.
    facts
        What is recorded about all cases of the inputs.
    chosen
        Indices of the chosen cases, in the new order.
    tile
        Size of the new tiles, and how it was decided.

    Returns
    -------
    plan, cases
        What was decided, and the chosen cases with their new tiles.
    """
    assert facts.cases is not None
    size, about_tile = tile
    labels, stored = splits[0].labels, splits[0].stored
    recipe = Recipe(Geometry(size, GRID, pad_value=_pad_value(splits)), labels)
    cases = facts.cases.part(chosen, size)
    rows = cases.rows(size)
    rows = replace(rows, item=chosen[rows.item])
    drafts = [
        FieldLayout(
            name,
            (*size, *layout.sample_shape[len(size) :]),
            labels.dtype if name == MASK else layout.dtype,
            "raw",
            1,
            1,
        )
        for name, layout in stored.items()
    ]
    fields, about_layout = lay_out_kept(
        executor,
        splits,
        settings,
        recipe,
        drafts,
        rows,
        count=len(rows),
        of_cases=True,
        same_tiles=False,
    )
    each = sum(layout.sample_nbytes for layout in fields)
    largest = max(map(math.prod, cases.sizes.tolist())) * each // math.prod(size)
    counts = facts.class_pixels[facts.rows_of(chosen)].sum(axis=0)
    plan = Plan(
        recipe,
        fields,
        rows,
        min(largest, max(PART_NBYTES, each)),
        (*about_chosen(splits, settings, facts, chosen, about_tile), *about_layout),
        pixels_of_ids(counts, labels, cases.pixels) if MASK in stored else None,
        notes=about_much(
            size, [tuple(each) for each in cases.sizes.tolist()], auto=settings.tile == "auto"
        ),
        own_pixels=cases.pixels,
    )
    return plan, cases


def _pad_value(splits: Sequence[StoredSplit]) -> float:
    """Return the value with which images are padded, which must be the same for all cases."""
    first: tuple[float, str] | None = None
    for stored in splits:
        for part in parts_of(stored.split):
            value = part.settings.get("pad_value") or 0
            _require_held(stored, value)
            first = first or (value, stored.name)
            if value != first[0]:
                raise SourceError(
                    f"{stored.name}: needed cases whose images are padded with one value, "
                    f"{first[0]:g} as in {first[1]}, found {value:g}; cut those of each value into "
                    "tiles of this size with a command of its own, and merge the results"
                )
    assert first is not None
    return first[0]


def _require_held(stored: StoredSplit, value: object) -> None:
    """Refuse a recorded value that is no number, or that images cannot hold."""
    require_number(f"{stored.name}: pad_value", value)
    for name in image_names(stored.fields):
        dtype = stored.stored[name].dtype
        limits = np.iinfo(dtype) if dtype.kind in "ui" else np.finfo(dtype)
        if not limits.min <= value <= limits.max:  # type: ignore[operator]
            raise SourceError(
                f"{stored.name}: pad_value: needed a number within {limits.min} … {limits.max}, "
                f"which {dtype} can hold, found {value}; convert again"
            )


def require_cases(splits: Sequence[StoredSplit]) -> None:
    """Refuse splits whose samples are no whole images or volumes, for `tile`.

    Raises
    ------
    SourceError
        Samples are overlapping tiles, or were made of images of other sizes.
    """
    for stored in splits:
        found = next(
            (fit for part in parts_of(stored.split) if (fit := part.settings.get("fit"))), None
        )
        if stored.kind != "cases" and found is not None:
            raise SourceError(
                f"{stored.name}: tile: needed cases, or images or volumes as they were read, found "
                f"samples made by --fit {found}, which their originals would not give again; "
                "convert these with --tile"
            )


def decide_tile(
    settings: RepackSettings,
    splits: Sequence[StoredSplit],
    facts: Facts,
    chosen: Numbers,
    known: KnownTiles,
) -> tuple[Size, Decision] | None:
    """Return the size of tiles that was asked for, and how it was decided; None to keep them.

    Raises
    ------
    SourceError
        It has another number of axes than the cases.
    """
    if settings.tile is None:
        return None
    assert facts.cases is not None
    sizes = [tuple(size) for size in facts.cases.sizes[chosen].tolist()]
    if settings.tile != "auto":
        Geometry(settings.tile, GRID).check(sizes[0], name=splits[0].name)
    return known.decide(settings.tile, sizes)
