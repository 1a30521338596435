"""How fast can this machine decode these very chunks? Out of memory, in processes of their own.

Knows nothing of the loader's reader: a limit must not share the mistakes of what it judges. Run as
``python -m zarrfeed_tools.bench.decoding JSON`` it is one of the processes: it takes the encoded
chunks into memory, says so, and then decodes for as many seconds as every line on its standard
input says, answering with the samples per second.
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
    """Name the fields whose chunks are compressed, and that we can decode."""
    return [
        name
        for name, layout in job.layouts.items()
        if layout.compressor != "raw" and layout.indirect is None
    ]


class Decoders:
    """Processes that decode out of memory, all idle until they are asked."""

    def __init__(self, job: Job, count: int) -> None:
        work = {
            "path": str(job.path),
            "fields": decoded_fields(job),
            "samples": affordable_samples(job.samples, job.sample_nbytes, KEPT_NBYTES // count),
            "batch_size": job.batch_size,
            "shuffle": job.shuffle,
            "block": job.block,
        }
        # -P: a file in the folder where this runs must not stand for a module of ours.
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
        """Let the first `count` of them decode at the same time; samples per second together."""
        for process in self._processes[:count]:
            print(seconds, file=process.stdin, flush=True)
        return sum(float(_answer(process)) for process in self._processes[:count])

    def close(self) -> None:
        """End them."""
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
            f"the process that decodes from memory ended, exit status {process.wait()}; its own "
            "message stands above on standard error"
        )
    return line


def encoded_chunks(folder: Path, layout: ArrayLayout, samples: int) -> list[bytes | None]:
    """Take the encoded chunks of the first samples into memory; None for one never written.

    Parses the shards by itself: at the end (or the beginning) of each stand ``uint64[chunks, 2]``
    of (offset, nbytes), and a crc32c of 4 bytes if the store has one. Checksums are left out.
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


def decode(compression: str, source: bytes, target: memoryview) -> None:
    """Decode a chunk into memory that is there."""
    if compression == "blosc":
        numcodecs.blosc.decompress(source, target)
    elif compression == "zstd":
        numcodecs.zstd.decompress(source, target)
    else:
        target[:] = zlib.decompress(source, wbits=31)


class _Field:
    """One field's chunks in memory, and room for what a batch of it decodes to."""

    def __init__(self, folder: Path, layout: ArrayLayout, samples: int, batch_size: int) -> None:
        self._layout = layout
        self._chunks = encoded_chunks(folder, layout, samples)
        chunk_nbytes = layout.chunk_rows * layout.sample_nbytes
        # Touched now. A batch of one-sample chunks fills a batch; others go through scratch memory.
        rooms = batch_size if layout.chunk_rows == 1 else 1
        memory = np.ones((rooms, chunk_nbytes), np.uint8)
        self._rooms: Sequence[memoryview] = [row.data for row in memory]

    def decode(self, ids: NDArray[np.int64]) -> None:
        """Decode what a batch needs: each of its chunks once."""
        for place, chunk in enumerate(np.unique(ids // self._layout.chunk_rows).tolist()):
            source = self._chunks[chunk]
            if source is not None:
                decode(self._layout.compressor, source, self._rooms[place % len(self._rooms)])


def main(text: str) -> None:
    """Serve until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    numcodecs.blosc.use_threads = False  # the processes are the parallelism
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
