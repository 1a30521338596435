"""Every kind of worker, and what tests ask of them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    import numpy as np

Kind = dict[str, Any]

KINDS: dict[str, Kind] = {
    "inline": {"workers": 0},
    "one thread": {"workers": 1},
    "three threads": {"workers": 3},
    "one process": {"workers": 1, "use_multiprocessing": True},
    "two processes": {"workers": 2, "use_multiprocessing": True},
}
PROCESSES = KINDS["two processes"]


def ids_of(batch: tuple[np.ndarray, ...]) -> list[int]:
    """Read the sample ids of a batch: the masks hold them."""
    return [int(sample) for sample in batch[1][:, 0, 0]]


def children() -> list[psutil.Process]:
    """Worker processes of this very test process.

    Not those of its children: it may have started the fork server in which others run scripts.
    """
    return [child for child in psutil.Process().children() if _is_worker(child)]


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "zarrfeed.feed.workers.process_main" in process.cmdline()
    except psutil.Error:  # it has just ended
        return False


def worker_threads() -> set[threading.Thread]:
    """List the worker threads that live, those that an earlier test left asleep too."""
    return {t for t in threading.enumerate() if t.name.startswith("zarrfeed-")}
