"""How fast can this machine decode the chunks of a split from memory, in several processes?

This module does not use the loader's readers, because a limit must not share the mistakes of what
it is compared with. ``python -m zarrfeed_tools.bench.decoding JSON`` runs one of the processes. It
reads the encoded chunks into memory and prints "ready". For each line on standard input, a number
of seconds, it then decodes for that time and prints the samples per second.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numcodecs.blosc
import numcodecs.zstd
import numpy as np

from zarrfeed import WorkerError, open_split
from zarrfeed_tools.bench.job import affordable_samples, endless_batches
from zarrfeed_tools.bench.samples import KEPT_NBYTES, rate_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed.store.schema import ArrayLayout
    from zarrfeed_tools.bench.job import Job

_CHECKSUM_NBYTES = 4
_ABSENT = np.iinfo(np.uint64).max


def decoded_fields(job: Job) -> list[str]:
    """Return the names of compressed fields whose chunks can be decoded here."""
    return [
        name
        for name, layout in job.layouts.items()
        if layout.compressor != "raw" and layout.indirect is None
    ]


class Decoders:
    """Processes that decode from memory. They are idle until :meth:`rate` is called."""

    def __init__(self, job: Job, count: int) -> None:
        work = {
            "path": str(job.path),
            "fields": decoded_fields(job),
            "samples": affordable_samples(job.samples, job.sample_nbytes, KEPT_NBYTES // count),
            "batch_size": job.batch_size,
            "shuffle": job.shuffle,
            "block": job.block,
        }
        # -P, so that files in the current folder cannot replace modules.
        command = [sys.executable, "-P", "-m", "zarrfeed_tools.bench.decoding", json.dumps(work)]
        self._processes: list[subprocess.Popen[str]] = []
        try:
            for _ in range(count):
                self._processes.append(
                    subprocess.Popen(
                        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                    )
                )
            for process in self._processes:
                _answer(process)
        except BaseException:
            self.close()
            raise

    def rate(self, count: int, seconds: float) -> float:
        """Return the samples per second of `count` processes that decode at the same time."""
        for process in self._processes[:count]:
            print(seconds, file=process.stdin, flush=True)
        return sum(float(_answer(process)) for process in self._processes[:count])

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _answer(process: subprocess.Popen[Any]) -> str:
    line: str = process.stdout.readline() if process.stdout else ""
    if not line:
        raise WorkerError(
            f"the process that decodes from memory ended with exit status {process.wait()}; see "
            "its own message on standard error, above"
        )
    return line


def encoded_chunks(folder: Path, layout: ArrayLayout, samples: int) -> list[bytes | None]:
    """Read the encoded chunks of the first samples into memory, without verifying checksums.

    A shard ends (or begins) with ``uint64[chunks, 2]`` of (offset, nbytes), and a crc32c of 4 bytes
    if the store has checksums.

    Parameters
    ----------
    folder, layout
        Folder and layout of the array.
    samples
        Number of samples whose chunks to read.

    Returns
    -------
    list of bytes or None
        One item per chunk, without its checksum; None for a chunk that was never written.
    """
    chunks: list[bytes | None] = []
    wanted = -(-samples // layout.chunk_rows)
    for shard in range(-(-samples // layout.shard_rows)):
        try:
            data = (folder / layout.shard_name(shard)).read_bytes()
        except FileNotFoundError:
            chunks += [None] * layout.chunks_per_shard
            continue
        chunks += [
            None if at == _ABSENT else _without_checksum(data[at : at + nbytes], layout)
            for at, nbytes in _entries(data, layout)
        ]
    return chunks[:wanted]


def _entries(data: bytes, layout: ArrayLayout) -> list[tuple[int, int]]:
    if layout.index is None:
        return [(0, len(data))]
    nbytes = 16 * layout.chunks_per_shard
    checksum = _CHECKSUM_NBYTES if layout.index.checksum else 0
    start = len(data) - nbytes - checksum if layout.index.at_end else 0
    table = np.frombuffer(data, "<u8", offset=start, count=nbytes // 8).reshape(-1, 2)
    return [(int(at), int(size)) for at, size in table]


def _without_checksum(chunk: bytes, layout: ArrayLayout) -> bytes:
    return chunk[:-_CHECKSUM_NBYTES] if layout.checksum else chunk


def decode(compressor: str, source: bytes, target: memoryview) -> None:
    """Decode a chunk into a given buffer."""
    if compressor == "blosc":
        numcodecs.blosc.decompress(source, target)
    elif compressor == "zstd":
        numcodecs.zstd.decompress(source, target)
    else:
        target[:] = zlib.decompress(source, wbits=31)


class _Field:
    """The encoded chunks of one field, and memory for a decoded batch."""

    def __init__(self, folder: Path, layout: ArrayLayout, samples: int, batch_size: int) -> None:
        self._layout = layout
        self._chunks = encoded_chunks(folder, layout, samples)
        chunk_nbytes = layout.chunk_rows * layout.sample_nbytes
        # Chunks of one sample are decoded straight into a batch, others into one scratch chunk.
        targets = batch_size if layout.chunk_rows == 1 else 1
        memory = np.ones((targets, chunk_nbytes), np.uint8)  # ones, to touch all pages now
        self._targets: Sequence[memoryview] = [row.data for row in memory]

    def decode(self, ids: NDArray[np.int64]) -> None:
        """Decode every chunk of a batch once."""
        for place, chunk in enumerate(np.unique(ids // self._layout.chunk_rows).tolist()):
            source = self._chunks[chunk]
            if source is not None:
                decode(self._layout.compressor, source, self._targets[place % len(self._targets)])


def main(text: str) -> None:
    """Decode on request until standard input ends; see the module's docstring."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the parent handles Ctrl-C
    numcodecs.blosc.use_threads = False  # the processes already run in parallel
    work = json.loads(text)
    path, samples, batch_size = Path(work["path"]), work["samples"], work["batch_size"]
    layouts = open_split(path).layouts
    fields = [_Field(path / name, layouts[name], samples, batch_size) for name in work["fields"]]
    batches = endless_batches(samples, batch_size, work["shuffle"], work["block"])

    def decode_batch() -> int:
        ids = next(batches)
        for field in fields:
            field.decode(ids)
        return ids.size

    print("ready", flush=True)
    for line in sys.stdin:
        print(rate_of(decode_batch, float(line)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
