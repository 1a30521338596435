"""What does a process look at when a split is verified?

Tasks for a :class:`~zarrfeed_convert.crew.Crew`. None of them fails because of what it finds: that
is its result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from zarrfeed import SplitReader
from zarrfeed.errors import ReadError, SourceError
from zarrfeed.schema import IMAGE, MASK
from zarrfeed_convert.file_check import FileFinding, KnownFile, check_file
from zarrfeed_convert.samples import sample_digest
from zarrfeed_convert.statistics import channel_sums, value_counts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed import Split
    from zarrfeed_convert.crew import Work
    from zarrfeed_convert.rows import Numbers
    from zarrfeed_convert.source import JSON, Header, Image, Mask, Source

_STEP = 1 << 20  # bytes that are decoded at a time, unless a chunk has more
# Sums of floats depend, in their last digits, on how a machine adds.
_RTOL = 1e-9

# The samples of one field that were asked for, each as it is, or why it cannot be read.
Read: TypeAlias = "list[NDArray[Any] | str]"


@dataclass(frozen=True, slots=True)
class Expected:
    """What is recorded of some samples; None for what is not.

    Attributes
    ----------
    digest
        (n,) uint64.
    class_pixels
        (n, K) integers.
    channel_sums
        (n, C, 2) float64.
    """

    digest: NDArray[np.uint64] | None
    class_pixels: Numbers | None
    channel_sums: NDArray[np.float64] | None

    def part(self, which: slice) -> Expected:
        """Take some of the samples."""
        return Expected(
            None if self.digest is None else self.digest[which],
            None if self.class_pixels is None else self.class_pixels[which],
            None if self.channel_sums is None else self.channel_sums[which],
        )


@dataclass(frozen=True, slots=True)
class CheckTask:
    """One shard of every field.

    Attributes
    ----------
    split
        An opened split.
    rows
        Its samples that are decoded; none where only files are compared.
    files
        One per field.
    expected
        Of the rows.
    """

    split: Split
    rows: range
    files: tuple[KnownFile, ...]
    expected: Expected


@dataclass(frozen=True, slots=True)
class SampleFinding:
    """A sample that is not as it was packed.

    Attributes
    ----------
    row
        Which of the split's.
    kind
        ``array`` where the sample is, but what is recorded of it is not.
    what
        What was needed and found.
    blamed
        The arrays to blame, or that may be.
    """

    row: int
    kind: Literal["sample-damaged", "sample-changed", "array", "statistics"]
    what: str
    blamed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ShardFindings:
    """What was found in one shard of every field."""

    files: tuple[FileFinding, ...]
    samples: tuple[SampleFinding, ...]


class NoSource:
    """The source of tasks that need none."""

    keys: Sequence[str] = ()

    def describe(self) -> JSON:
        """Say that there is nothing."""
        return {}

    def names(self, sample: int) -> tuple[str, str]:
        """Name nothing."""
        return f"sample {sample}", f"sample {sample}"

    def probe(self, sample: int) -> Header:
        """Refuse."""
        raise SourceError(f"sample {sample}: there is no source")

    def read(self, sample: int) -> tuple[Image, Mask]:
        """Refuse."""
        raise SourceError(f"sample {sample}: there is no source")

    def read_mask(self, sample: int) -> Mask:
        """Refuse."""
        raise SourceError(f"sample {sample}: there is no source")


def check_shard(source: Source, work: Work, task: CheckTask) -> ShardFindings:
    """Compare the files of a shard, and the samples in it, with what is recorded of them."""
    files = tuple(check_file(known) for known in task.files)
    findings: list[SampleFinding] = []
    if task.rows:
        # What the operating system cannot read would, mapped into memory, end the process.
        unreadable = {
            file.known.field: file.what for file in files if file.state in ("missing", "unreadable")
        }
        layouts = task.split.layouts
        readers = {
            field: unreadable.get(field) or _opened(task.split, field) for field in (IMAGE, MASK)
        }
        chunk = max(layouts[field].chunk_rows for field in readers)
        nbytes = max(layouts[field].sample_nbytes for field in readers)
        step = chunk * max(1, _STEP // max(1, chunk * nbytes))
        for at in range(0, len(task.rows), step):
            rows = task.rows[at : at + step]
            images, masks = (_read(reader, field, rows) for field, reader in readers.items())
            for place, row in enumerate(rows):
                expected = task.expected.part(slice(at + place, at + place + 1))
                findings += _checked(row, images[place], masks[place], expected, files)
                work.tick()
        for reader in readers.values():
            if not isinstance(reader, str):
                reader.close()
    return ShardFindings(files, tuple(findings))


def _opened(split: Split, field: str) -> SplitReader | str:
    try:
        return SplitReader(split, [field], open_files=1)
    except Exception as error:
        return _said(error, split, field)


def _read(reader: SplitReader | str, field: str, rows: range) -> Read:
    """Read samples together; where that fails, one by one."""
    if isinstance(reader, str):
        return [reader] * len(rows)
    try:
        return list(reader.read(rows)[field])
    except Exception as error:  # a damaged description may lead to any
        if len(rows) == 1:
            return [str(error) if isinstance(error, ReadError) else f"{field}: {error!r}"]
    return [one for row in rows for one in _read(reader, field, range(row, row + 1))]


def _said(error: Exception, split: Split, field: str) -> str:
    return str(error) if isinstance(error, ReadError) else f"{split.path / field}: {error!r}"


def _checked(
    row: int,
    image: NDArray[Any] | str,
    mask: NDArray[Any] | str,
    expected: Expected,
    files: Sequence[FileFinding],
) -> list[SampleFinding]:
    """Compare one sample with what is recorded of it."""
    if isinstance(image, str) or isinstance(mask, str):
        return [
            SampleFinding(row, "sample-damaged", said, (field,))
            for field, said in ((IMAGE, image), (MASK, mask))
            if isinstance(said, str)
        ]
    differing = _differing_statistics(image, mask, expected)
    if expected.digest is not None:
        needed, found = int(expected.digest[0]), sample_digest(image, mask)
        if needed != found:
            what = f"needed pixels of digest {needed:016x}, found {found:016x}"
            return [_changed(row, what, tuple(differing), files)]
    return [SampleFinding(row, "statistics", what, (name,)) for name, what in differing.values()]


def _changed(
    row: int, what: str, differing: tuple[str, ...], files: Sequence[FileFinding]
) -> SampleFinding:
    """Tell which of a sample's files holds other pixels, or else that its digest is wrong."""
    if files and all(file.state == "good" for file in files):
        why = "yet its shards are those that were written: the recorded digest is damaged"
        return SampleFinding(row, "array", f"{what}, {why}", ("digest",))
    wrong = tuple(file.known.field for file in files if file.state == "damaged")
    # Two damaged files need not both hold damage of this sample; its sums can tell.
    blamed = tuple(field for field in wrong if field in differing) or wrong
    todo = "restore the file, or convert again"
    return SampleFinding(
        row, "sample-changed", f"{what}; {todo}", blamed or differing or (IMAGE, MASK)
    )


def _differing_statistics(
    image: NDArray[Any], mask: NDArray[Any], expected: Expected
) -> dict[str, tuple[str, str]]:
    """Find recorded counts and sums that are not those of the pixels: field → array, what."""
    differing = {}
    if expected.channel_sums is not None:
        needed, found = expected.channel_sums[0], _sums(image)
        if not _agree(needed, found, exact=image.dtype != np.float32):
            what = f"needed sums {_shown(found)} of its image's channels, found {_shown(needed)}"
            differing[IMAGE] = "channel_sums", what
    if expected.class_pixels is not None:
        counts = value_counts(mask)
        pixels = np.zeros_like(expected.class_pixels[0], np.int64)
        pixels[: counts.size] = counts[: pixels.size]
        recorded = expected.class_pixels[0].astype(np.int64)
        if not np.array_equal(pixels, recorded):
            first = int(np.argmax(pixels != recorded))
            what = f"needed {pixels[first]} pixels of class {first}, found {recorded[first]}"
            differing[MASK] = "class_pixels", what
    return differing


def _sums(image: NDArray[Any]) -> NDArray[np.float64]:
    with np.errstate(over="ignore", invalid="ignore"):  # floats may be infinite
        return channel_sums(image)


def _agree(needed: NDArray[np.float64], found: NDArray[np.float64], *, exact: bool) -> bool:
    if needed.shape != found.shape:
        return False
    if exact:
        return np.array_equal(needed, found)
    return np.allclose(needed, found, rtol=_RTOL, atol=0, equal_nan=True)


def _shown(sums: NDArray[np.float64]) -> list[float]:
    listed: list[float] = sums[:, 0].tolist()
    return listed
