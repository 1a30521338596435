"""Do originals still make the samples that were packed?

A task of an executor. What it finds is its result, and never fails it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed_convert.geometry import size_text
from zarrfeed_convert.shards.samples import Recipe, read_rows, sample_digest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed_convert.executors.executor import TaskRun
    from zarrfeed_convert.shards.rows import Rows
    from zarrfeed_convert.source import Source


@dataclass(frozen=True, slots=True)
class OriginalTask:
    """Samples that are made again from their originals.

    Attributes
    ----------
    recipe
        What is done to them.
    rows
        Which; those of one original are neighbours.
    digest
        (n,) uint64: what they must come to.
    whole
        Whether the rows of an image that was cut into tiles must be all of its tiles.
    """

    recipe: Recipe
    rows: Rows
    digest: NDArray[np.uint64]
    whole: bool


@dataclass(frozen=True, slots=True)
class OriginalFinding:
    """An original that makes another sample than the one that was packed, or none.

    Attributes
    ----------
    item
        Which of the source's samples.
    row
        Which of the task's rows; None where it concerns all that are of the original.
    names
        Of the inputs to blame, or those that may be.
    what
        What is wrong.
    """

    item: int
    row: int | None
    names: tuple[str, ...]
    what: str


def compare_originals(run: TaskRun[Source], task: OriginalTask) -> list[OriginalFinding]:
    """Make samples again, and compare their digests with those that are recorded."""
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
    """Compare the samples of one original: of its tiles, all that there are."""
    rows, item = task.rows.part(slice(start, stop)), int(task.rows.item[start])
    names = run.context.names(item)
    before = len(run.failed)
    try:
        other = _other_tiles(run, task, rows, item)
        if other:
            return [OriginalFinding(item, None, names, f"{names[0]}: {other}")]
        made = {row: sample_digest(sample) for row, sample, _ in read_rows(run, task.recipe, rows)}
    except Exception as error:  # by a decoder, of what it did not expect
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
            f"{' or '.join(dict.fromkeys(names))} is not what was packed; restore it, or convert "
            "again",
        )
        for row, needed in enumerate(task.digest[start:stop].tolist())
        if made[row] != needed
    ]


def _other_tiles(run: TaskRun[Source], task: OriginalTask, rows: Rows, item: int) -> str:
    """Say that an image has other tiles than those that were packed; empty where it has not."""
    geometry = task.recipe.geometry
    if geometry.fit != "tile":
        return ""
    size, needed = run.probe(item).size, set(map(tuple, rows.window.tolist()))
    if not task.whole or geometry.is_cut_into(size, needed):
        return ""
    return (
        f"needed an image of {len(needed)} tiles, as it was packed, found one of "
        f"{size_text(size)}, which makes others; restore it, or convert again"
    )
