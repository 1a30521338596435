"""How is a shard of every field written?

From decoded samples to files with their final names, and the shard's record. Samples are streamed:
memory holds one decoded sample and one chunk of each field. Chunks are stored in the order of their
samples, so that the loader reads neighbours at once.
"""

from __future__ import annotations

import platform
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError, WorkerError
from zarrfeed.store.schema import IMAGE, MASK
from zarrfeed_convert.shards.codecs import encoder
from zarrfeed_convert.shards.difference_hash import difference_hash
from zarrfeed_convert.shards.samples import Recipe, read_rows, sample_digest
from zarrfeed_convert.shards.shard_file import ShardFile
from zarrfeed_convert.shards.shard_record import ShardRecord
from zarrfeed_convert.shards.statistics import image_sums
from zarrfeed_convert.source import image_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from zarrfeed_convert.executors.executor import TaskRun
    from zarrfeed_convert.shards.field_layout import FieldLayout
    from zarrfeed_convert.shards.rows import Rows
    from zarrfeed_convert.shards.samples import StoredSample
    from zarrfeed_convert.source import Sample, Source


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard of every field: its place and its samples.

    Attributes
    ----------
    folder
        Folder of the split; the shard of a field is ``FIELD/c/NUMBER/0/…`` in it.
    record
        Path of the shard's record, which is written when its files are complete.
    mark
        A file that exists as long as the shard is wanted.
    number
        Index of the shard along axis 0.
    fields
        Layout of each field, in the order of the source's fields.
    rows
        The samples; the last shard may have fewer than it has room for.
    """

    folder: Path
    record: Path
    mark: Path
    number: int
    fields: tuple[FieldLayout, ...]
    rows: Rows

    @property
    def files(self) -> tuple[Path, ...]:
        """The fields' files."""
        return tuple(shard_path(self.folder, layout, self.number) for layout in self.fields)


@dataclass(frozen=True, slots=True)
class ShardTask:
    """A shard to pack, and how its samples are made."""

    shard: Shard
    recipe: Recipe


class _SamplesMissing(Exception):  # noqa: N818 (no mistake: the failures are noted already)
    """The shard has gaps, so its files are useless."""


def pack_shard(run: TaskRun[Source], task: ShardTask) -> None:
    """Pack one shard of every field, and write its record.

    After a sample fails, the others are only read, so that all failures are noted.
    """
    shard, count = task.shard, len(task.shard.rows)
    has_mask = any(layout.name == MASK for layout in shard.fields)
    images = image_names(run.context.fields)
    channels = sum(layout.sample_shape[-1] for layout in shard.fields if layout.name in images)
    dhash = np.empty(count, np.uint64)
    record = ShardRecord(
        shard.rows.fingerprint(),
        np.empty(count, np.uint64),
        np.empty((count, len(task.recipe.labels.classes) if has_mask else 0), np.int64),
        np.empty((count, channels, 3)),
        np.empty((len(shard.fields), 2), np.uint64),
        dhash,
    )
    with shard_written(run, shard, record) as append:
        for stored in read_rows(run, task.recipe, shard.rows):
            run.tick()
            _require_fit(run, shard, stored)
            if not run.failed:
                record.digest[stored.row] = sample_digest(stored.arrays)
                record.class_pixels[stored.row] = stored.pixels
                record.channel_sums[stored.row] = image_sums(stored.own, images)
                dhash[stored.row] = difference_hash(stored.own[IMAGE])
                append(stored.arrays)
            del stored  # otherwise it would be kept while the next one is decoded


@contextmanager
def shard_written(
    run: TaskRun[Any], shard: Shard, record: ShardRecord
) -> Iterator[Callable[[Sample], None]]:
    """Write one shard of every field, then its record; yields a function that appends a sample.

    If there is an error, or samples have failed, all its files are removed.

    Raises
    ------
    WorkerError
        The split's journal is missing, as on a machine with another disk, or the split was
        started anew.
    """
    _require_wanted(shard)
    try:
        with ExitStack() as stack:
            files = [
                stack.enter_context(_shard_file(path, layout))
                for path, layout in zip(shard.files, shard.fields, strict=True)
            ]
            chunks = {
                layout.name: ChunkWriter(file, layout)
                for file, layout in zip(files, shard.fields, strict=True)
            }

            def append(sample: Sample) -> None:
                for name, values in sample.items():
                    chunks[name].append(values)

            yield append
            if run.failed:
                raise _SamplesMissing
            for writer in chunks.values():
                writer.finish()
    except _SamplesMissing:
        return
    for place, file in enumerate(files):
        record.files[place] = file.nbytes, file.digest
    record.save(shard.record)


def _require_wanted(shard: Shard) -> None:
    if not shard.record.parent.is_dir():
        raise WorkerError(
            f"{shard.record.parent}: needed the folder that the conversion has made, there is none "
            f"on {platform.node()}; OUT must be on a path that all workers share"
        )
    if not shard.mark.exists():
        raise WorkerError(
            f"{shard.folder}: there is no {shard.mark.name} beside it on {platform.node()}; the "
            "split was begun anew, and needs no shard of what was before, or OUT is not on a path "
            "that all workers share"
        )


def shard_path(folder: Path, layout: FieldLayout, number: int) -> Path:
    """Return the path of a field's shard."""
    place = [str(number), *("0" for _ in layout.sample_shape)]
    return folder.joinpath(layout.name, "c", *place)


def _shard_file(path: Path, layout: FieldLayout) -> ShardFile:
    return ShardFile(
        path, chunks=layout.chunks_per_shard, encode=encoder(layout.codec, layout.dtype.itemsize)
    )


def _require_fit(run: TaskRun[Source], shard: Shard, stored: StoredSample) -> None:
    """Note a sample as failed if a source's `read` returns other arrays than `probe` promised."""
    item = int(shard.rows.item[stored.row])
    with run.noting(item):
        name = run.context.names(item)[0]
        for layout in shard.fields:
            values = stored.arrays[layout.name]
            if values.shape != layout.sample_shape or values.dtype != layout.dtype:
                raise SourceError(
                    f"{name}: its header promised {layout.sample_shape} {layout.dtype} as "
                    f"{layout.name}, it decoded to {values.shape} {values.dtype}"
                )


class ChunkWriter:
    """Collects samples into chunks of a shard, and pads the last chunk with zeros.

    Parameters
    ----------
    file
        The shard's file.
    layout
        Layout of the field.
    """

    def __init__(self, file: ShardFile, layout: FieldLayout) -> None:
        self._file = file
        self._dtype = layout.dtype.newbyteorder("<")
        self._rows = layout.chunk_rows
        self._chunk = np.zeros((self._rows, *layout.sample_shape), self._dtype)
        self._count = 0

    def append(self, sample: NDArray[Any]) -> None:
        """Append a sample."""
        if self._rows == 1:
            self._file.append(np.ascontiguousarray(sample, self._dtype))
            return
        self._chunk[self._count] = sample
        self._count += 1
        if self._count == self._rows:
            self._file.append(self._chunk)
            self._count = 0

    def finish(self) -> None:
        """Write the last chunk if there is a part of one."""
        if self._count:
            self._chunk[self._count :] = 0
            self._file.append(self._chunk)
            self._count = 0
