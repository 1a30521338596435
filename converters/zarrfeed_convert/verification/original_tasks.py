"""Do originals still give the samples that were packed?

:func:`compare_originals` is a task of an executor. Its result is what it finds; a difference or
damage never makes it fail.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed.store.schema import CASE_AFFINE
from zarrfeed_convert.geometry import GRID, size_text
from zarrfeed_convert.shards.samples import Recipe, read_rows, sample_digest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from zarrfeed_convert.executors.executor import TaskRun
    from zarrfeed_convert.shards.rows import Rows
    from zarrfeed_convert.source import Source

_TODO = "restore it, or convert again"
_PRECISION = 1e-9  # of the largest number of an affine; machines may round in another way


@dataclass(frozen=True, slots=True)
class OriginalTask:
    """Samples to recreate from their originals.

    Attributes
    ----------
    recipe
        Geometry and labels that are applied to them.
    rows
        The n samples. Those of the same original are neighbours.
    digest
        (n,) uint64 recorded digests.
    whole
        Whether `rows` must contain all tiles of each image.
    affines
        Item → recorded affine of the case, NaN if none is recorded; empty if samples are no tiles
        of cases.
    complete
        Whether all affines of the originals were recorded: not if cases were stored as samples
        before.
    """

    recipe: Recipe
    rows: Rows
    digest: NDArray[np.uint64]
    whole: bool
    affines: Mapping[int, NDArray[np.float64]] = field(default_factory=dict)
    complete: bool = True


@dataclass(frozen=True, slots=True)
class OriginalFinding:
    """An original that gives another sample than was packed, or none.

    Attributes
    ----------
    item
        Index of the sample in the source.
    row
        Row of the task; None if all rows of the original are concerned.
    names
        Names of the inputs that have changed, or of all candidates.
    what
        The message.
    """

    item: int
    row: int | None
    names: tuple[str, ...]
    what: str


def compare_originals(run: TaskRun[Source], task: OriginalTask) -> list[OriginalFinding]:
    """Recreate samples, and compare their digests with the recorded ones."""
    findings: list[OriginalFinding] = []
    edges = np.flatnonzero(np.diff(task.rows.item, prepend=-1, append=-1)).tolist()
    for start, stop in itertools.pairwise(edges):
        findings += _compared(run, task, start, stop)
        for _ in range(start, stop):
            run.tick()
    return findings


def _compared(
    run: TaskRun[Source], task: OriginalTask, start: int, stop: int
) -> list[OriginalFinding]:
    """Compare the samples of one original, which are several if it was cut into tiles."""
    rows, item = task.rows.part(slice(start, stop)), int(task.rows.item[start])
    names = run.context.names(item)
    before = len(run.failed)
    try:
        other = _other_case(run, task, rows, item) or _other_tiles(run, task, rows, item)
        if other:
            return [OriginalFinding(item, None, names, f"{names[0]}: {other}")]
        made = {
            stored.row: sample_digest(stored.arrays) for stored in read_rows(run, task.recipe, rows)
        }
    except Exception as error:  # a decoder may raise anything
        what = str(error) if isinstance(error, SourceError) else f"{names[0]}: {error!r}"
        return [OriginalFinding(item, None, names, what)]
    if len(run.failed) > before:
        failed = run.failed[before]
        return [OriginalFinding(item, None, (failed.name,), failed.why)]
    return [
        OriginalFinding(
            item,
            start + row,
            names,
            f"{names[0]}: needed pixels of digest {needed:016x}, found {made[row]:016x}: "
            f"{' or '.join(dict.fromkeys(names))} has changed since it was packed; {_TODO}",
        )
        for row, needed in enumerate(task.digest[start:stop].tolist())
        if made[row] != needed
    ]


def _other_case(run: TaskRun[Source], task: OriginalTask, rows: Rows, item: int) -> str:
    """Return the message if a case has another size or affine; else an empty text."""
    if rows.size is None:
        return ""
    header, size = run.probe(item), tuple(rows.size[0].tolist())
    if header.size != size:
        return (
            f"needed a case of {size_text(size)}, as was packed, found one of "
            f"{size_text(header.size)}; {_TODO}"
        )
    packed = task.affines.get(item)
    if packed is None:
        return ""
    if np.isnan(packed).all():
        if header.affine is None or not task.complete:
            return ""
        there = np.array(header.affine).tolist()
        return (
            f"needed no affine, as {CASE_AFFINE} has none, found {there}: {CASE_AFFINE} or the "
            f"original has changed since; {_TODO}"
        )
    found = np.full_like(packed, np.nan) if header.affine is None else np.array(header.affine)
    if found.shape == packed.shape and np.allclose(
        found, packed, rtol=_PRECISION, atol=_PRECISION * np.abs(packed).max(), equal_nan=True
    ):
        return ""
    said = "none" if header.affine is None else found.tolist()
    return (
        f"needed the affine {packed.tolist()}, as was packed, found {said}: the original or "
        f"{CASE_AFFINE} has changed since; {_TODO}"
    )


def _other_tiles(run: TaskRun[Source], task: OriginalTask, rows: Rows, item: int) -> str:
    """Return the message if an image gives other tiles than were packed; else an empty text."""
    geometry = task.recipe.geometry
    if geometry.fit != GRID or rows.size is not None or not task.whole:
        return ""
    size, needed = run.probe(item).size, set(map(tuple, rows.origin.tolist()))
    if geometry.is_cut_into(size, needed):
        return ""
    return (
        f"needed an image that gives the {len(needed)} tiles that were packed, found one of "
        f"{size_text(size)}, which gives others; {_TODO}"
    )
