"""Do originals still give the samples that were packed?

:func:`compare_originals` is a task of an executor. Its result is what it finds; a difference or
damage never makes it fail.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed_convert.geometry import GRID, size_text
from zarrfeed_convert.shards.samples import Recipe, read_rows, sample_digest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed_convert.executors.executor import TaskRun
    from zarrfeed_convert.shards.rows import Rows
    from zarrfeed_convert.source import Source


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
    """

    recipe: Recipe
    rows: Rows
    digest: NDArray[np.uint64]
    whole: bool


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
        other = _other_tiles(run, task, rows, item)
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
            f"{' or '.join(dict.fromkeys(names))} has changed since it was packed; restore it, or "
            "convert again",
        )
        for row, needed in enumerate(task.digest[start:stop].tolist())
        if made[row] != needed
    ]


def _other_tiles(run: TaskRun[Source], task: OriginalTask, rows: Rows, item: int) -> str:
    """Return the message if an original is not of the size or tiles packed; else an empty text."""
    geometry = task.recipe.geometry
    if rows.size is not None:
        size, packed = run.probe(item).size, tuple(rows.size[0].tolist())
        if size == packed:
            return ""
        return (
            f"needed a case of {size_text(packed)}, as was packed, found one of "
            f"{size_text(size)}; restore it, or convert again"
        )
    if geometry.fit != GRID or not task.whole:
        return ""
    size, needed = run.probe(item).size, set(map(tuple, rows.window.tolist()))
    if geometry.is_cut_into(size, needed):
        return ""
    return (
        f"needed an image that gives the {len(needed)} tiles that were packed, found one of "
        f"{size_text(size)}, which gives others; restore it, or convert again"
    )
