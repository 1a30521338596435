"""How long may a process read something, and how much memory may it take for that?

The last line of defence: readers refuse by themselves what claims too much.
"""

from __future__ import annotations

import glob
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed_convert.supervision.board import NO_ITEM

if TYPE_CHECKING:
    from zarrfeed_convert.supervision.board import Board, Place, Reading

# A slow disk or network reads as much in a second; a decoder should, too.
_NBYTES_PER_S = 1 << 20
_FOLDER_NBYTES = 1 << 30  # to list one takes as long as to read so much
# Of the machine's memory: what one process may take, and what is to be left for all others.
_SHARE, _SPARE = 0.75, 0.04
_MUCH = 0.1  # a process that has less is not the one that fills it
_MEMORY_EVERY_S = 0.5
_CRASHES = (
    signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP,
)  # fmt: skip
_STEP_S = 1.0  # that may pass between two looks; more is time in which we did not run either

ADVICE = "it may be damaged: restore it, or take it out"


class Watch:
    """Looks after what one process reads.

    Parameters
    ----------
    board, place
        Where the process writes it.
    """

    def __init__(self, board: Board, place: Place) -> None:
        self._board, self.place = board, place
        self._serial, self._looked, self._waited = -1, 0.0, 0.0

    def overdue(self) -> str:
        """Say that something has been read for too long; empty where it has not."""
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
        """Say what a process read that has ended by itself."""
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
    """Whether a process has ended by what it did itself, and would again."""
    return -status in _CRASHES


class Memory:
    """Looks after the machine's memory: what fills it is ended before the kernel ends just any.

    Attributes
    ----------
    much
        Bytes of a process that may be to blame.
    """

    def __init__(self) -> None:
        self._next = 0.0
        self.much = int(_MUCH * machine_memory()[0])

    def short(self) -> str:
        """Say that there is next to no memory left; empty where there is."""
        now = time.monotonic()
        if now < self._next:
            return ""
        self._next = now + _MEMORY_EVERY_S
        total, available = machine_memory()
        if available > _SPARE * total:
            return ""
        return f"{available >> 20} MiB of the machine's {total >> 20} MiB of memory were left"


def limit_memory() -> None:
    """Let this process have no more than its share: what asks for more gets a MemoryError."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        most = int(_SHARE * machine_memory()[0])
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        known = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_DATA, (min([most, *known]), hard))


def machine_memory() -> tuple[int, int]:
    """Give the bytes of memory that there are, and that are free: the machine's or container's."""
    import psutil

    memory = psutil.virtual_memory()
    total, available = int(memory.total), int(memory.available)
    with suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        most = int((group / "memory.max").read_text())
        facts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        used = int((group / "memory.current").read_text()) - int(facts["inactive_file"])
        total, available = min(total, most), min(available, most - used)
    return total, available


def _size(reading: Reading) -> int:
    """Give the bytes of the file that is read; of a part of one, those of the whole."""
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
