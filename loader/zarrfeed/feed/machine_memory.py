"""The machine's memory: what is free, and what processes hold. The one module that knows psutil."""

from __future__ import annotations

import os
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable

# Of the free memory, what the arena may take: the model needs some, too.
_SHARE = 0.5


def affordable_depth(depth: int, slot_nbytes: int, available: int, *, held: int) -> int:
    """Bound the batches under way by memory.

    Parameters
    ----------
    depth
        As many as are wanted.
    slot_nbytes
        Of one batch.
    available
        Bytes of free memory.
    held
        Batches that the consumer may hold besides.

    Returns
    -------
    int
        At least 1 and at most `depth`, such that these and `held` more fit half of `available`.

    Examples
    --------
    >>> affordable_depth(10, slot_nbytes=100, available=2000, held=4)
    6
    """
    return max(1, min(depth, int(available * _SHARE) // slot_nbytes - held))


def afford(depth: int, slot_nbytes: int, *, held: int) -> int:
    """Bound the batches under way by this machine's free memory; warns with the arithmetic."""
    available = psutil.virtual_memory().available
    affordable = affordable_depth(depth, slot_nbytes, available, held=held)
    if affordable < depth:
        wanted = (depth + held) * slot_nbytes
        warnings.warn(
            f"max_queue_size={depth} would take ({depth} + {held}) batches × {slot_nbytes:,} bytes "
            f"= {wanted:,} bytes, over half of the {available:,} that are free; {affordable} it "
            "is. A smaller batch_size or max_queue_size takes less",
            RuntimeWarning,
            stacklevel=2,
        )
    return affordable


def resident(pids: Iterable[int]) -> int:
    """Sum the resident memory of this process and others, in bytes.

    Memory that processes share (the batches, mapped files) counts in each of them.

    Parameters
    ----------
    pids
        Of the others; one that has ended, or cannot be asked, counts nothing.
    """
    total = 0
    for pid in (os.getpid(), *pids):
        with suppress(psutil.Error, OSError):  # a figure is not worth an epoch
            total += psutil.Process(pid).memory_info().rss
    return int(total)
