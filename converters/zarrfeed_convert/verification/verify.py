"""Is a dataset still what was packed, and are its originals unchanged?

This module runs the steps in order: read what is recorded (`recorded`), compare every shard with it
(`shard_check`), and compare the originals with it (`comparison`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from zarrfeed import open_split
from zarrfeed.errors import SourceError, StoreError
from zarrfeed.spelling import named
from zarrfeed.store.address import local_path, remote_url
from zarrfeed.store.schema import DIGEST, METADATA, SHARD_FILES
from zarrfeed_convert.executors.selection import cores, executor_of, require_executor
from zarrfeed_convert.failures import Failures
from zarrfeed_convert.planning.planner import step_progress
from zarrfeed_convert.sources.file_discovery import is_system_file
from zarrfeed_convert.supervision.board import PATIENCE_S
from zarrfeed_convert.verification.comparison import Opened, Originals, compare, opened_originals
from zarrfeed_convert.verification.consistency import TODO, is_older
from zarrfeed_convert.verification.findings import Problem, SplitVerification, Verification
from zarrfeed_convert.verification.originals import Access
from zarrfeed_convert.verification.recorded import Recorded, recorded_of
from zarrfeed_convert.verification.shard_check import CheckTask, check_shard, problems_of
from zarrfeed_convert.verification.split_discovery import extra_files, find_splits
from zarrfeed_convert.verification.stand_in import (
    RemoteCheck,
    StandIn,
    check_remote_shard,
    stood_in,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from pathlib import Path

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.executors.executor import Executor
    from zarrfeed_convert.planning.planner import OnProgress

_SMALL = 1 << 30  # decoded bytes; checking as much is faster than starting processes


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
    storage_options: Mapping[str, Any] | None = None,
) -> Verification:
    """Verify that a dataset is as it was packed.

    The bytes of every shard file are compared with their digest. Every sample is decoded, and its
    pixels are compared with their digest, the pixel counts of classes, and the channel sums.

    Parameters
    ----------
    path
        A dataset, or one of its splits: a path, or an address such as ``s3://bucket/cells.zarr``,
        from which every object is read once. Shards do not stay on this machine.
    source
        Whether to recreate every sample from its original, too, and to compare it. True uses the
        source that the split records. If the originals have moved, give a mapping with the changed
        arguments of the source, such as ``{"images": "new/place"}`` or
        ``{"fields": {"depth": "target:new/place"}}``, or the source itself, or samples as
        :func:`zarrfeed_convert.convert` takes them; `path` must then be that of one split. Samples
        of a Python iterable cannot be opened again: unless they are given, they are not compared,
        and a note says so.
    quick
        Whether to compare files alone, without decoding samples.
    workers
        Number of processes. 1 uses this process; None uses one per core, or this process if the
        dataset is small.
    read_timeout
        Seconds after which a process that is still reading the same file is killed, as in
        :func:`zarrfeed_convert.convert`.
    progress
        Called with the current step, the number of samples that are done, and their total number.
    limits
        Limits of what originals may claim; see :class:`zarrfeed_convert.Limits`. They are never
        read from the dataset.
    storage_options
        Options of the object store, if `path` is an address; see :func:`zarrfeed_convert.copy`.

    Returns
    -------
    Verification
        What was checked, and all problems. Damage is a problem, never an exception.

    Raises
    ------
    SourceError
        An argument is out of range, or `source` is given for a dataset of several splits.
    StoreError
        `path` is neither a dataset nor a split.
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
    access = Access(limits, storage_options)
    url = remote_url(path)
    if url is None:
        found = _verify(local_path(path), source, quick, workers, read_timeout, progress, access)
    else:
        with stood_in(url, storage_options) as stand_in:
            found = stand_in.named(
                _verify(
                    stand_in.path, source, quick, workers, read_timeout, progress, access, stand_in
                )
            )
    return replace(found, seconds=time.perf_counter() - start)


def _verify(
    path: Path,
    source: Originals,
    quick: bool,
    workers: int | None,
    read_timeout: float,
    progress: OnProgress | None,
    access: Access,
    stand_in: StandIn | None = None,
) -> Verification:
    folders, notes = find_splits(path)
    if len(folders) > 1 and not isinstance(source, bool):
        names = ", ".join(folder.name for folder in folders)
        raise SourceError(
            f"{path}: needed one split for these originals, found {names}; give the path of one"
        )
    opened = [_open(folder) for folder in folders]
    one = opened[0].recorded if len(opened) == 1 else None
    with opened_originals(source, one, progress) as originals:
        splits = _verified(
            opened, originals, quick, workers, read_timeout, progress, access, stand_in
        )
    return Verification(tuple(splits), tuple(notes), 0.0)


def _verified(
    opened: list[_Opened],
    source: Opened,
    quick: bool,
    workers: int | None,
    read_timeout: float,
    progress: OnProgress | None,
    access: Access,
    stand_in: StandIn | None,
) -> list[SplitVerification]:
    checks = [_checks_of(split, quick=quick) for split in opened]
    nbytes = sum(split.decoded_nbytes for split in opened)
    many = workers or (1 if nbytes < _SMALL else cores())
    splits = []
    with executor_of(None, many, Failures("skip"), read_timeout=read_timeout) as executor:
        for split, tasks in zip(opened, checks, strict=True):
            splits.append(_check(split, tasks, executor, progress, stand_in))
    if source is False:
        return splits
    return [
        compare(split.recorded, done, source, workers, read_timeout, progress, access)
        for split, done in zip(opened, splits, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class _Opened:
    """An opened split, or the problem that it cannot be opened."""

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
                f"{folder}: needed a split that zarrfeed packed, found one without records of its "
                "samples; pack it with `zarrfeed convert --format zarr`"
            )
        recorded, problems = recorded_of(split)
    except Exception as error:  # damaged metadata may raise anything
        metadata = str(folder / METADATA)
        what = str(error) if isinstance(error, StoreError) else f"{metadata}: {error!r}; {TODO}"
        return _Opened(folder, None, (Problem("metadata", what, None, (metadata,)),))
    return _Opened(folder, recorded, tuple(problems))


def _checks_of(opened: _Opened, *, quick: bool) -> list[CheckTask]:
    """Return the tasks for a split: one per shard, for all fields together."""
    recorded = opened.recorded
    if recorded is None:
        return []
    split = recorded.split
    # The split without what a reader does not need, since it is sent with every task.
    fields = {field: split.layouts[field] for field in recorded.fields if field in split.layouts}
    bare = replace(split, layouts=fields, attributes={"format": 1}, dataset={})
    decode = recorded.aligned and not (quick and SHARD_FILES in recorded.arrays)
    expected = recorded.expected
    return [
        CheckTask(
            bare,
            rows,
            files,
            expected.part(slice(rows.start, rows.stop)) if decode else None,
        )
        for rows, files in recorded.shards
    ]


def _check(
    opened: _Opened,
    tasks: list[CheckTask],
    executor: Executor,
    progress: OnProgress | None,
    stand_in: StandIn | None,
) -> SplitVerification:
    """Compare the shards of a split with what is recorded about them."""
    recorded = opened.recorded
    if recorded is None:
        return SplitVerification(opened.path, 0, 0, 0, 0, None, (), opened.problems)
    tell = step_progress(progress, f"checking {opened.path.name}", recorded.samples)
    if stand_in is None:
        findings = executor.run(check_shard, tasks, tell)
    else:
        remote = [RemoteCheck(stand_in, task) for task in tasks]
        findings = executor.run(check_remote_shard, remote, tell)
    files = [file for shard in findings for file in shard.files]
    decoded = sum(len(task.rows) for task in tasks if task.expected is not None)
    extra = list(extra_files(recorded.split, {file.known.path for file in files}))
    aside = [path for path in extra if is_system_file(str(path.relative_to(opened.path)))]
    problems = (
        *opened.problems,
        *problems_of(recorded, findings, decoded=decoded > 0 and DIGEST in recorded.arrays),
        *(
            Problem(
                "file-extra", f"{path}: is not a shard of the split; remove it", None, (str(path),)
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
        cases=None if recorded.cases is None else len(recorded.cases.keys),
    )


def _about(aside: list[Path]) -> list[str]:
    if not aside:
        return []
    return [f"ignored {len(aside)} files of an operating system, such as {aside[0]}"]


def _notes(recorded: Recorded, decoded: int) -> list[str]:
    notes = []
    if is_older(recorded.split) and SHARD_FILES not in recorded.arrays:
        notes.append(
            "packed by an older zarrfeed, which recorded no digests of files: only samples were "
            "compared, not the other bytes of files"
        )
    if recorded.samples and not recorded.aligned and not decoded:
        notes.append(
            "no sample was decoded: fields are missing, or their shards have different numbers of "
            "samples"
        )
    return notes
