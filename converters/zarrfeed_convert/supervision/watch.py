"""How long may a process read one thing, how much memory may it take, and what if it dies?

This is the last line of defence: readers refuse what claims too much.
"""

from __future__ import annotations

import glob
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed.machine_memory import free_memory, total_memory
from zarrfeed_convert.supervision.board import NO_ITEM

if TYPE_CHECKING:
    from zarrfeed_convert.supervision.board import Board, Place, Reading

# Even a slow disk, network or decoder reads this much per second.
_NBYTES_PER_S = 1 << 20
_FOLDER_NBYTES = 1 << 30  # listing a folder may take as long as reading this
# Shares of the machine's memory: what one process may take, and what must stay free.
_SHARE, _SPARE = 0.75, 0.04
_MUCH = 0.1  # a process with less is not to blame
_MEMORY_EVERY_S = 0.5
_CRASHES = (
    signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP,
)  # fmt: skip
_STEP_S = 1.0  # between two looks at most; if more has passed, this process was asleep, too

ADVICE = "it may be damaged: restore it, or take it out"


class Watch:
    """Watches what one process reads.

    Parameters
    ----------
    board, place
        Where the process writes what it reads.
    """

    def __init__(self, board: Board, place: Place) -> None:
        self._board, self.place = board, place
        self._serial, self._looked, self._waited = -1, 0.0, 0.0

    def overdue(self) -> str:
        """Describe a reading that takes too long; empty if there is none."""
        now, serial = time.monotonic(), self.place.serial
        passed, self._looked = min(now - self._looked, _STEP_S), now
        if serial != self._serial:
            self._serial, self._waited = serial, 0.0
            return ""
        self._waited += passed
        patience = self._board.patience
        if self._waited < patience:
            return ""
        reading = self.place.reading
        if not reading.name or self._waited < patience + _size(reading) / _NBYTES_PER_S:
            return ""
        return (
            f"{reading}: reading it did not end within {self._waited:.0f} s; {ADVICE}; where the "
            f"disk is slow, wait longer with --read-timeout {4 * patience:g}"
        )

    def died(self, status: int) -> str:
        """Describe what a process that has died was reading."""
        reading = self.place.reading
        what = f"{reading}: " if reading.name else ""
        if -status == signal.SIGKILL:
            return (
                f"{what}a process was killed (SIGKILL){' as it read this' if what else ''}, most "
                "likely because memory ran out; try again with fewer workers (--workers)"
            )
        how = _how(status)
        if not what:
            return f"a process ended without a word ({how}); report it, with what was read"
        return f"{what}reading it crashed the decoder ({how}); {ADVICE}"


def is_crash(status: int) -> bool:
    """Whether a process crashed, and would crash again."""
    return -status in _CRASHES


class Memory:
    """Watches the machine's memory, to end what fills it before the kernel kills any process.

    Attributes
    ----------
    much
        Bytes that a process must have to be blamed.
    """

    def __init__(self) -> None:
        self._next = 0.0
        self.much = int(_MUCH * total_memory())

    def short(self) -> str:
        """Say how little memory is left; empty if there is enough."""
        now = time.monotonic()
        if now < self._next:
            return ""
        self._next = now + _MEMORY_EVERY_S
        total, available = total_memory(), free_memory()
        if available > _SPARE * total:
            return ""
        return f"{available >> 20} MiB of the machine's {total >> 20} MiB of memory were left"


def limit_memory() -> None:
    """Limit this process to its share of memory: asking for more raises MemoryError."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        most = int(_SHARE * total_memory())
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        known = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_DATA, (min([most, *known]), hard))


def process_nbytes(pid: int) -> int:
    """Measure the resident memory of a process; 0 where it has ended."""
    import psutil

    with suppress(psutil.Error):
        return int(psutil.Process(pid).memory_info().rss)
    return 0


def _size(reading: Reading) -> int:
    """Return the size of the file that is read, in whole or in part."""
    for name in filter(None, (reading.file, reading.name, reading.name.partition("[")[0])):
        with suppress(OSError, ValueError):
            if reading.item == NO_ITEM and (Path(name).is_dir() or glob.has_magic(name)):
                return _FOLDER_NBYTES
            for path in (Path(name), *Path(name).parents):
                if path.is_file():
                    return path.stat().st_size
    return 0


def _how(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
