"""How many files may be open? A shard that is mapped holds a descriptor.

Where a worker may not keep all shards of a field open, it opens one for nearly every sample of a
shuffled batch: measured, that is 3 to 8 times slower than copying out of shards that stay mapped.
So each has a share of what the system allows. All readers of a process together keep half of that
at most, and where it still does not suffice, because others have files open, they close some.
"""

from __future__ import annotations

import errno
import os
import resource
import threading
from typing import TYPE_CHECKING, Protocol, TypeVar

from zarrfeed.live_objects import LiveObjects

if TYPE_CHECKING:
    from collections.abc import Callable

    from zarrfeed.errors import ZarrfeedError

Made = TypeVar("Made")

# Every mapped shard takes up to three of the 65,530 mappings that Linux gives a process.
_MOST = 1 << 14
# Too many files are open in this process, or on this machine; too many mappings.
_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


class Reader(Protocol):
    """Keeps files open, and can do without."""

    @property
    def kept(self) -> int:
        """How many."""
        ...

    def close_oldest(self) -> None:
        """Close the one opened first; called with :data:`changing` held, on any thread."""
        ...


changing = threading.RLock()  # held where a reader opens or closes a file to be kept
_readers: LiveObjects[Reader] = LiveObjects()


def _renew() -> None:
    global changing
    changing = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


def keeps_files(reader: Reader) -> None:
    """Have a reader close files when there are too many, as long as it lives."""
    _readers.add(reader)


def keep_within_limit() -> None:
    """Close some where all readers keep more than half of what this process may have open."""
    limit = _limit() // 2
    if sum(reader.kept for reader in _readers.all()) > limit:
        _close(limit)


def with_room(act: Callable[[], Made], what: object, error: type[ZarrfeedError]) -> Made:
    """Do what opens files; where the system has no room for them, close some and try again.

    Parameters
    ----------
    act
        Raises an ``OSError`` where there is no room, and has then nothing open.
    what
        Is opened, for the error.
    error
        Raised where nothing is left to be closed.
    """
    while True:
        try:
            return act()
        except OSError as failure:
            if failure.errno not in _NO_ROOM:
                raise
            kept = sum(reader.kept for reader in _readers.all())
            if not kept:
                raise error(
                    f"{what}: {failure.strerror}, though zarrfeed keeps no shard open in this "
                    f"process, which may have {_limit():,} files open: allow more (ulimit -n), or "
                    "take fewer workers or sequences"
                ) from failure
            _close(kept // 2)


def descriptors_each(workers: int, *, processes: bool) -> int:
    """Share out what this process, or each worker process, may have open.

    Parameters
    ----------
    workers
        How many there are; with none, the caller reads.
    processes
        Whether they are processes.
    """
    return share_of(_limit(), workers, processes=processes)


def share_of(limit: int, workers: int, *, processes: bool) -> int:
    """Share out descriptors: half of a worker process's own, a quarter of one that has others' too.

    Examples
    --------
    >>> share_of(1024, 2, processes=True), share_of(1024, 2, processes=False)
    (512, 128)
    """
    return max(8, limit // 2 if processes else limit // 4 // max(1, workers))


def _limit() -> int:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if limit == resource.RLIM_INFINITY else min(limit, _MOST)


def _close(left: int) -> None:
    """Close files of whoever keeps most, until so many are left."""
    readers = _readers.all()
    with changing:
        while sum(reader.kept for reader in readers) > left:
            max(readers, key=lambda reader: reader.kept).close_oldest()
