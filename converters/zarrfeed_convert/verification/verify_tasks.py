"""Is a shard, in all its fields, as it was packed?

A task of an executor. What it finds is its result, and never fails it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from numpy.typing import NDArray

from zarrfeed import Split, SplitReader
from zarrfeed.errors import ReadError
from zarrfeed_convert.verification.file_check import FileFinding, KnownFile, check_file
from zarrfeed_convert.verification.sample_check import Expected, SampleFinding, check_sample

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zarrfeed_convert.executors.executor import TaskRun

_STEP = 1 << 20  # bytes that are decoded at a time, unless a chunk has more

# A field's reader, or one sample of it; or why there is none.
Reader: TypeAlias = SplitReader | str
Values: TypeAlias = NDArray[Any] | str


@dataclass(frozen=True, slots=True)
class CheckTask:
    """One shard of every field.

    Attributes
    ----------
    split
        An opened split.
    rows
        Its samples that are in the shard.
    files
        One per field.
    expected
        What is recorded of the rows; None where only files are compared.
    """

    split: Split
    rows: range
    files: tuple[KnownFile, ...]
    expected: Expected | None


@dataclass(frozen=True, slots=True)
class ShardFindings:
    """What was found in one shard of every field."""

    files: tuple[FileFinding, ...]
    samples: tuple[SampleFinding, ...]


def check_shard(run: TaskRun[None], task: CheckTask) -> ShardFindings:
    """Compare the files of a shard, and the samples in it, with what is recorded of them."""
    files = tuple(check_file(known) for known in task.files)
    findings: list[SampleFinding] = []
    if task.expected is None:
        for _ in task.rows:
            run.tick()
        return ShardFindings(files, ())
    # What the operating system cannot read would, mapped into memory, end the process.
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
    """Choose how many samples to decode at a time: whole chunks."""
    layouts = split.layouts.values()
    chunk = max(layout.chunk_rows for layout in layouts)
    nbytes = max(layout.sample_nbytes for layout in layouts)
    return chunk * max(1, _STEP // max(1, chunk * nbytes))


def _opened(split: Split, field: str) -> Reader:
    try:
        return SplitReader(split, [field], open_files=1)
    except Exception as error:  # a damaged description may lead to any
        return _said(error, field)


def _read(reader: Reader, field: str, rows: range) -> Sequence[Values]:
    """Read samples together; where that fails, one by one."""
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
    except Exception as error:  # of arrays that are no images and masks
        return [SampleFinding(row, "sample-damaged", repr(error), tuple(sample))]
