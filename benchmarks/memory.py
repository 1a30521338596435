"""How much memory of which kind do processes hold?

Resident memory (RSS) alone is misleading: it includes the pages of a mapped store, although they
are page cache that the kernel can reclaim, and it counts shared memory in every process. Several
kinds are therefore measured. This needs ``/proc`` of Linux.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of several processes in bytes.

    Attributes
    ----------
    rss
        Resident memory. Shared pages count in every process.
    pss
        Resident memory. Shared pages are divided among the processes that share them.
    uss
        Memory of pages that only one process maps.
    held
        Resident memory without pages of files (programs, libraries, mapped stores), which the
        kernel can reclaim. Shared pages count in every process.
    """

    rss: int = 0
    pss: int = 0
    uss: int = 0
    held: int = 0

    def __add__(self, other: Memory) -> Memory:
        return Memory(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def most(self, other: Memory) -> Memory:
        """Return the maximum of each kind."""
        return Memory(*(max(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)))


def of_tree(pid: int) -> Memory:
    """Return the memory of a process and its descendants. Processes that have ended count as 0."""
    total = Memory()
    try:
        root = psutil.Process(pid)
        processes = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return total
    for process in processes:
        try:
            total += _of(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, FileNotFoundError, ProcessLookupError):
            continue  # the process is ending
    return total


def _of(process: psutil.Process) -> Memory:
    full = process.memory_full_info()
    return Memory(full.rss, full.pss, full.uss, full.rss - _of_files(process.pid))


def _of_files(pid: int) -> int:
    """Return the bytes of resident pages of files, without the arena, which is shared memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssFile:"):
            return int(line.split()[1]) << 10
    return 0


@dataclass(frozen=True, slots=True)
class Private:
    """Memory that only one process maps, in bytes.

    Attributes
    ----------
    own
        Heap, stacks and libraries: the cost of the process.
    arena
        Memory of batches. A page that two processes have touched is private to neither.
    store
        Mapped store files. They are page cache, but count as private if one process maps them.
    """

    own: int
    arena: int
    store: int


def private(process: psutil.Process, store: str) -> Private:
    """Return the memory that only this process maps.

    Parameters
    ----------
    process
        The process.
    store
        Path of the store that it reads.
    """
    own = arena = mapped = 0
    for found in process.memory_maps(grouped=True):
        nbytes = found.private_clean + found.private_dirty
        if found.path.startswith("/memfd:zarrfeed"):
            arena += nbytes
        elif found.path.startswith(store):
            mapped += nbytes
        else:
            own += nbytes
    return Private(own, arena, mapped)


def peak(pid: int, running: Callable[[], bool], every: float = 0.05) -> Memory:
    """Return the largest memory of each kind of a process tree while it runs.

    Parameters
    ----------
    pid
        The root process.
    running
        Function that tells whether to go on.
    every
        Seconds between measurements.
    """
    found = Memory()
    while running():
        found = found.most(of_tree(pid))
        time.sleep(every)
    return found
