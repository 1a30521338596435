"""What no loader passes: memory, decoding, the consumer alone, the disk.

Each hands out one aligned batch again and again; what differs is the work that is done for it.
"""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, pairwise
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

import numpy as np

from compare.by_index import ByIndex
from compare.peer import Batch, Level, Loader, Peer, Setting, aligned_batch, shuffled
from compare.peers.memmap import FIELDS, MemmapPeer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.context import ForkProcess
    from pathlib import Path

    from compare.samples import Samples
    from compare.workloads import Workload

_BLOCK_NBYTES = 8 << 20  # of one sequential read


class MemoryLimit(MemmapPeer):
    """Gathers out of RAM, by ``np.take``, into one buffer, which stays in the cache."""

    name = "limit: np.take from RAM"
    levels = ("read",)
    limit = True

    def settings(self, work: Workload, level: Level, cores: int) -> list[Setting]:  # noqa: ARG002
        """Try one thread, and several that share every batch."""
        return [{"threads": 1}, {"threads": min(cores, 4)}]

    def open(self, folder: Path, work: Workload, setting: Setting) -> Loader:
        """Load all of it."""
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


class DecodingLimit(Peer):
    """Decodes Blosc-LZ4 samples, which lie in RAM, in as many processes as there are cores.

    Each decodes its share of an epoch's batches into one buffer of its own; for every batch that
    is done it sends the epoch's number, and no pixel, to this process, which hands out a batch.
    The processes are forked, so that they share the encoded samples.
    """

    name = "limit: Blosc-LZ4 decoded from RAM"
    stored = "blosc-lz4"
    needs = ("numcodecs",)
    levels = ("read",)
    limit = True

    def settings(self, work: Workload, level: Level, cores: int) -> list[Setting]:  # noqa: ARG002
        """Use all cores."""
        return [{"processes": cores}]

    def convert(self, samples: Samples, folder: Path) -> None:
        """Encode every sample by itself: images by LZ4, masks by its slower, denser variant."""
        from numcodecs.blosc import Blosc

        for field, name in zip(FIELDS, ("lz4", "lz4hc"), strict=True):
            codec = Blosc(name, shuffle=Blosc.NOSHUFFLE)
            ends = [0]
            with (folder / f"{field}.blosc").open("wb") as file:
                for sample in samples.array(field):
                    ends.append(ends[-1] + file.write(codec.encode(np.ascontiguousarray(sample))))
            np.save(folder / f"{field}-ends.npy", ends)

    def open(self, folder: Path, work: Workload, setting: Setting) -> Loader:
        """Load what is encoded, and start the processes."""
        return _Decoders(folder, work, setting["processes"])


class _Decoders(Loader):
    def __init__(self, folder: Path, work: Workload, processes: int) -> None:
        super().__init__(work)
        self._batch = aligned_batch(work)
        encoded = [_encoded(folder, field) for field in FIELDS]
        pairs = [_started(encoded, work, slice(rank, None, processes)) for rank in range(processes)]
        self._processes, self._connections = zip(*pairs, strict=True)

    def epoch(self, number: int) -> Iterator[Batch]:
        for connection in self._connections:
            connection.send(number)
        came = 0
        while came < self.work.batches:
            for connection in wait(self._connections):
                assert isinstance(connection, Connection)
                # A batch of an epoch that was broken off counts for nothing.
                if connection.recv() == number:
                    came += 1
                    yield self._batch

    def close(self) -> None:
        for process in self._processes:
            process.terminate()
            process.join()


def _encoded(folder: Path, field: str) -> list[memoryview]:
    """Load a field's encoded samples."""
    memory = memoryview(np.fromfile(folder / f"{field}.blosc", np.uint8))
    ends = np.load(folder / f"{field}-ends.npy").tolist()
    return [memory[begin:end] for begin, end in pairwise(ends)]


def _started(
    encoded: list[list[memoryview]], work: Workload, share: slice
) -> tuple[ForkProcess, Connection]:
    """Start a process that decodes a share of every epoch, with a pipe to it."""
    fork = get_context("fork")
    here, there = fork.Pipe()
    process = fork.Process(target=_serve, args=(there, encoded, work, share), daemon=True)
    process.start()
    there.close()  # so that its death is the pipe's end
    return process, here


def _serve(
    connection: Connection, encoded: list[list[memoryview]], work: Workload, share: slice
) -> None:
    """Decode a share of the batches of every epoch whose number comes, until the next one comes."""
    from numcodecs import blosc

    blosc.use_threads = False  # the processes are the parallelism
    targets = [[memoryview(row).cast("B") for row in array] for array in aligned_batch(work)]
    while True:
        number = connection.recv()
        for ids in shuffled(work, number)[share].tolist():
            for samples, rows in zip(encoded, targets, strict=True):
                for sample, row in zip(ids, rows, strict=True):
                    blosc.decompress(samples[sample], row)
            connection.send(number)
            if connection.poll():
                break


class ConsumerLimit(MemmapPeer):
    """Does nothing, so that what is left is the consumer: in ``fit``, Keras and TensorFlow."""

    name = "limit: one constant batch"
    limit = True

    def settings(self, work: Workload, level: Level, cores: int) -> list[Setting]:  # noqa: ARG002
        """Leave nothing to choose."""
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
    """Reads the files from beginning to end, a batch per as many bytes: for cold runs."""

    name = "limit: sequential read of the files"
    levels = ("read",)
    limit = True

    def settings(self, work: Workload, level: Level, cores: int) -> list[Setting]:  # noqa: ARG002
        """Leave nothing to choose."""
        return [{}]

    def open(self, folder: Path, work: Workload, setting: Setting) -> Loader:  # noqa: ARG002
        """Note where the files are."""
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


PEERS = (MemoryLimit(), DecodingLimit(), ConsumerLimit(), DiskLimit())
