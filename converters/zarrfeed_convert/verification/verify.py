"""Is a dataset still what was packed, and are its originals still what it was packed from?

The steps, in order: read what is recorded, compare every shard with it, compare the originals with
it. What each of them is stands in its own module; here is only how they follow each other.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from zarrfeed import open_split
from zarrfeed.errors import SourceError, StoreError
from zarrfeed.spelling import named
from zarrfeed.store.address import local_path
from zarrfeed.store.schema import DIGEST, METADATA, SHARD_FILES
from zarrfeed_convert.executors.selection import cores, executor_of, require_executor
from zarrfeed_convert.failures import Failures
from zarrfeed_convert.planning.planner import step_progress
from zarrfeed_convert.sources.file_discovery import is_system_file
from zarrfeed_convert.supervision.board import PATIENCE_S
from zarrfeed_convert.verification.comparison import Originals, compare
from zarrfeed_convert.verification.consistency import TODO, is_older
from zarrfeed_convert.verification.findings import Problem, SplitVerification, Verification
from zarrfeed_convert.verification.recorded import Recorded, recorded_of
from zarrfeed_convert.verification.shard_problems import problems_of
from zarrfeed_convert.verification.splits_found import extra_files, find_splits
from zarrfeed_convert.verification.verify_tasks import CheckTask, check_shard

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.executors.executor import Executor
    from zarrfeed_convert.planning.planner import OnProgress

_SMALL = 1 << 30  # decoded bytes that are compared before another process has started


@named
def verify(
    path: str | os.PathLike[str],
    *,
    source: Originals = False,
    quick: bool = False,
    workers: int | None = None,
    read_timeout: float = PATIENCE_S,
    progress: OnProgress | None = None,
    limits: Limits | None = None,
) -> Verification:
    """Recompute everything that a packed dataset records of itself.

    Every shard's file is compared with the digest of what was written: no flipped byte is missed.
    Every sample is decoded, and its pixels are compared with the digest of what was packed, with
    the counts of its classes, and with the sums of its channels.

    Parameters
    ----------
    path
        A dataset, or one of its splits.
    source
        Whether to make every sample again from its originals, too. True takes them from where the
        split says that they are; a mapping has those arguments of the source that have changed,
        such as ``{"images": "new/place"}`` or ``{"fields": {"depth": "target:new/place"}}``; or
        give the source itself. Of one split, these.
    quick
        Compare files alone, and decode nothing.
    workers
        Processes; None for as many as there are cores, 1 for this one.
    read_timeout
        Seconds after which a process that still reads the same file is ended, as in
        :func:`zarrfeed_convert.convert`.
    progress
        Called with what is being done, and how many of how many samples are.
    limits
        What originals may claim, and name besides themselves: no split may say that of itself.

    Returns
    -------
    Verification
        What was looked at, and all that is not as it was packed.

    Raises
    ------
    StoreError
        There is no dataset that could be verified.
    WorkerError
        A process died.

    Examples
    --------
    >>> from zarrfeed_convert import verify
    >>> found = verify("camvid.zarr")  # doctest: +SKIP
    >>> found.ok, [problem.what for problem in found.problems]  # doctest: +SKIP
    (True, [])
    """
    start = time.perf_counter()
    require_executor(workers, read_timeout=read_timeout)
    folders, notes = find_splits(local_path(path))
    if len(folders) > 1 and not isinstance(source, bool):
        names = ", ".join(folder.name for folder in folders)
        raise SourceError(f"{path}: needed one split for these originals, found {names}; name one")
    opened = [_open(folder) for folder in folders]
    checks = [_checks_of(split, quick=quick) for split in opened]
    nbytes = sum(split.decoded_nbytes for split in opened)
    many = workers or (1 if nbytes < _SMALL else cores())
    splits = []
    with executor_of(None, many, Failures("skip"), read_timeout=read_timeout) as executor:
        for split, tasks in zip(opened, checks, strict=True):
            splits.append(_check(split, tasks, executor, progress))
    if source is not False:
        splits = [
            compare(split.recorded, done, source, workers, read_timeout, progress, limits)
            for split, done in zip(opened, splits, strict=True)
        ]
    return Verification(tuple(splits), tuple(notes), time.perf_counter() - start)


@dataclass(frozen=True, slots=True)
class _Opened:
    """A split that can be verified, or the problem that it cannot."""

    path: Path
    recorded: Recorded | None
    problems: tuple[Problem, ...]

    @property
    def decoded_nbytes(self) -> int:
        if self.recorded is None:
            return 0
        layouts = self.recorded.split.layouts
        each = sum(
            layouts[field].sample_nbytes for field in self.recorded.fields if field in layouts
        )
        return self.recorded.samples * each


def _open(folder: Path) -> _Opened:
    try:
        split = open_split(folder)
        if "packed" not in split.attributes:
            raise StoreError(
                f"{folder}: needed a split that zarrfeed packed, found one that records nothing of "
                "its samples; `zarrfeed convert` packs it anew, with --format zarr"
            )
        recorded, problems = recorded_of(split)
    except Exception as error:  # a damaged description may lead to any
        metadata = str(folder / METADATA)
        what = str(error) if isinstance(error, StoreError) else f"{metadata}: {error!r}; {TODO}"
        return _Opened(folder, None, (Problem("metadata", what, None, (metadata,)),))
    return _Opened(folder, recorded, tuple(problems))


def _checks_of(opened: _Opened, *, quick: bool) -> list[CheckTask]:
    """Divide the work on a split: a task for every shard of all fields."""
    recorded = opened.recorded
    if recorded is None:
        return []
    split = recorded.split
    # A reader needs no more of it, and it goes to every process with every task.
    fields = {field: split.layouts[field] for field in recorded.fields if field in split.layouts}
    bare = replace(split, layouts=fields, attributes={"format": 1}, dataset={})
    decode = recorded.aligned and not (quick and SHARD_FILES in recorded.arrays)
    return [
        CheckTask(
            bare,
            rows,
            files,
            recorded.expected.part(slice(rows.start, rows.stop)) if decode else None,
        )
        for rows, files in recorded.shards
    ]


def _check(
    opened: _Opened, tasks: list[CheckTask], executor: Executor, progress: OnProgress | None
) -> SplitVerification:
    """Compare the shards of a split with what is recorded."""
    recorded = opened.recorded
    if recorded is None:
        return SplitVerification(opened.path, 0, 0, 0, 0, None, (), opened.problems)
    tell = step_progress(progress, f"checking {opened.path.name}", recorded.samples)
    findings = executor.run(check_shard, tasks, tell)
    files = [file for shard in findings for file in shard.files]
    decoded = sum(len(task.rows) for task in tasks if task.expected is not None)
    extra = list(extra_files(recorded.split, {file.known.path for file in files}))
    aside = [path for path in extra if is_system_file(str(path.relative_to(opened.path)))]
    problems = (
        *opened.problems,
        *problems_of(recorded, findings, decoded=decoded > 0 and DIGEST in recorded.arrays),
        *(
            Problem(
                "file-extra", f"{path}: is no shard of the split; remove it", None, (str(path),)
            )
            for path in extra
            if path not in aside
        ),
    )
    return SplitVerification(
        path=opened.path,
        samples=recorded.samples,
        decoded=decoded,
        files=sum(file.fact is not None for file in files),
        nbytes=sum(file.nbytes for file in files),
        originals=None,
        notes=(*_notes(recorded, decoded), *_about(aside)),
        problems=problems,
    )


def _about(aside: list[Path]) -> list[str]:
    if not aside:
        return []
    return [f"passed over {len(aside)} files that an operating system left, such as {aside[0]}"]


def _notes(recorded: Recorded, decoded: int) -> list[str]:
    notes = []
    if is_older(recorded.split) and SHARD_FILES not in recorded.arrays:
        notes.append(
            "packed by an older zarrfeed, which recorded no digests of files: samples were decoded "
            "and compared, bytes that no pixel depends on were not"
        )
    if recorded.samples and not recorded.aligned and not decoded:
        notes.append(
            "no sample was decoded: fields are missing, or do not lie in shards of one number"
        )
    return notes
