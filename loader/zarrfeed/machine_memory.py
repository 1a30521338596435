"""How much memory is there, is free, is held? The loader's one module that knows psutil.

It is imported when it is needed: opening a split and reading it does without.
"""

from __future__ import annotations

import os
import resource
import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from zarrfeed.errors import ReadError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
# The part of the free memory that batches may take: the model needs some, too.
_SHARE = 0.5


def require_memory(path: Path, nbytes: int, what: str) -> None:
    """Refuse a store's claim that this process could never hold.

    Raises
    ------
    StoreError
        `what`, of `path`, takes more than the machine's memory, or than a process may have.
    """
    limits = [resource.getrlimit(limit)[0] for limit in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
    most = min([_MEMORY, *(limit for limit in limits if limit != resource.RLIM_INFINITY)])
    if nbytes > most:
        raise StoreError(
            f"{path}: {what} would take {nbytes:,} bytes, this machine has {most:,} of memory"
            + (" for a process" if most < _MEMORY else "")
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
    import psutil

    available = psutil.virtual_memory().available
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
