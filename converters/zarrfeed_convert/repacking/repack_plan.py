"""How is a repacked split laid out?

Like its inputs, if they have the same layout and the user asks for no other; else as in a
conversion.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from zarrfeed.store.schema import IMAGE, MASK
from zarrfeed_convert.arguments import require_choice, require_whole
from zarrfeed_convert.geometry import Geometry, size_text
from zarrfeed_convert.planning.layout import Decision
from zarrfeed_convert.planning.plan import Plan, Storage
from zarrfeed_convert.planning.planner import largest_nbytes, lay_out_fields
from zarrfeed_convert.repacking.copy_task import CopyTask, copy_shard
from zarrfeed_convert.repacking.row_selection import ORDERS, StoredOrder
from zarrfeed_convert.shards.codecs import CODEC_CHOICES, CODECS, Codec, CodecChoice
from zarrfeed_convert.shards.field_layout import FieldLayout
from zarrfeed_convert.shards.rows import Rows
from zarrfeed_convert.shards.samples import Recipe
from zarrfeed_convert.splits.destination import classes_text, ignore_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed_convert.executors.executor import Executor, Task
    from zarrfeed_convert.repacking.stored import StoredSplit
    from zarrfeed_convert.repacking.stored_facts import Facts
    from zarrfeed_convert.shards.cases import Cases
    from zarrfeed_convert.shards.packing import Shard
    from zarrfeed_convert.shards.rows import Numbers, Tiles
    from zarrfeed_convert.shards.shard_record import ShardRecord
    from zarrfeed_convert.source import JSON

RepackCodec: TypeAlias = CodecChoice | Literal["keep"]
_CHOICES: tuple[RepackCodec, ...] = ("keep", *CODEC_CHOICES)
_AS_BEFORE = "as it was"


@dataclass(frozen=True, slots=True)
class RepackSettings:
    """Settings that decide a repacked split's bytes, together with its samples.

    The store records them. See :func:`zarrfeed_convert.repack` for their meaning.
    """

    codec: RepackCodec
    chunk_samples: int | None
    shard_size: int | None
    order: StoredOrder
    seed: int

    def check(self) -> None:
        """Check that all values are in their range.

        Raises
        ------
        SourceError
            One is not.
        """
        require_choice("order", self.order, ORDERS)
        require_choice("codec", self.codec, _CHOICES)
        self.storage.check()
        require_whole("seed", self.seed, least=0)

    @property
    def storage(self) -> Storage:
        """How to store fields that do not keep their codec and layout."""
        codec: CodecChoice = "auto" if self.codec == "keep" else self.codec
        return Storage(codec, self.chunk_samples, self.shard_size)

    def to_json(self) -> JSON:
        """Return the settings as the store records them."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class RepackPlan:
    """A :class:`~zarrfeed_convert.splits.split_plan.SplitPlan` of packed samples.

    Attributes
    ----------
    plan
        Layouts, rows and decisions.
    facts
        What is recorded about the samples, in the order of the plan's rows.
    description
        The split's ``attributes.zarrfeed``, without its ``channels``.
    """

    plan: Plan
    facts: Facts
    description: JSON

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
        layouts = [f"{layout}" for layout in self.plan.fields]
        return {"layouts": layouts, "rows": self.plan.rows.fingerprint()}

    def task_of(self, shard: Shard) -> CopyTask:
        """Return the item of :attr:`task` for a shard."""
        start = shard.number * self.plan.shard_rows
        here, facts = slice(start, start + len(shard.rows)), self.facts
        return CopyTask(
            shard, facts.digest[here], facts.class_pixels[here], facts.channel_sums[here]
        )

    def names(self, rows: Rows) -> tuple[Sequence[str], Tiles | Cases | None]:  # noqa: ARG002
        """Return the names of the samples and, for tiles, from where they were cut."""
        return self.facts.keys, self.facts.tiles

    def describe(self, rows: Rows, records: Sequence[ShardRecord], channels: JSON) -> JSON:  # noqa: ARG002
        """Return the split's ``attributes.zarrfeed``."""
        return self.description | {"channels": channels}


def plan_repack(
    executor: Executor,
    splits: Sequence[StoredSplit],
    settings: RepackSettings,
    facts: Facts,
    rows: Numbers,
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
        What is recorded about all samples of the inputs.
    rows
        Indices of the chosen samples, in the new order.
    """
    stored = {field.name: splits[0].split.layouts[field.name] for field in splits[0].fields}
    size = stored[IMAGE].sample_shape[:-1]
    recipe = Recipe(Geometry(size, None), splits[0].labels)
    picked = Rows(rows, np.zeros((rows.size, len(size)), np.int64))
    drafts = [
        FieldLayout(name, layout.sample_shape, layout.dtype, "raw", 1, 1)
        for name, layout in stored.items()
    ]
    wanted, kept = _with_kept(splits, settings, largest_nbytes(drafts), rows.size)
    fields, about_layout = lay_out_fields(
        executor, wanted, recipe, drafts, picked, count=len(picked)
    )
    about = {decision.what: decision for decision in about_layout} | kept.decisions
    fields = tuple(
        replace(layout, codec=kept.codecs.get(layout.name, layout.codec)) for layout in fields
    )
    if kept.shard_rows is not None:
        found, before = fields[0].shard_rows, kept.shard_rows
        why = _AS_BEFORE if found == before else f"it was {before}, of which chunks allow so many"
        about["shard rows"] = Decision("shard rows", str(found), why)
    decisions = (*_about_samples(splits, settings, facts, rows), *about.values())
    return Plan(
        recipe,
        fields,
        picked,
        sum(layout.sample_nbytes for layout in fields),
        decisions,
        _pixels(facts, rows, splits[0].labels.ignore, math.prod(size)) if MASK in stored else None,
    )


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is kept from the inputs."""

    codecs: dict[str, Codec]
    shard_rows: int | None
    decisions: dict[str, Decision]


def _with_kept(
    splits: Sequence[StoredSplit], settings: RepackSettings, sample_nbytes: int, count: int
) -> tuple[Storage, _Kept]:
    """Return what is kept from the inputs, and the settings for the rest."""
    chunk, shard = _common(splits, "chunk_rows"), _common(splits, "shard_rows")
    if settings.shard_size is not None:
        shard = None
    wanted, kept = settings.storage, _Kept({}, shard, {})
    if settings.chunk_samples is None and chunk is not None:
        wanted = replace(wanted, chunk_samples=min(chunk, count))
        kept.decisions["chunk rows"] = Decision("chunk rows", str(wanted.chunk_samples), _AS_BEFORE)
    if shard is not None:
        wanted = replace(wanted, shard_size=shard * sample_nbytes)
    codecs = _common_codecs(splits) if settings.codec == "keep" else None
    if codecs is not None:
        wanted = replace(wanted, codec="raw")  # skips the trial of codecs
        kept.codecs.update(codecs)
        for name, codec in codecs.items():
            what = f"{name} codec"
            kept.decisions[what] = Decision(what, codec, _AS_BEFORE)
    return wanted, kept


def _common(splits: Sequence[StoredSplit], what: str) -> int | None:
    """Return the rows per chunk or shard that all fields and splits share; None if they differ."""
    found = {
        getattr(stored.split.layouts[field.name], what)
        for stored in splits
        for field in stored.fields
    }
    return int(found.pop()) if len(found) == 1 else None


def _common_codecs(splits: Sequence[StoredSplit]) -> dict[str, Codec] | None:
    """Return the codecs that all splits share; None if they differ or cannot be written."""
    found: list[dict[str, Any]] = [stored.split.attributes["packed"]["codecs"] for stored in splits]
    first = found[0]
    if any(codecs != first for codecs in found) or not {*first.values()} <= {*CODECS}:
        return None
    return {field.name: first[field.name] for field in splits[0].fields}


def _about_samples(
    splits: Sequence[StoredSplit], settings: RepackSettings, facts: Facts, rows: Numbers
) -> tuple[Decision, ...]:
    first = splits[0]
    ignored = (
        "" if first.labels.ignore is None else f"; {ignore_text(first.labels.ignore)} is ignored"
    )
    size = first.split.layouts[IMAGE].sample_shape[:-1]
    samples = "all" if rows.size == len(facts) else f"{rows.size} of {len(facts)}"
    of_what = f"of {', '.join(stored.name for stored in splits)}"
    why = {
        "stored": "as they lie",
        "source": "sorted by name",
        "shuffled": f"by seed {settings.seed}",
    }
    return (
        Decision("samples", samples, of_what),
        Decision("order", settings.order, why[settings.order]),
        *(
            Decision("classes", f"{classes_text(first.labels.classes)}{ignored}", _AS_BEFORE)
            for field in first.fields
            if field.name == MASK
        ),
        Decision("size", size_text(size), _AS_BEFORE),
    )


def _pixels(facts: Facts, rows: Numbers, ignore: int | None, each: int) -> dict[int, int]:
    """Return the number of pixels of every id, including the ignored one."""
    counts = facts.class_pixels[rows].sum(axis=0)
    pixels = dict(enumerate(counts.tolist()))
    if ignore is not None:
        pixels[ignore] = pixels.get(ignore, 0) + rows.size * each - int(counts.sum())
    return pixels
