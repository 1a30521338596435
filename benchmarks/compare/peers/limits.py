"""The limits of all loaders: memory, the consumer, and the disk.

Each repeats one aligned batch, but does different work for it.
"""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from compare.by_index import ByIndex
from compare.peer import Batch, Level, Loader, Setting, aligned_batch, shuffled
from compare.peers.memmap import FIELDS, MemmapPeer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from compare.workloads import Workload

_BLOCK_NBYTES = 8 << 20  # of one sequential read


class MemoryLimit(MemmapPeer):
    """Gathers from RAM by ``np.take`` into one buffer, which stays in the processor's cache."""

    name = "limit: np.take from RAM"
    levels = ("read",)
    limit = True

    def settings(self, work: Workload, level: Level, cores: int) -> list[Setting]:  # noqa: ARG002
        """Try one thread, and several that share every batch."""
        return [{"threads": 1}, {"threads": min(cores, 4)}]

    def open(self, folder: Path, work: Workload, setting: Setting) -> Loader:
        """Load all samples."""
        return _Gatherer(folder, work, setting["threads"])


class _Gatherer(Loader):
    def __init__(self, folder: Path, work: Workload, threads: int) -> None:
        super().__init__(work)
        self._arrays = [np.load(folder / f"{field}.npy") for field in FIELDS]
        self._batch = aligned_batch(work)
        self._pool = ThreadPoolExecutor(threads)
        self._parts = np.array_split(np.arange(work.batch_size), threads)

    def epoch(self, number: int) -> Iterator[Batch]:
        for ids in shuffled(self.work, number):
            if len(self._parts) == 1:
                self._gather(ids, self._parts[0])
            else:
                list(self._pool.map(lambda rows, ids=ids: self._gather(ids, rows), self._parts))
            yield self._batch

    def _gather(self, ids: np.ndarray, rows: np.ndarray) -> None:
        part = slice(rows[0], rows[-1] + 1)
        for array, out in zip(self._arrays, self._batch, strict=True):
            np.take(array, ids[part], axis=0, out=out[part], mode="clip")

    def close(self) -> None:
        self._pool.shutdown()


class ConsumerLimit(MemmapPeer):
    """Does nothing, to measure the consumer alone: in ``fit``, Keras and TensorFlow."""

    name = "limit: one constant batch"
    limit = True

    def settings(self, work: Workload, level: Level, cores: int) -> list[Setting]:  # noqa: ARG002
        """Return the only setting."""
        return [{}]

    def open(self, folder: Path, work: Workload, setting: Setting) -> Loader:  # noqa: ARG002
        """Allocate the batch."""
        return _Constant(work, setting)


class _Constant(ByIndex):
    def __init__(self, work: Workload, setting: Setting) -> None:
        super().__init__(work, setting)
        self._batch = aligned_batch(work)

    def read(self, ids: np.ndarray) -> Batch:  # noqa: ARG002
        return self._batch


class DiskLimit(MemmapPeer):
    """Reads the files sequentially, one batch per as many bytes, for cold runs."""

    name = "limit: sequential read of the files"
    levels = ("read",)
    limit = True

    def settings(self, work: Workload, level: Level, cores: int) -> list[Setting]:  # noqa: ARG002
        """Return the only setting."""
        return [{}]

    def open(self, folder: Path, work: Workload, setting: Setting) -> Loader:  # noqa: ARG002
        """Return a loader that reads the files sequentially."""
        return _Disk(folder, work)


class _Disk(Loader):
    def __init__(self, folder: Path, work: Workload) -> None:
        super().__init__(work)
        self._files = [folder / f"{field}.npy" for field in FIELDS]
        self._batch = aligned_batch(work)
        self._block = memoryview(bytearray(_BLOCK_NBYTES))

    def epoch(self, number: int) -> Iterator[Batch]:  # noqa: ARG002
        yield from islice(self._sequential(), self.work.batches)

    def _sequential(self) -> Iterator[Batch]:
        left = self.work.batch_nbytes
        for path in self._files:
            with io.FileIO(path) as file:
                while nbytes := file.readinto(self._block):
                    left -= nbytes
                    while left <= 0:
                        left += self.work.batch_nbytes
                        yield self._batch


PEERS = (MemoryLimit(), ConsumerLimit(), DiskLimit())
