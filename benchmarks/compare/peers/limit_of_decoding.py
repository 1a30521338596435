"""The limit of all loaders of compressed samples: decoding from RAM on all cores."""

from __future__ import annotations

from itertools import pairwise
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

import numpy as np

from compare.peer import Batch, Level, Loader, Peer, Setting, aligned_batch, shuffled
from compare.peers.memmap import FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.context import ForkProcess
    from pathlib import Path

    from compare.samples import Samples
    from compare.workloads import Workload


class DecodingLimit(Peer):
    """Decodes Blosc-LZ4 samples from RAM, in one process per core.

    Each process decodes its share of an epoch's batches into its own buffer. For every finished
    batch it sends the number of the epoch, but no pixels, to this process, which then delivers a
    batch. The processes are forked, so that they share the encoded samples.
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
        """Encode every sample separately: images by LZ4, masks by its slower, denser variant."""
        from numcodecs.blosc import Blosc

        for field, name in zip(FIELDS, ("lz4", "lz4hc"), strict=True):
            codec = Blosc(name, shuffle=Blosc.NOSHUFFLE)
            ends = [0]
            with (folder / f"{field}.blosc").open("wb") as file:
                for sample in samples.array(field):
                    ends.append(ends[-1] + file.write(codec.encode(np.ascontiguousarray(sample))))
            np.save(folder / f"{field}-ends.npy", ends)

    def open(self, folder: Path, work: Workload, setting: Setting) -> Loader:
        """Load the encoded samples, and start the processes."""
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
                # Ignore batches of an epoch that was stopped.
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
    there.close()  # so that the pipe ends when the process dies
    return process, here


def _serve(
    connection: Connection, encoded: list[list[memoryview]], work: Workload, share: slice
) -> None:
    """Decode a share of the batches of every requested epoch, until the next one is requested."""
    from numcodecs import blosc

    blosc.use_threads = False  # the processes already run in parallel
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


PEERS = (DecodingLimit(),)
