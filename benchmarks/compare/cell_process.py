"""Run one cell in a new process, and measure its memory."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from compare.cell import to_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from compare.cell import Cell

_BENCHMARKS = Path(__file__).resolve().parent.parent
_EVERY = 0.1  # seconds between measurements of the memory
_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "KERAS_BACKEND": "tensorflow",
    "PYTHONUNBUFFERED": "1",
    "HF_HUB_OFFLINE": "1",
}


class CellError(Exception):
    """A cell failed or took too long. The message has the last line of its standard error."""


def exit_on_sigterm() -> None:
    """Make SIGTERM end this process as Ctrl-C does, together with the running cell."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def run_cell(cell: Cell, *, timeout: float = 600.0) -> dict[str, Any]:
    """Run a cell.

    Returns
    -------
    dict
        Its result, and ``peak_rss_mb`` and ``peak_held_mb`` of the process and its children.

    Raises
    ------
    CellError
        The cell failed or took too long.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        process = None
        try:
            with _signals_deferred():
                process = subprocess.Popen(
                    [sys.executable, "-m", "compare.cell", to_json(cell)],
                    cwd=_BENCHMARKS,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=errors,
                    env={**_ENVIRONMENT, **os.environ},
                    start_new_session=True,
                )
            peaks = _watch(process, timeout)
        finally:
            if process is not None:
                _end_group(process)
        out.seek(0)
        errors.seek(0)
        lines = [line for line in out.read().splitlines() if line.startswith("{")]
        if process.returncode or not lines:
            written = [line for line in errors.read().splitlines() if line.strip()]
            raise CellError(
                f"exit status {process.returncode}: {written[-1] if written else 'no message'}"
            )
    return {**json.loads(lines[-1]), **peaks}


@contextlib.contextmanager
def _signals_deferred() -> Iterator[None]:
    """Let SIGTERM and Ctrl-C wait, because one inside of ``Popen`` would lose the new process."""
    received: list[int] = []
    former = {
        number: signal.signal(number, lambda number, _: received.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    for number in received:
        signal.raise_signal(number)


def _watch(process: subprocess.Popen[bytes], timeout: float) -> dict[str, float]:
    rss = held = 0
    deadline = time.monotonic() + timeout
    while process.poll() is None:
        if time.monotonic() > deadline:
            raise CellError(f"not done after {timeout:g} s")
        found = [_memory(pid) for pid in _tree(process.pid)]
        rss = max(rss, sum(one[0] for one in found))
        held = max(held, sum(one[1] for one in found))
        time.sleep(_EVERY)
    return {"peak_rss_mb": rss / 1e6, "peak_held_mb": held / 1e6}


def _tree(pid: int) -> list[int]:
    try:
        root = psutil.Process(pid)
        return [pid, *(child.pid for child in root.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def _memory(pid: int) -> tuple[int, int]:
    """Return the resident bytes, with and without pages of files (equal without ``/proc``)."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return _resident(pid)
    sizes = {"VmRSS": 0, "RssFile": 0}
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name in sizes:
            sizes[name] = int(value.split()[0]) << 10
    return sizes["VmRSS"], sizes["VmRSS"] - sizes["RssFile"]


def _resident(pid: int) -> tuple[int, int]:
    try:
        rss = psutil.Process(pid).memory_info().rss
    except psutil.NoSuchProcess:
        rss = 0
    return rss, rss


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill all remaining processes, because some peers leave workers behind."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
