"""Do the originals of a split still make its samples?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed.schema import DIGEST
from zarrfeed_convert.consistency import TODO
from zarrfeed_convert.crew import crew_of
from zarrfeed_convert.deciding import told
from zarrfeed_convert.failures import Failures
from zarrfeed_convert.findings import Problem
from zarrfeed_convert.original_tasks import OriginalTask, compare_originals
from zarrfeed_convert.originals import find_new, match, open_originals, recipe_of
from zarrfeed_convert.source import Source

if TYPE_CHECKING:
    from zarrfeed_convert.deciding import OnProgress
    from zarrfeed_convert.findings import SplitVerification
    from zarrfeed_convert.originals import Matched
    from zarrfeed_convert.recorded import Recorded

# The originals: not at all, or those that the split says; those, with other arguments of their
# format, such as where the images are now; or these.
Originals: TypeAlias = bool | Mapping[str, Any] | Source

_TOGETHER = 16  # originals that one task makes samples of


def compare(
    recorded: Recorded | None,
    done: SplitVerification,
    source: Originals,
    workers: int,
    progress: OnProgress | None,
) -> SplitVerification:
    """Make every sample of a split again, and compare it with what is recorded of it.

    Parameters
    ----------
    recorded
        What is; None for a split that cannot be opened.
    done
        Its verification so far.
    source
        Where the originals are.
    workers
        Processes at most.
    progress
        Is told.

    Returns
    -------
    SplitVerification
        With the originals that are others, gone, or new.
    """
    if recorded is None or DIGEST not in recorded.arrays:
        note = "its originals were not compared: there are no digests to compare them with"
        return replace(done, originals=0, notes=(*done.notes, note))
    try:
        count, problems = _compared(recorded, source, workers, progress)
    except (SourceError, KeyError, ValueError) as error:  # or a damaged description
        what = str(error) if isinstance(error, SourceError) else f"{done.path}: {error!r}; {TODO}"
        count, problems = 0, [Problem("source", what)]
    return replace(done, originals=count, problems=(*done.problems, *problems))


def _compared(
    recorded: Recorded, source: Originals, workers: int, progress: OnProgress | None
) -> tuple[int, list[Problem]]:
    split = recorded.split
    moved: Mapping[str, Any] = source if isinstance(source, Mapping) else {}
    originals = open_originals(split, moved) if isinstance(source, bool | Mapping) else source
    matched, problems = match(recorded, originals)
    problems += find_new(split, originals, matched.rows.item, moved)
    tasks = _tasks_of(recorded, matched)
    step = f"comparing {split.path.name} with its originals"
    with crew_of(originals, min(workers, max(1, len(tasks))), Failures("skip")) as crew:
        parts = crew.run(compare_originals, tasks, told(progress, step, len(matched.rows)))
    at = 0
    for task, findings in zip(tasks, parts, strict=True):
        for found in findings:
            key = originals.keys[found.item]
            if found.row is not None:
                key = recorded.keys[int(matched.place[at + found.row])]
            problems.append(Problem("original-changed", found.what, key, found.names))
        at += len(task.rows)
    return len(matched.rows), problems


def _tasks_of(recorded: Recorded, matched: Matched) -> list[OriginalTask]:
    """Divide the samples, those of one original together."""
    recipe, rows = recipe_of(recorded.split), matched.rows
    digest = recorded.arrays[DIGEST][matched.place]
    edges = np.flatnonzero(np.diff(rows.item, prepend=-1))[::_TOGETHER].tolist()
    return [
        OriginalTask(recipe, rows.part(slice(start, stop)), digest[start:stop])
        for start, stop in pairwise([*edges, len(rows)])
    ]
