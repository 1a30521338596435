"""How are samples copied from one split to another?

A task writes one shard of every field. It recomputes the digest of every sample and compares it
with the recorded one. If any digest differs, the shard is not written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import ReadError
from zarrfeed.store.schema import IMAGE, MASK
from zarrfeed_convert.class_counts import class_counts
from zarrfeed_convert.repacking.stored_source import READ_NBYTES
from zarrfeed_convert.shards.difference_hash import difference_hash
from zarrfeed_convert.shards.packing import shard_written
from zarrfeed_convert.shards.samples import has_class_axis, sample_digest
from zarrfeed_convert.shards.shard_record import ShardRecord
from zarrfeed_convert.shards.statistics import image_sums
from zarrfeed_convert.source import image_names
from zarrfeed_convert.supervision.board import marked
from zarrfeed_convert.verification.sample_check import Expected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from zarrfeed_convert.executors.executor import TaskRun
    from zarrfeed_convert.repacking.stored_source import StoredSamples
    from zarrfeed_convert.shards.packing import Shard
    from zarrfeed_convert.shards.rows import Numbers
    from zarrfeed_convert.source import Sample


@dataclass(frozen=True, slots=True)
class CopyTask:
    """A shard to write, and what is recorded about its n samples.

    Attributes
    ----------
    shard
        The shard.
    digest
        (n,) uint64.
    class_pixels
        (n, K) int64.
    channel_sums
        (n, C, 3) float64.
    dhash
        (n,) uint64; None to compute them, which stores of an older zarrfeed lack.
    own_size
        (n, 2 or 3) int64, sizes of the parts of tiles of cases that are not padded; None for
        samples.

    Notes
    -----
    Rows of zeros in `class_pixels` and `channel_sums` are computed anew: stores of an older
    zarrfeed have no channel sums, and an array of zeros has no file, so that a lost file would not
    be noticed.
    """

    shard: Shard
    digest: NDArray[np.uint64]
    class_pixels: Numbers
    channel_sums: NDArray[np.float64]
    dhash: NDArray[np.uint64] | None
    own_size: Numbers | None = None

    def expected(self, row: int, images: tuple[str, ...]) -> Expected:
        """Return what is recorded about one sample, with `images` as its image fields."""
        here = slice(row, row + 1)
        sums = self.channel_sums[here]
        known = sums if sums.any() else None
        own_size = None if self.own_size is None else self.own_size[here]
        dhash = None if self.dhash is None else self.dhash[here]
        return Expected(self.digest[here], self.class_pixels[here], known, dhash, images, own_size)


def copy_shard(run: TaskRun[StoredSamples], task: CopyTask) -> None:
    """Copy one shard of every field, and write its record.

    After a damaged sample, the others are only checked, so that all damaged samples are reported.
    """
    shard, images = task.shard, image_names(run.context.fields)
    dhash = np.empty(len(task.digest), np.uint64) if task.dhash is None else task.dhash
    record = ShardRecord(
        shard.rows.fingerprint(),
        task.digest,
        task.class_pixels.copy(),
        task.channel_sums.copy(),
        np.empty((len(shard.fields), 2), np.uint64),
        dhash,
    )
    no_sums = np.logical_not(task.channel_sums.any(axis=(1, 2))).tolist()
    no_pixels = np.logical_not(task.class_pixels.any(axis=1)).tolist()
    with shard_written(run, shard, record) as append:
        for row, sample in _samples(run, shard):
            run.tick()
            if sample_digest(sample) != task.digest[row]:
                item = int(shard.rows.item[row])
                with run.noting(item):
                    raise run.context.changed(item, sample, task.expected(row, images))
            if run.failed:
                continue
            if no_sums[row] or no_pixels[row] or task.dhash is None:
                own = task.expected(row, images).own(sample)
                if no_sums[row]:
                    record.channel_sums[row] = image_sums(own, images)
                if task.dhash is None:
                    dhash[row] = difference_hash(own[IMAGE])
                if no_pixels[row] and MASK in own and record.class_pixels.shape[1]:
                    record.class_pixels[row] = class_counts(
                        own[MASK], record.class_pixels.shape[1], multi_hot=has_class_axis(own)
                    )
            append(sample)


def _samples(run: TaskRun[StoredSamples], shard: Shard) -> Iterator[tuple[int, Sample]]:
    """Yield row and sample; read several at a time or, if that fails, one by one."""
    items = shard.rows.item
    names = [layout.name for layout in shard.fields]
    step = max(1, READ_NBYTES // max(1, sum(layout.sample_nbytes for layout in shard.fields)))
    for at in range(0, len(items), step):
        some = items[at : at + step]
        try:
            with marked(run.context.names(int(some[0]))[0]):
                samples = run.context.read_many(some)
        except (ReadError, OSError):
            for row, item in enumerate(some.tolist(), at):
                sample: Sample | None = None
                with run.noting(item):
                    sample = dict(zip(names, run.read(item), strict=True))
                if sample is not None:
                    yield row, sample
            continue
        for place in range(len(some)):
            yield at + place, {name: values[place] for name, values in samples.items()}
