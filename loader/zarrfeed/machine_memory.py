"""How much memory does the machine have, how much is free, and how much do processes use?

The limits of control groups (containers, batch systems) count like those of the machine. This is
the only module of the loader that uses psutil. It imports psutil lazily, because opening and
reading a split do not need it.
"""

from __future__ import annotations

import os
import resource
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed.errors import ReadError, StoreError, look_up
from zarrfeed.user_warning import warn_user

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_GROUP = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")
# For each version of control groups: its folder, the files with the limit and the use in bytes, and
# the entry of ``memory.stat`` that counts cached files, which the kernel can drop.
_V1 = ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = ("", "memory.max", "memory.current", "inactive_file")
# Share of the free memory that batches may take. The model needs the rest.
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
    """Check that this process could hold an object of a size that a store claims.

    Parameters
    ----------
    path
        The store, or an array of it, for the message.
    nbytes
        Claimed size in bytes.
    what
        What has this size, for the message.

    Raises
    ------
    StoreError
        `nbytes` exceeds the machine's memory or the limits of this process.
    """
    limits = [resource.getrlimit(limit)[0] for limit in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
    total = total_memory()
    most = min([total, *(limit for limit in limits if limit != resource.RLIM_INFINITY)])
    if nbytes > most:
        raise StoreError(
            f"{path}: {what} would take {nbytes:,} bytes, this machine has {most:,} of memory"
            + (" for a process" if most < total else "")
            + look_up("memory")
        )


@contextmanager
def enough_memory(path: Path, what: str) -> Iterator[None]:
    """Turn a ``MemoryError`` into a ``ReadError`` that names what was read.

    Parameters
    ----------
    path
        The store, or an array of it.
    what
        What is read inside the context.
    """
    try:
        yield
    except MemoryError as error:
        raise ReadError(
            f"{path}: there is not enough memory left for {what}: read fewer samples at a time, or "
            "use fewer workers"
            f"{look_up('memory')}"
        ) from error


def affordable_depth(depth: int, slot_nbytes: int, available: int, *, held: int) -> int:
    """Limit the number of batches in preparation by memory.

    Parameters
    ----------
    depth
        Number of batches wanted.
    slot_nbytes
        Bytes of one batch.
    available
        Bytes of free memory.
    held
        Number of further batches that the consumer may hold.

    Returns
    -------
    int
        The largest number from 1 to `depth` such that it and `held` batches fit into half of
        `available`; 1 if there is none.

    Examples
    --------
    >>> affordable_depth(10, slot_nbytes=100, available=2000, held=4)
    6
    """
    return max(1, min(depth, int(available * _SHARE) // slot_nbytes - held))


def limited_depth(depth: int, slot_nbytes: int, *, held: int) -> int:
    """Limit the number of batches in preparation by the free memory, with a warning if it is lower.

    Parameters
    ----------
    depth, slot_nbytes, held
        See :func:`affordable_depth`.
    """
    available = free_memory()
    affordable = affordable_depth(depth, slot_nbytes, available, held=held)
    if affordable < depth:
        wanted = (depth + held) * slot_nbytes
        warn_user(
            f"max_queue_size={depth} would take ({depth} + {held}) batches × {slot_nbytes:,} bytes "
            f"= {wanted:,} bytes, over half of the {available:,} that are free: using "
            f"{affordable}. Reduce batch_size or max_queue_size to avoid this warning",
            RuntimeWarning,
        )
    return affordable


def resident(pids: Iterable[int]) -> int:
    """Sum the resident memory of this process and of others, in bytes.

    Memory that processes share (batches, mapped files) is counted once per process.

    Parameters
    ----------
    pids
        Ids of the other processes. A process that has ended or is not accessible counts as 0.
    """
    import psutil

    total = 0
    for pid in (os.getpid(), *pids):
        with suppress(psutil.Error, OSError):  # a missing figure must not stop an epoch
            total += psutil.Process(pid).memory_info().rss
    return int(total)
