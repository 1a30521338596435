"""What do processes hold, and of what kind is it?

Resident memory (RSS) alone misleads here: the pages of a mapped store count in it although they
are page cache, which the kernel takes back when it needs to, and what processes share counts in
each of them. So every kind is looked at. Needs Linux, whose ``/proc`` tells them apart.
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
    """Bytes that processes hold together.

    Attributes
    ----------
    rss
        Resident; shared pages count in every process.
    pss
        Resident; a shared page counts once, divided among those that share it.
    uss
        Of pages that one process alone maps.
    held
        Resident, less pages of files (programs, libraries, mapped stores): what is in use whatever
        the kernel takes back. Shared pages count in every process.
    """

    rss: int = 0
    pss: int = 0
    uss: int = 0
    held: int = 0

    def __add__(self, other: Memory) -> Memory:
        return Memory(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def most(self, other: Memory) -> Memory:
        """Take the larger of each kind."""
        return Memory(*(max(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)))


def of_tree(pid: int) -> Memory:
    """Look at a process and all that it started; one that has ended meanwhile counts nothing."""
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
            continue  # a process that is ending has no memory to look at
    return total


def _of(process: psutil.Process) -> Memory:
    full = process.memory_full_info()
    return Memory(full.rss, full.pss, full.uss, full.rss - _of_files(process.pid))


def _of_files(pid: int) -> int:
    """Bytes of resident pages of files, the arena not among them: it is shared memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssFile:"):
            return int(line.split()[1]) << 10
    return 0


@dataclass(frozen=True, slots=True)
class Private:
    """Bytes that one process alone maps, by what they are of.

    Attributes
    ----------
    own
        Heap, stacks, libraries: what the process costs.
    arena
        Of the batches' memory. A page that two processes have touched is private to none.
    store
        Of mapped store files: page cache, counted as private while one process alone maps it.
    """

    own: int
    arena: int
    store: int


def private(process: psutil.Process, store: str) -> Private:
    """Look at what a process alone maps."""
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
    """Look at a process tree again and again as long as it runs; the largest of each kind."""
    found = Memory()
    while running():
        found = found.most(of_tree(pid))
        time.sleep(every)
    return found
