"""What does a process do that copies samples of one split into another?

It reads some, recomputes the digest of each and compares it with the recorded one, and writes them
to one shard of every field. Where one does not fit, the shard is not written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import ReadError
from zarrfeed_convert.shards.packing import SamplesMissing, ShardTask, shards_written
from zarrfeed_convert.shards.samples import sample_digest
from zarrfeed_convert.shards.shard_record import ShardRecord
from zarrfeed_convert.shards.statistics import channel_sums, value_counts
from zarrfeed_convert.supervision.board import marked
from zarrfeed_convert.verification.sample_check import Expected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from zarrfeed_convert.executors.executor import TaskRun
    from zarrfeed_convert.planning.decisions import FieldLayout
    from zarrfeed_convert.repacking.stored_source import StoredSamples
    from zarrfeed_convert.shards.rows import Numbers
    from zarrfeed_convert.source import Image, Mask

# Decoded at a time: few enough to stay in a processor's cache until they are encoded. (A sample of
# 256×256 RGB to lz4: 0.63 ms where one is read at a time, 0.56 with 1 MiB, 0.57 with 2, 0.68 at 8.)
READ_NBYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class CopyTask(ShardTask):
    """One shard of every field, and what is recorded of the samples that go there.

    Attributes
    ----------
    digest
        (n,) uint64.
    class_pixels
        (n, K) int64.
    channel_sums
        (n, C, 3) float64. Rows of zeros are computed anew, here as there: a store of an older
        zarrfeed has none, and an array of zeros has no file whose loss would be seen.
    """

    digest: NDArray[np.uint64]
    class_pixels: Numbers
    channel_sums: NDArray[np.float64]

    def expected(self, row: int) -> Expected:
        """Give what is recorded of one sample."""
        here = slice(row, row + 1)
        sums = self.channel_sums[here]
        return Expected(self.digest[here], self.class_pixels[here], sums if sums.any() else None)


def copy_shard(run: TaskRun[StoredSamples], task: CopyTask) -> None:
    """Copy one shard of every field, and leave its record.

    After a sample that is damaged, the rest is only checked, so that all such samples are noted.
    """
    record = ShardRecord(
        task.rows.fingerprint(),
        task.digest,
        task.class_pixels.copy(),
        task.channel_sums.copy(),
        np.empty((2, 2), np.uint64),
    )
    try:
        _write(run, task, record)
    except SamplesMissing:
        return
    record.save(task.record)


def rows_together(fields: tuple[FieldLayout, ...]) -> int:
    """Choose how many samples to read at a time."""
    return max(1, READ_NBYTES // max(1, sum(field.sample_nbytes for field in fields)))


def _write(run: TaskRun[StoredSamples], task: CopyTask, record: ShardRecord) -> None:
    no_sums = np.logical_not(task.channel_sums.any(axis=(1, 2))).tolist()
    no_pixels = np.logical_not(task.class_pixels.any(axis=1)).tolist()
    with shards_written(task, record) as append:
        for row, image, mask in _samples(run, task):
            run.tick()
            if sample_digest(image, mask) != task.digest[row]:
                item = int(task.rows.item[row])
                with run.noting(item):
                    raise run.context.changed(item, image, mask, task.expected(row))
            if run.failed:
                continue
            if no_sums[row]:
                record.channel_sums[row] = channel_sums(image)
            if no_pixels[row]:
                record.class_pixels[row] = _pixels(mask, record.class_pixels.shape[1])
            append(image, mask)
        if run.failed:
            raise SamplesMissing


def _samples(run: TaskRun[StoredSamples], task: CopyTask) -> Iterator[tuple[int, Image, Mask]]:
    """Read samples, some at a time; one by one where some of them cannot be read."""
    items = task.rows.item
    step = rows_together((task.image, task.mask))
    for at in range(0, len(items), step):
        some = items[at : at + step]
        try:
            with marked(run.context.names(int(some[0]))[0]):
                images, masks = run.context.read_many(some)
        except (ReadError, OSError):
            for row, item in enumerate(some.tolist(), at):
                pair: tuple[Image, Mask] | None = None
                with run.noting(item):
                    pair = run.read(item)
                if pair is not None:
                    yield row, *pair
            continue
        yield from zip(range(at, at + len(some)), images, masks, strict=True)


def _pixels(mask: Mask, classes: int) -> Numbers:
    pixels = np.zeros(classes, np.int64)
    counts = value_counts(mask)[:classes]
    pixels[: counts.size] = counts
    return pixels
