"""Does a process read one input for too long, use too much memory, or crash?

This is the last line of defence: readers check the sizes that files claim beforehand.
"""

from __future__ import annotations

import glob
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed.errors import look_up
from zarrfeed.machine_memory import free_memory, total_memory
from zarrfeed_convert.supervision.board import NO_ITEM

if TYPE_CHECKING:
    from zarrfeed_convert.supervision.board import Board, BoardPlace, Reading

_NBYTES_PER_S = 1 << 20  # even slow disks, networks and decoders read as much
_FOLDER_NBYTES = 1 << 30  # listing a folder may take as long as reading a file of this size
# Shares of the machine's memory: the limit of one process, and what must stay free.
_SHARE, _SPARE = 0.75, 0.04
_MUCH = 0.1  # share of memory that a process must use to be killed when memory runs out
_MEMORY_EVERY_S = 0.5
_CRASHES = (
    signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP,
)  # fmt: skip
_STEP_S = 1.0  # longest time counted between two looks: this process may have been suspended

ADVICE = "it may be damaged: restore it, or take it out"


class Watch:
    """Watches what one process is reading.

    Parameters
    ----------
    board, place
        The board, and the place to which the process writes what it is reading.
    """

    def __init__(self, board: Board, place: BoardPlace) -> None:
        self._board, self.place = board, place
        self._serial, self._looked, self._waited = -1, 0.0, 0.0

    def overdue(self) -> str:
        """Return the error message if reading takes too long; empty if it does not."""
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
            f"{reading}: reading it did not end within {self._waited:.0f} s; {ADVICE}; for a slow "
            f"disk, use --read-timeout {4 * patience:g}{look_up('read-timeout')}"
        )

    def died(self, status: int) -> str:
        """Return the error message for a process that has died with an exit status."""
        reading = self.place.reading
        what = f"{reading}: " if reading.name else ""
        if -status == signal.SIGKILL:
            return (
                f"{what}a process was killed (SIGKILL){' while reading it' if what else ''}, most "
                "likely because memory ran out; use fewer workers (--workers)"
                f"{look_up('memory')}"
            )
        how = _how(status)
        if not what:
            return f"a process ended unexpectedly ({how}); please report it with the dataset"
        return f"{what}reading it crashed the decoder ({how}); {ADVICE}{look_up('damaged-file')}"


def is_crash(status: int) -> bool:
    """Return whether a process crashed, so that reading the same would crash another one."""
    return -status in _CRASHES


class Memory:
    """Watches the machine's memory, so that a process can be killed before the kernel kills any.

    Attributes
    ----------
    much
        Bytes of memory that a process must use to be killed.
    """

    def __init__(self) -> None:
        self._next = 0.0
        self.much = int(_MUCH * total_memory())

    def short(self) -> str:
        """Return how little memory was left, as the end of a message; empty if there is enough."""
        now = time.monotonic()
        if now < self._next:
            return ""
        self._next = now + _MEMORY_EVERY_S
        total, available = total_memory(), free_memory()
        if available > _SPARE * total:
            return ""
        return f"{available >> 20} MiB of the machine's {total >> 20} MiB of memory were left"


def limit_memory() -> None:
    """Limit this process to 75 % of the memory; allocating more raises MemoryError."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        most = int(_SHARE * total_memory())
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        known = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_DATA, (min([most, *known]), hard))


def process_nbytes(pid: int) -> int:
    """Return the resident memory of a process, in bytes; 0 if it has ended."""
    import psutil

    with suppress(psutil.Error):
        return int(psutil.Process(pid).memory_info().rss)
    return 0


def _size(reading: Reading) -> int:
    """Return the size of the file that is being read, in bytes; 0 if it is unknown."""
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
