"""Cut patches in one way, in a process of its own.

``python patch_way.py WAY DATA`` prepares, and prints ``{"ready": true}``, or why the way cannot be
measured as ``{"skipped": …}``. For each line on standard input, a number of seconds, it then makes
batches for that time and prints the patches per second. :class:`Ways` is the other end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Self

import patch_limits
import patch_peers
import patch_sequences
from patch_data import Data

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from patch_data import Way

_WARM_UP = 0.3  # share of a turn that is not timed: batches that were made ahead, cold caches


class Ways:
    """Processes that cut patches. All stay open, and are idle between their turns.

    Parameters
    ----------
    data
        The workload.
    names
        Names of the ways.
    twice
        Ways of which two processes are measured at the same time, too.

    Attributes
    ----------
    skipped
        Why a way cannot be measured, by name.
    """

    def __init__(self, data: Data, names: Iterable[str], twice: Iterable[str] = ()) -> None:
        self.skipped: dict[str, str] = {}
        self._processes: dict[str, list[subprocess.Popen[str]]] = {}
        for name in names:
            started = [_start(name, data) for _ in range(1 + (name in twice))]
            answers = [_answer(process) for process in started]
            self._processes[name] = started
            if "skipped" in answers[0]:
                self.skipped[name] = answers[0]["skipped"]

    def rate(self, name: str, seconds: float, count: int = 1) -> float:
        """Return the patches per second of `count` processes that work at the same time."""
        processes = self._processes[name][:count]
        for process in processes:
            print(seconds, file=process.stdin, flush=True)
        return sum(float(_answer(process)["rate"]) for process in processes)

    def close(self) -> None:
        """End the processes."""
        for process in (p for processes in self._processes.values() for p in processes):
            process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _start(name: str, data: Data) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, name, data.to_json()]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, env={**os.environ, "KERAS_BACKEND": "numpy"},  # imported faster than others
    )  # fmt: skip


def _answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    for line in process.stdout or ():
        if line.startswith("{"):
            found: dict[str, Any] = json.loads(line)
            return found
    raise RuntimeError(f"{process.args!r} ended, exit status {process.wait()}")


def main(name: str, data: Data) -> None:
    """Cut patches on request until standard input ends."""
    batches = way_of(name)(data)
    try:
        next(batches)
    except ImportError as error:
        print(json.dumps({"skipped": f"not installed: {error.name}"}), flush=True)
        return
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        _spend(batches, _WARM_UP * float(line))
        print(json.dumps({"rate": _spend(batches, float(line))}), flush=True)


def _spend(batches: Iterator[int], seconds: float) -> float:
    """Take batches for a time, at least one, and return the patches per second."""
    patches, began = 0, time.perf_counter()
    while True:
        patches += next(batches)
        if (spent := time.perf_counter() - began) >= seconds:
            return patches / spent


def way_of(name: str) -> Way:
    """Return a way by its name."""
    return {**patch_limits.WAYS, **patch_sequences.WAYS, **patch_peers.WAYS}[name]


if __name__ == "__main__":
    main(sys.argv[1], Data.from_json(sys.argv[2]))
