"""How fast can Blosc decode a store's chunks from memory, in several processes?

``python decoding.py STORE BATCH_SIZE`` runs one of the processes. It reads the encoded chunks into
memory and prints "ready". For each line on standard input, a number of seconds, it then decodes for
that time and prints the batches per second.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numcodecs.blosc
import numpy as np

from limits import aligned, shuffled
from zarrfeed import open_split

if TYPE_CHECKING:
    from collections.abc import Iterator

FIELDS = ("image", "mask")


class Decoders:
    """Processes that decode from memory. They are idle until :meth:`rate` is called."""

    def __init__(self, store: str, batch_size: int, count: int) -> None:
        command = [sys.executable, __file__, store, str(batch_size)]
        self._processes: list[subprocess.Popen[str]] = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(count)
        ]
        for process in self._processes:
            _answer(process)

    def rate(self, count: int, seconds: float) -> float:
        """Return the batches per second of `count` processes that decode at the same time."""
        for process in self._processes[:count]:
            print(seconds, file=process.stdin, flush=True)
        return sum(float(_answer(process)) for process in self._processes[:count])

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.communicate()


def _answer(process: subprocess.Popen[Any]) -> str:
    line: str = process.stdout.readline() if process.stdout else ""
    if not line:
        raise RuntimeError(f"the decoding process ended, exit status {process.wait()}")
    return line


def encoded_chunks(store: str, field: str) -> list[bytes]:
    """Read the encoded chunks of a field into memory, one per sample.

    A shard ends with ``uint64[chunks, 2]`` of (offset, nbytes) and a crc32c of 4 bytes.
    """
    layout = open_split(store).layouts[field]
    if layout.compressor != "blosc" or layout.chunk_rows != 1:
        raise ValueError(
            f"{store}/{field}: needed Blosc chunks of one sample, found {layout.codec} chunks of "
            f"{layout.chunk_rows}"
        )
    chunks: list[bytes] = []
    for shard in range(-(-layout.shape[0] // layout.shard_rows)):
        data = Path(store, field, layout.shard_name(shard)).read_bytes()
        entries = np.frombuffer(data[-4 - 16 * layout.shard_rows : -4], "<u8").reshape(-1, 2)
        present = min(layout.shard_rows, layout.shape[0] - shard * layout.shard_rows)
        chunks += [data[at : at + nbytes] for at, nbytes in entries[:present].tolist()]
    return chunks


def main(store: str, batch_size: int) -> None:
    """Decode on request until standard input ends."""
    numcodecs.blosc.use_threads = False  # the processes already run in parallel
    chunks = [encoded_chunks(store, field) for field in FIELDS]
    layouts = open_split(store).layouts
    batch = [aligned((batch_size, *layouts[field].sample_shape)) for field in FIELDS]
    rows = [[memoryview(row).cast("B") for row in field] for field in batch]
    print("ready", flush=True)
    for line in sys.stdin:
        seconds, began = float(line), time.perf_counter()
        # The clock is read after every batch, so that all processes end at the same time.
        for batches, ids in enumerate(_endless(len(chunks[0]), batch_size), start=1):
            for encoded, targets in zip(chunks, rows, strict=True):
                for sample, target in zip(ids.tolist(), targets, strict=True):
                    numcodecs.blosc.decompress(encoded[sample], target)
            if (spent := time.perf_counter() - began) >= seconds:
                print(batches / spent, flush=True)
                break


def _endless(samples: int, batch_size: int) -> Iterator[np.ndarray]:
    for epoch in itertools.count():
        yield from shuffled(samples, batch_size, seed=epoch)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
