"""How is each field stored? Chunks, shards and codecs, which are tried on some samples."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed.machine_memory import total_memory
from zarrfeed.order.shuffle import permutation
from zarrfeed.store.schema import MASK
from zarrfeed_convert.geometry import size_text
from zarrfeed_convert.planning.layout import (
    CASE_SHARD_BYTES,
    SHARD_BYTES,
    TRIED_SAMPLES,
    Decision,
    Trial,
    codecs_to_try,
    decide_chunk_rows,
    decide_codecs,
    decide_shard_rows,
    spread,
    text_of_bytes,
)
from zarrfeed_convert.planning.survey_tasks import added, try_codecs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed_convert.executors.executor import Executor
    from zarrfeed_convert.geometry import Size
    from zarrfeed_convert.planning.plan import Storage
    from zarrfeed_convert.shards.codecs import CodecChoice
    from zarrfeed_convert.shards.field_layout import FieldLayout
    from zarrfeed_convert.shards.rows import Numbers, Rows
    from zarrfeed_convert.shards.samples import Recipe

_NEIGHBOURS = 8  # tiles: most formats decode a case, or slices of it, for each group of them


def lay_out_fields(
    executor: Executor,
    storage: Storage,
    recipe: Recipe,
    drafts: Sequence[FieldLayout],
    rows: Rows,
    *,
    count: int,
    of_cases: bool,
) -> tuple[tuple[FieldLayout, ...], tuple[Decision, ...]]:
    """Decide how fields are stored.

    Parameters
    ----------
    executor, recipe
        What tries codecs, on samples as they will be stored.
    storage
        The user's settings.
    drafts
        Layouts with the shapes and dtypes of the fields.
    rows, count
        The samples of which some are tried, and the number of all samples.
    of_cases
        Whether samples are tiles of cases.
    """
    nbytes = largest_nbytes(drafts)
    if of_cases:
        _require_memory(recipe.geometry.size, drafts)
        chunk_rows, about_chunks = 1, Decision("chunk rows", "1", "a tile is read by itself")
    else:
        chunk_rows, about_chunks = decide_chunk_rows(nbytes, count, asked=storage.chunk_samples)
    shard_rows, about_shards = decide_shard_rows(
        nbytes,
        count,
        chunk_rows=chunk_rows,
        asked=storage.shard_size,
        limits=CASE_SHARD_BYTES if of_cases else SHARD_BYTES,
    )
    trials = _try_samples(
        executor, recipe, rows, drafts, codec=storage.codec, chunk_rows=chunk_rows
    )
    codecs = decide_codecs(
        storage.codec, [draft.name for draft in drafts], trials, chunk_rows=chunk_rows
    )
    fields = tuple(
        replace(draft, codec=codecs[draft.name][0], chunk_rows=chunk_rows, shard_rows=shard_rows)
        for draft in drafts
    )
    about_codecs = (Decision(f"{name} codec", *about) for name, about in codecs.items())
    return fields, (about_chunks, about_shards, *about_codecs)


def _require_memory(tile: Size, fields: Sequence[FieldLayout]) -> None:
    """Refuse tiles that this machine could hardly hold in memory."""
    nbytes, most = sum(field.sample_nbytes for field in fields), total_memory() // 4
    if nbytes > most:
        raise SourceError(
            f"tile: needed tiles of at most {text_of_bytes(most)}, a quarter of the memory, found "
            f"{size_text(tile)}, which take {text_of_bytes(nbytes)}; choose a smaller tile"
        )


def largest_nbytes(fields: Sequence[FieldLayout]) -> int:
    """Give the decoded bytes of a sample by which chunks and shards are chosen.

    Masks of class ids are left out, because they are usually much smaller than the image.
    """
    axes = len(fields[0].sample_shape)  # the image's; a mask of ids has one less
    return max(
        field.sample_nbytes
        for field in fields
        if field.name != MASK or len(field.sample_shape) == axes
    )


def neighbours(tiles: int) -> Numbers:
    """Pick tiles of cases to try: a few neighbours at each of a few random places.

    Neighbours are decoded together, while each of scattered slices or pages may be a file. Evenly
    spaced ones may all be of the same corner of their cases.

    Parameters
    ----------
    tiles
        Number of tiles.
    """
    groups = permutation(-(-tiles // _NEIGHBOURS), seed=0, epoch=0)
    first = np.sort(groups[: TRIED_SAMPLES // _NEIGHBOURS]) * _NEIGHBOURS
    picked = (first[:, np.newaxis] + np.arange(_NEIGHBOURS)).ravel()
    return picked[picked < tiles]


def _try_samples(
    executor: Executor,
    recipe: Recipe,
    rows: Rows,
    fields: Sequence[FieldLayout],
    *,
    codec: CodecChoice,
    chunk_rows: int,
) -> dict[str, Trial]:
    """Encode some samples of each field, in chunks as they will be stored."""
    codecs = codecs_to_try(codec, [field.name for field in fields], chunk_rows=chunk_rows)
    if not codecs:
        return {}
    if rows.size is None:
        picked, together = np.array(spread(len(rows))), chunk_rows
    else:
        picked, together = neighbours(len(rows)), _NEIGHBOURS
    jobs = [
        (recipe, rows.part(picked[at : at + together]), codecs)
        for at in range(0, picked.size, together)
    ]
    trials = executor.run(try_codecs, jobs)
    return {name: added([trial[name] for trial in trials], some) for name, some in codecs.items()}
