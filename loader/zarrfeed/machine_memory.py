"""How much memory does the machine have, is free, do processes hold?

The limits of control groups (containers, batch systems) count like those of the machine. This is
the loader's only module that knows psutil. It imports it when it is needed: opening and reading a
split does without.
"""

from __future__ import annotations

import os
import resource
import warnings
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed.errors import ReadError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_GROUP = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")
# Of each version of control groups: its folder; the files with the limit and with what is used, in
# bytes; and the entry of ``memory.stat`` that counts cached files, which the kernel can drop.
_V1 = ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = ("", "memory.max", "memory.current", "inactive_file")
# The part of the free memory that batches may take: the model needs some, too.
_SHARE = 0.5


@cache
def total_memory() -> int:
    """Return the bytes of memory that this process could have: the machine's or the container's."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *(limit for limit, _ in _limits())])


def free_memory() -> int:
    """Return the bytes of memory that are free, on the machine and in the container."""
    import psutil

    available = int(psutil.virtual_memory().available)
    return max(0, min([available, *(limit - used for limit, used in _limits())]))


def _limits() -> Iterator[tuple[int, int]]:
    """Yield the limit and the use, in bytes, of every control group that this process is in."""
    try:
        lines = _GROUP.read_text("utf-8").splitlines()
    except OSError:  # the system has no control groups
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            folder, *files = _V1 if controllers else _V2
            root = _GROUPS / folder
            # The limits of the groups above apply, too. In a container, the path may be the host's,
            # and then only the root can be seen.
            own = root / path.strip("/")
            for group in (own, *own.parents):
                if group.is_relative_to(root):
                    with suppress(OSError, ValueError):  # it cannot be seen, or has no limit
                        yield _limit_of(group, *files)


def _limit_of(group: Path, limit: str, used: str, cached: str) -> tuple[int, int]:
    most = int((group / limit).read_text("ascii"))
    entries = (line.split() for line in (group / "memory.stat").read_text("ascii").splitlines())
    reclaimable = sum(int(value) for name, value in entries if name == cached)
    return most, int((group / used).read_text("ascii")) - reclaimable


def require_memory(path: Path, nbytes: int, what: str) -> None:
    """Refuse a store's claim that this process could never hold.

    Raises
    ------
    StoreError
        `what`, of `path`, takes more than the machine's memory, or than a process may have.
    """
    limits = [resource.getrlimit(limit)[0] for limit in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
    total = total_memory()
    most = min([total, *(limit for limit in limits if limit != resource.RLIM_INFINITY)])
    if nbytes > most:
        raise StoreError(
            f"{path}: {what} would take {nbytes:,} bytes, this machine has {most:,} of memory"
            + (" for a process" if most < total else "")
        )


@contextmanager
def enough_memory(path: Path, what: str) -> Iterator[None]:
    """Name what was read when memory runs out.

    Raises
    ------
    ReadError
        In place of a MemoryError.
    """
    try:
        yield
    except MemoryError as error:
        raise ReadError(f"{path}: there is not enough memory left for {what}") from error


def affordable_depth(depth: int, slot_nbytes: int, available: int, *, held: int) -> int:
    """Bound the number of batches in preparation by memory.

    Parameters
    ----------
    depth
        How many are wanted.
    slot_nbytes
        Bytes of one batch.
    available
        Bytes of free memory.
    held
        Further batches that the consumer may hold.

    Returns
    -------
    int
        From 1 to `depth`, such that these and `held` more fit into half of `available`.

    Examples
    --------
    >>> affordable_depth(10, slot_nbytes=100, available=2000, held=4)
    6
    """
    return max(1, min(depth, int(available * _SHARE) // slot_nbytes - held))


def afford(depth: int, slot_nbytes: int, *, held: int) -> int:
    """Bound the batches in preparation by this machine's free memory; warn with the arithmetic."""
    available = free_memory()
    affordable = affordable_depth(depth, slot_nbytes, available, held=held)
    if affordable < depth:
        wanted = (depth + held) * slot_nbytes
        warnings.warn(
            f"max_queue_size={depth} would take ({depth} + {held}) batches × {slot_nbytes:,} bytes "
            f"= {wanted:,} bytes, over half of the {available:,} that are free: using "
            f"{affordable}. A smaller batch_size or max_queue_size takes less",
            RuntimeWarning,
            stacklevel=2,
        )
    return affordable


def resident(pids: Iterable[int]) -> int:
    """Sum the resident memory of this process and others, in bytes.

    Memory that processes share (batches, mapped files) is counted in each of them.

    Parameters
    ----------
    pids
        Of the others; one that has ended or cannot be asked counts nothing.
    """
    import psutil

    total = 0
    for pid in (os.getpid(), *pids):
        with suppress(psutil.Error, OSError):  # a figure is not worth an epoch
            total += psutil.Process(pid).memory_info().rss
    return int(total)
