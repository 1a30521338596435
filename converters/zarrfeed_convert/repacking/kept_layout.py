"""What does a repacked split keep of the layout of its inputs?

What they have in common, unless the user asks for something else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from zarrfeed_convert.planning.field_layouts import largest_nbytes, lay_out_fields
from zarrfeed_convert.planning.layout import Decision
from zarrfeed_convert.shards.codecs import CODECS, Codec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed_convert.executors.executor import Executor
    from zarrfeed_convert.planning.plan import Storage
    from zarrfeed_convert.repacking.repack_settings import RepackSettings
    from zarrfeed_convert.repacking.stored import StoredSplit
    from zarrfeed_convert.shards.field_layout import FieldLayout
    from zarrfeed_convert.shards.rows import Rows
    from zarrfeed_convert.shards.samples import Recipe

AS_BEFORE = "as it was"


def lay_out_kept(
    executor: Executor,
    splits: Sequence[StoredSplit],
    settings: RepackSettings,
    recipe: Recipe,
    drafts: Sequence[FieldLayout],
    tried: Rows,
    *,
    count: int,
    of_cases: bool,
    same_tiles: bool,
) -> tuple[tuple[FieldLayout, ...], tuple[Decision, ...]]:
    """Decide how fields are stored.

    Parameters
    ----------
    executor, recipe
        What tries codecs, if that is needed, on samples as they will be stored.
    splits, settings
        The input splits, and the settings of the repacking.
    drafts
        Layouts with the shapes and dtypes of the fields.
    tried, count
        The samples of which some are tried, and the number of all samples.
    of_cases, same_tiles
        Whether samples are tiles of cases; and whether samples keep their size, so that chunks and
        shards may have as many of them as before.
    """
    wanted, kept = _with_kept(
        splits,
        settings,
        largest_nbytes(drafts),
        count,
        of_cases=of_cases,
        same_tiles=same_tiles,
    )
    fields, about_layout = lay_out_fields(
        executor, wanted, recipe, drafts, tried, count=count, of_cases=of_cases
    )
    about = {decision.what: decision for decision in about_layout} | kept.decisions
    fields = tuple(
        replace(layout, codec=kept.codecs.get(layout.name, layout.codec)) for layout in fields
    )
    if kept.shard_rows is not None:
        found, before = fields[0].shard_rows, kept.shard_rows
        why = AS_BEFORE if found == before else f"it was {before}, of which chunks allow so many"
        about["shard rows"] = Decision("shard rows", str(found), why)
    return fields, tuple(about.values())


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is kept from the inputs."""

    codecs: dict[str, Codec]
    shard_rows: int | None
    decisions: dict[str, Decision]


def _with_kept(
    splits: Sequence[StoredSplit],
    settings: RepackSettings,
    sample_nbytes: int,
    count: int,
    *,
    of_cases: bool,
    same_tiles: bool,
) -> tuple[Storage, _Kept]:
    """Return what is kept from the inputs, and the settings for the rest."""
    chunk, shard = _common(splits, "chunk_rows"), _common(splits, "shard_rows")
    if settings.shard_size is not None or not same_tiles:
        shard = None
    wanted, kept = settings.storage, _Kept({}, shard, {})
    if settings.chunk_samples is None and chunk is not None and not of_cases:
        wanted = replace(wanted, chunk_samples=min(chunk, count))
        kept.decisions["chunk rows"] = Decision("chunk rows", str(wanted.chunk_samples), AS_BEFORE)
    if shard is not None:
        wanted = replace(wanted, shard_size=shard * sample_nbytes)
    codecs = _common_codecs(splits) if settings.codec == "keep" else None
    if codecs is not None:
        wanted = replace(wanted, codec="raw")  # skips the trial of codecs
        kept.codecs.update(codecs)
        for name, codec in codecs.items():
            what = f"{name} codec"
            kept.decisions[what] = Decision(what, codec, AS_BEFORE)
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
