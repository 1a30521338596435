"""Do the originals of a split still give its samples?"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from zarrfeed.errors import SourceError, WorkerError
from zarrfeed.store.case_table import CaseTable
from zarrfeed.store.schema import CASE_AFFINE, CASE_KEY, DIGEST, IMAGE, TILE_SOURCE
from zarrfeed_convert.executors.selection import executor_of
from zarrfeed_convert.failures import Failures
from zarrfeed_convert.planning.planner import step_progress
from zarrfeed_convert.source import SAMPLES, Source
from zarrfeed_convert.sources.iterables.spool import source_of_samples
from zarrfeed_convert.verification.consistency import (
    TODO,
    is_of_cases,
    repacked_of,
    tile_of,
    was_of_samples,
)
from zarrfeed_convert.verification.findings import Problem
from zarrfeed_convert.verification.original_tasks import OriginalTask, compare_originals
from zarrfeed_convert.verification.originals import (
    as_packed,
    fetched,
    match,
    missing_originals,
    new_originals,
    open_originals,
    parts_of,
    recipe_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from zarrfeed_convert.planning.planner import OnProgress
    from zarrfeed_convert.sources.iterables.samples import Samples
    from zarrfeed_convert.verification.findings import SplitVerification
    from zarrfeed_convert.verification.originals import Access, Matched, OriginPart
    from zarrfeed_convert.verification.recorded import Recorded

# False: no originals. True: those that the split records. A mapping: the same, with other values
# for some arguments of the source, such as where the images are now. A source, or samples: these
# originals.
Opened: TypeAlias = bool | Mapping[str, Any] | Source
Originals: TypeAlias = "Opened | Samples"

_ITERABLE = (
    "samples came from a Python iterable, which cannot be opened again: they were not compared "
    "with their originals; in Python, give the samples, verify(…, source=samples)"
)
_TOGETHER = 16  # originals per task


@contextmanager
def opened_originals(
    source: Originals, recorded: Recorded | None, progress: OnProgress | None
) -> Iterator[Opened]:
    """Make a source of originals that are given as samples, for the duration of the context.

    Parameters
    ----------
    source
        Where the originals are, or the samples themselves.
    recorded
        What the split records; None if it cannot be opened. Samples are spooled beside its dataset.
    progress
        See :func:`~zarrfeed_convert.sources.iterables.spool.source_of_samples`.
    """
    if isinstance(source, bool | Mapping):
        yield source
    elif recorded is None:
        yield True  # nothing will be compared
    else:
        image = recorded.split.layouts.get(IMAGE)
        axes = None if image is None else len(image.sample_shape) - 1
        folder = recorded.split.path.absolute().parent.parent
        with source_of_samples(source, folder, axes=axes, progress=progress) as originals:
            yield originals


def compare(
    recorded: Recorded | None,
    done: SplitVerification,
    source: Opened,
    workers: int | None,
    read_timeout: float,
    progress: OnProgress | None,
    access: Access,
) -> SplitVerification:
    """Recreate every sample of a split from its original, and compare it with its digest.

    Parameters
    ----------
    recorded
        What the split records; None if it cannot be opened.
    done
        The verification of the split so far.
    source
        Where the originals are.
    workers, read_timeout
        As for :func:`~zarrfeed_convert.executors.selection.executor_of`.
    progress
        Called with the current step, the number of samples that are done, and their total number.
    access
        How the originals are opened.

    Returns
    -------
    SplitVerification
        `done`, with the originals that are changed, missing or new.
    """
    if recorded is None or DIGEST not in recorded.arrays:
        note = "its originals were not compared, because no digests are recorded"
        return replace(done, originals=0, notes=(*done.notes, note))
    if recorded.cases is None and is_of_cases(recorded.split):
        note = "its originals were not compared, because the arrays of its cases are damaged"
        return replace(done, originals=0, notes=(*done.notes, note))
    notes: list[str] = []
    if was_of_samples(recorded.split):
        notes.append(
            "it was repacked from splits of samples, which record no affines: affines that its "
            "originals have, but the split has not, were not reported"
        )
    try:
        count, problems = _compared(
            recorded, source, workers, read_timeout, progress, access, notes
        )
        if _is_chosen(recorded):
            notes.append(
                "it was repacked with only some samples; the others were not reported as new"
            )
    except WorkerError:
        raise
    except Exception as error:  # damaged metadata may raise anything
        what = str(error) if isinstance(error, SourceError) else f"{done.path}: {error!r}; {TODO}"
        count, problems = 0, [Problem("source", what)]
    return replace(
        done, originals=count, notes=(*done.notes, *notes), problems=(*done.problems, *problems)
    )


def _compared(
    recorded: Recorded,
    source: Opened,
    workers: int | None,
    read_timeout: float,
    progress: OnProgress | None,
    access: Access,
    notes: list[str],
) -> tuple[int, list[Problem]]:
    split = recorded.split
    moved: Mapping[str, Any] = source if isinstance(source, Mapping) else {}
    parts = parts_of(split)
    if len(parts) > 1 and not isinstance(source, bool):
        raise SourceError(
            f"{split.path}: needed a split of one source, found one repacked from splits of "
            f"{len(parts)} sources; verify those splits with these originals"
        )
    free = np.ones(recorded.samples, np.bool_)
    problems: list[Problem] = []
    closed = False
    for part in parts:
        if isinstance(source, bool | Mapping) and part.description.get("kind") == SAMPLES:
            closed = True
            if _ITERABLE not in notes:
                notes.append(_ITERABLE)
            continue
        places = moved
        try:
            if isinstance(source, bool | Mapping):
                places = fetched(split, part, moved, access)
                originals = open_originals(split, part, places, access.limits)
            else:
                originals = source
            originals = as_packed(originals, part, access.limits)
        except SourceError as error:
            problems.append(Problem("source", str(error)))
            closed = True
            continue
        matched = match(recorded, part, originals, free)
        if not _is_chosen(recorded):
            problems += new_originals(split, part, originals, matched.rows.item, places)
        problems += _compared_part(
            recorded, part, originals, matched, workers, read_timeout, progress
        )
    if not closed:  # the others could be samples of a source that cannot be opened
        problems += missing_originals(recorded, free)
    return int((~free).sum()), problems


def _is_chosen(recorded: Recorded) -> bool:
    """Return whether a split was repacked with only some samples or cases of its inputs."""
    packed = recorded.split.attributes["packed"]
    images = recorded.split.layouts.get(TILE_SOURCE) or recorded.split.layouts.get(CASE_KEY)
    there = recorded.samples if images is None else images.shape[0]
    left = packed["found"] - len(packed.get("skipped", ()))
    return bool(repacked_of(recorded.split)) and there < left


def _compared_part(
    recorded: Recorded,
    part: OriginPart,
    originals: Source,
    matched: Matched,
    workers: int | None,
    read_timeout: float,
    progress: OnProgress | None,
) -> list[Problem]:
    """Recreate and compare the samples of one source."""
    tasks = _tasks_of(recorded, part, matched)
    step = f"comparing {recorded.split.path.name} with its originals"
    with executor_of(originals, workers, Failures("skip"), read_timeout=read_timeout) as executor:
        results = executor.run(
            compare_originals, tasks, step_progress(progress, step, len(matched.rows))
        )
    problems, at = [], 0
    for task, findings in zip(tasks, results, strict=True):
        for found in findings:
            key = part.prefix + originals.keys[found.item]
            if found.row is not None:
                key = recorded.keys[int(matched.place[at + found.row])]
            problems.append(Problem("original-changed", found.what, key, found.names))
        at += len(task.rows)
    return problems


def _tasks_of(recorded: Recorded, part: OriginPart, matched: Matched) -> list[OriginalTask]:
    """Divide the samples into tasks; samples of the same original stay together."""
    split, rows = recorded.split, matched.rows
    recipe, whole = recipe_of(split, part), not repacked_of(split)
    complete = not was_of_samples(split)
    digest = recorded.arrays[DIGEST][matched.place]
    affines = _affines(recorded, matched)
    edges = np.flatnonzero(np.diff(rows.item, prepend=-1))[::_TOGETHER].tolist()
    return [
        OriginalTask(
            recipe,
            rows.part(slice(start, stop)),
            digest[start:stop],
            whole,
            {item: affines[item] for item in {*rows.item[start:stop].tolist()} & affines.keys()},
            complete,
        )
        for start, stop in pairwise([*edges, len(rows)])
    ]


def _affines(recorded: Recorded, matched: Matched) -> dict[int, NDArray[np.float64]]:
    """Return the recorded affine of each original that is a case, NaN if there is none."""
    cases = recorded.cases
    layouts = recorded.split.layouts.keys() | recorded.split.unfit.keys()
    if cases is None or (cases.affines is None and CASE_AFFINE in layouts):  # it is damaged
        return {}
    axes = cases.sizes.shape[1] + 1
    affines = cases.affines
    if affines is None:
        affines = np.full((len(cases.keys), axes, axes), np.nan)
    case = CaseTable.of_sizes(cases.sizes, tile_of(recorded.split)).cases_of(matched.place)
    items = matched.rows.item.tolist()
    return {item: affines[number] for item, number in zip(items, case.tolist(), strict=True)}
