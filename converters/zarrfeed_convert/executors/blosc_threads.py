"""Tasks are the parallelism: blosc starts no threads of its own while they run."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numcodecs.blosc

if TYPE_CHECKING:
    from collections.abc import Iterator

_blosc = threading.Lock()
_blosc_users = 0
_blosc_before: bool | None = None


@contextmanager
def single_threaded_blosc() -> Iterator[None]:
    """Keep blosc from starting threads of its own: they make bytes depend on the machine.

    Blosc has one switch for all threads of a process: the last to leave puts it back.
    """
    global _blosc_users, _blosc_before
    with _blosc:
        if not _blosc_users:
            _blosc_before = numcodecs.blosc.use_threads
            numcodecs.blosc.use_threads = False
        _blosc_users += 1
    try:
        yield
    finally:
        with _blosc:
            _blosc_users -= 1
            if not _blosc_users:
                numcodecs.blosc.use_threads = _blosc_before
