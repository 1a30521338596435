"""How many files may readers keep open? Every mapped shard holds a file descriptor.

A worker that cannot keep all shards of a field open opens one for nearly every sample of a shuffled
batch, which is 3 to 8 times slower than copying from shards that stay mapped (measured). Every
worker therefore has a share of the descriptors that the system allows. All readers of a process
together keep at most half of them, and close some if the system has no room for more.
"""

from __future__ import annotations

import errno
import os
import resource
import threading
from typing import TYPE_CHECKING, Protocol, TypeVar

from zarrfeed.errors import look_up
from zarrfeed.live_objects import LiveObjects

if TYPE_CHECKING:
    from collections.abc import Callable

    from zarrfeed.errors import ZarrfeedError

Made = TypeVar("Made")

# Linux allows 65,530 mappings per process, of which every mapped shard takes up to three.
_MOST = 1 << 14
# Too many open files in this process or on this machine, or too many mappings.
_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


class Reader(Protocol):
    """A reader that keeps files open and can close them at any time."""

    @property
    def kept(self) -> int:
        """Number of files that are open."""
        ...

    def close_oldest(self) -> None:
        """Close the file that was opened first. Any thread may call it, holding `changing`."""
        ...


changing = threading.RLock()  # held while a reader adds or removes an open file
_readers: LiveObjects[Reader] = LiveObjects()


def _renew() -> None:
    global changing
    changing = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


def keeps_files(reader: Reader) -> None:
    """Register a reader that closes files when too many are open."""
    _readers.add(reader)


def keep_within_limit() -> None:
    """Close files until readers keep at most half of this process's descriptors."""
    limit = _limit() // 2
    if sum(reader.kept for reader in _readers.all()) > limit:
        _close(limit)


def with_room(act: Callable[[], Made], what: object, error: type[ZarrfeedError]) -> Made:
    """Call a function that opens files; if the system has no room, close some and call it again.

    Parameters
    ----------
    act
        The function. When it raises an ``OSError``, it must leave nothing open.
    what
        What it opens, for the error message.
    error
        Class of the error to raise when there is nothing left to close.
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
                    "use fewer workers or sequences"
                    f"{look_up('open-files')}"
                ) from failure
            _close(kept // 2)


def descriptors_each(workers: int, *, processes: bool) -> int:
    """Return how many descriptors each worker may keep open.

    Parameters
    ----------
    workers
        Number of workers; 0 if the caller reads.
    processes
        Whether the workers are processes rather than threads.
    """
    return share_of(_limit(), workers, processes=processes)


def share_of(limit: int, workers: int, *, processes: bool) -> int:
    """Divide a limit of descriptors among workers.

    A worker process keeps half of its own limit. Threads share a quarter of the limit of a process
    that also runs the user's program.

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
    """Close files of the readers that keep the most, until `left` remain."""
    readers = _readers.all()
    with changing:
        while sum(reader.kept for reader in readers) > left:
            max(readers, key=lambda reader: reader.kept).close_oldest()
