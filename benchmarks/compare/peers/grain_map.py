"""Grain: a ``MapDataset`` with a global shuffle, over ArrayRecord and over mapped files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from compare.peer import Batch, Level, Loader, Peer, Setting
from compare.peers.memmap import FIELDS, MemmapPeer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from compare.samples import Samples
    from compare.workloads import Workload

_FILE = "samples.array_record"
_AHEAD = 4  # batches


def _settings(cores: int) -> list[Setting]:
    """Return settings that read whole batches or single samples, with one thread or several."""
    threads = (1, min(cores, 4))
    return [{"whole": whole, "threads": count} for whole in (True, False) for count in threads]


class ArrayRecordPeer(Peer):
    """Records with the bytes of an image and its mask, neither grouped nor compressed."""

    name = "Grain, ArrayRecord"
    stored = "array_record"
    needs = ("grain", "array_record")

    def settings(self, work: Workload, level: Level, cores: int) -> list[Setting]:  # noqa: ARG002
        """Try to read whole batches, and single samples."""
        return _settings(cores)

    def convert(self, samples: Samples, folder: Path) -> None:
        """Write one file."""
        from array_record.python.array_record_module import ArrayRecordWriter

        writer = ArrayRecordWriter(str(folder / _FILE), "group_size:1,uncompressed")
        for image, mask in samples.pairs():
            writer.write(image.tobytes() + mask.tobytes())
        writer.close()

    def open(self, folder: Path, work: Workload, setting: Setting) -> Loader:
        """Open the file."""
        return _Loader(_Records(folder / _FILE, work), work, setting)


class MappedPeer(MemmapPeer):
    """Fancy indexing of mapped files."""

    name = "Grain, np.memmap"
    needs = ("grain",)

    def settings(self, work: Workload, level: Level, cores: int) -> list[Setting]:  # noqa: ARG002
        """Try to read whole batches, and single samples."""
        return _settings(cores)

    def open(self, folder: Path, work: Workload, setting: Setting) -> Loader:
        """Map the files."""
        return _Loader(_Mapped(folder, work), work, setting)


class _Records:
    """Records as pairs of arrays, single or several at a time."""

    def __init__(self, path: Path, work: Workload) -> None:
        from grain.sources import ArrayRecordDataSource

        self._source = ArrayRecordDataSource(str(path))
        self._work = work

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, sample: int) -> Batch:
        return self._pair(self._source[sample])

    def batch(self, ids: Sequence[int]) -> Batch:
        pairs = [self._pair(record) for record in self._source.__getitems__(ids)]
        image, mask = (np.stack(arrays) for arrays in zip(*pairs, strict=True))
        return image, mask

    def _pair(self, record: bytes) -> Batch:
        work = self._work
        image = np.frombuffer(record, work.dtype, int(np.prod(work.image)))
        mask = np.frombuffer(record, np.uint8, offset=image.nbytes)
        return image.reshape(work.image), mask.reshape(work.mask)


class _Mapped:
    """Samples of mapped files, single or several at a time."""

    def __init__(self, folder: Path, work: Workload) -> None:
        self._arrays = [np.load(folder / f"{field}.npy", mmap_mode="r") for field in FIELDS]
        self._samples = work.samples

    def __len__(self) -> int:
        return self._samples

    def __getitem__(self, sample: int) -> Batch:
        image, mask = (array[sample] for array in self._arrays)
        return image, mask

    def batch(self, ids: np.ndarray) -> Batch:
        image, mask = (array[ids] for array in self._arrays)
        return image, mask


class _Loader(Loader):
    def __init__(self, source: Any, work: Workload, setting: Setting) -> None:
        super().__init__(work)
        self._source = source
        self._setting = setting

    def epoch(self, number: int) -> Iterator[Batch]:
        import grain

        whole, size = self._setting["whole"], self.work.batch_size
        if whole:
            samples = grain.MapDataset.range(len(self._source))
        else:
            samples = grain.MapDataset.source(self._source)
        batches = samples.shuffle(seed=number).batch(size, drop_remainder=True)
        if whole:
            batches = batches.map(self._source.batch)
        options = grain.ReadOptions(self._setting["threads"], prefetch_buffer_size=_AHEAD)
        yield from batches.to_iter_dataset(options)


PEERS = (ArrayRecordPeer(), MappedPeer())
