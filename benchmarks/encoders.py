"""How fast can a split's samples be compressed from memory, in several processes?

``python encoders.py SPLIT CODEC PART PARTS`` runs one of the processes. It reads every PARTS-th
sample into memory and prints "ready". For each line on standard input it then encodes all of them,
in chunks of one sample, and prints "done".
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import numcodecs
import numcodecs.blosc
import numpy as np

from zarrfeed import SplitReader, open_split
from zarrfeed_convert.shards.codecs import SETTINGS

# The codecs of `zarrfeed repack --codec lz4` and `--codec zstd`, per field.
CODECS: dict[str, dict[str, Any]] = {
    "lz4": {
        "image": numcodecs.Blosc(**SETTINGS["blosc-lz4"], shuffle=0),
        "mask": numcodecs.Blosc(**SETTINGS["blosc-lz4hc"], shuffle=0),
    },
    "zstd": {"image": numcodecs.Zstd(1), "mask": numcodecs.Zstd(1)},
}


class Encoders:
    """Processes that encode from memory. They are idle until :meth:`rate` is called."""

    def __init__(self, split: str, codec: str, count: int) -> None:
        self.nbytes = sum(
            layout.shape[0] * layout.sample_nbytes
            for name, layout in open_split(split).layouts.items()
            if name in CODECS[codec]
        )
        self._processes: list[subprocess.Popen[str]] = [
            subprocess.Popen(
                [sys.executable, __file__, split, codec, str(part), str(count)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for part in range(count)
        ]
        for process in self._processes:
            _answer(process)

    def rate(self) -> float:
        """Return the decoded bytes per second of all processes encoding at the same time."""
        began = time.perf_counter()
        for process in self._processes:
            print("go", file=process.stdin, flush=True)
        for process in self._processes:
            _answer(process)
        return self.nbytes / (time.perf_counter() - began)

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.communicate()


def _answer(process: subprocess.Popen[Any]) -> str:
    line: str = process.stdout.readline() if process.stdout else ""
    if not line:
        raise RuntimeError(f"the encoding process ended, exit status {process.wait()}")
    return line


def main(split: str, codec: str, part: int, parts: int) -> None:
    """Encode on request until standard input ends."""
    numcodecs.blosc.use_threads = False  # the processes already run in parallel
    opened = open_split(split)
    with SplitReader(opened, list(CODECS[codec])) as reader:
        samples = reader.read(np.arange(part, len(reader), parts))
    print("ready", flush=True)
    for _ in sys.stdin:
        for pair in zip(*samples.values(), strict=True):
            for encoder, values in zip(CODECS[codec].values(), pair, strict=True):
                encoder.encode(values)
        print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
