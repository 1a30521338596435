"""Is a shard, in all its fields, as it was packed?

:func:`check_shard` is a task of an executor. Its result is what it finds; damage never makes it
fail. :func:`problems_of` turns the findings of all shards into problems of the split.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from numpy.typing import NDArray

from zarrfeed import Split, SplitReader
from zarrfeed.errors import ReadError
from zarrfeed_convert.verification.consistency import TODO
from zarrfeed_convert.verification.file_check import FileFinding, KnownFile, check_file
from zarrfeed_convert.verification.findings import Kind, Problem
from zarrfeed_convert.verification.sample_check import Expected, SampleFinding, check_sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from zarrfeed_convert.executors.executor import TaskRun
    from zarrfeed_convert.verification.recorded import Recorded

_STEP = 1 << 20  # bytes to decode at a time, unless a chunk is larger

# The reader of a field, or a sample of it; a text says why there is none.
Reader: TypeAlias = SplitReader | str
Values: TypeAlias = NDArray[Any] | str


@dataclass(frozen=True, slots=True)
class CheckTask:
    """A shard to check, in every field.

    Attributes
    ----------
    split
        The opened split.
    rows
        Indices of the samples in the shard.
    files
        File of the shard in each field.
    expected
        What is recorded about the samples; None to compare files alone.
    """

    split: Split
    rows: range
    files: tuple[KnownFile, ...]
    expected: Expected | None


@dataclass(frozen=True, slots=True)
class ShardFindings:
    """Findings on a shard of every field."""

    files: tuple[FileFinding, ...]
    samples: tuple[SampleFinding, ...]


def check_shard(run: TaskRun[None], task: CheckTask) -> ShardFindings:
    """Compare the files of a shard and the samples in it with what is recorded about them."""
    files = tuple(check_file(known) for known in task.files)
    findings: list[SampleFinding] = []
    if task.expected is None:
        for _ in task.rows:
            run.tick()
        return ShardFindings(files, ())
    # A mapped file that the operating system cannot read would crash the process.
    lost = {file.known.field: file.what for file in files if file.state in _LOST}
    readers: dict[str, Reader] = {
        field: lost.get(field) or _opened(task.split, field) for field in task.split.layouts
    }
    states = {file.known.field: file.state for file in files}
    try:
        step = _step(task.split)
        for at in range(0, len(task.rows), step):
            rows = task.rows[at : at + step]
            fields = {field: _read(reader, field, rows) for field, reader in readers.items()}
            for place, row in enumerate(rows, at):
                sample = {field: values[place - at] for field, values in fields.items()}
                expected = task.expected.part(slice(place, place + 1))
                findings += _checked(row, sample, expected, states)
                run.tick()
    finally:
        for reader in readers.values():
            if isinstance(reader, SplitReader):
                reader.close()
    return ShardFindings(files, tuple(findings))


_LOST = ("missing", "unreadable")


def _step(split: Split) -> int:
    """Return the number of samples to decode at a time, a multiple of those in a chunk."""
    layouts = split.layouts.values()
    chunk = max(layout.chunk_rows for layout in layouts)
    nbytes = max(layout.sample_nbytes for layout in layouts)
    return chunk * max(1, _STEP // max(1, chunk * nbytes))


def _opened(split: Split, field: str) -> Reader:
    try:
        return SplitReader(split, [field], open_files=1)
    except Exception as error:  # damaged metadata may raise anything
        return _said(error, field)


def _read(reader: Reader, field: str, rows: range) -> Sequence[Values]:
    """Read samples together or, if that fails, one by one."""
    if isinstance(reader, str):
        return [reader] * len(rows)
    try:
        return list(reader.read(rows)[field])
    except Exception as error:
        if len(rows) == 1:
            return [_said(error, field)]
    return [one for row in rows for one in _read(reader, field, range(row, row + 1))]


def _said(error: Exception, name: str) -> str:
    return str(error) if isinstance(error, ReadError) else f"{name}: {error!r}"


def _checked(
    row: int, values: Mapping[str, Values], expected: Expected, states: Mapping[str, str]
) -> list[SampleFinding]:
    lost = {field: why for field, why in values.items() if isinstance(why, str)}
    if lost:
        return [SampleFinding(row, "sample-damaged", why, (field,)) for field, why in lost.items()]
    sample = {field: array for field, array in values.items() if not isinstance(array, str)}
    try:
        return check_sample(row, sample, expected, states)
    except Exception as error:  # the arrays are not images and masks
        return [SampleFinding(row, "sample-damaged", repr(error), tuple(sample))]


def problems_of(
    recorded: Recorded, findings: Sequence[ShardFindings], *, decoded: bool
) -> Iterator[Problem]:
    """Yield the problems of a split's shards and samples.

    Parameters
    ----------
    recorded
        What the split records.
    findings
        Findings on all shards.
    decoded
        Whether the digests of samples were recomputed.
    """
    written = {
        file.known.fact: str(file.known.path)
        for shard in findings
        for file in shard.files
        if file.known.fact is not None
    }
    reported: set[str] = set()
    for shard in findings:
        whole = decoded and not any(sample.kind.startswith("sample") for sample in shard.samples)
        for file in shard.files:
            if file.state not in ("good", "unknown"):
                yield _of_file(file, written, harmless=whole)
        paths = {file.known.field: str(file.known.path) for file in shard.files}
        for sample in shard.samples:
            name = sample.blamed[0]
            if sample.kind == "statistics" and name in recorded.absent:
                if name not in reported:
                    reported.add(name)
                    yield _of_absent(recorded, name)
                continue
            yield _of_sample(recorded, sample, paths)


def _of_file(file: FileFinding, written: dict[tuple[int, int], str], *, harmless: bool) -> Problem:
    path = str(file.known.path)
    kind: Kind = "file-missing" if file.state == "missing" else "file-damaged"
    what = file.what
    if file.fact in written:
        what += f"; it has the content of {written[file.fact]}"
    elif harmless:
        what += "; all its samples are unchanged"
    return Problem(kind, what, None, (path,))


def _of_sample(recorded: Recorded, sample: SampleFinding, paths: dict[str, str]) -> Problem:
    key = recorded.keys[sample.row]
    files = tuple(paths.get(name, str(recorded.split.path / name)) for name in sample.blamed)
    return Problem(sample.kind, f"{key}: {sample.what}", key, files)


def _of_absent(recorded: Recorded, name: str) -> Problem:
    path = recorded.absent[name]
    what = f"{path}: needed this file, since not all values are 0, found nothing; {TODO}"
    return Problem("array", what, None, (path,))
