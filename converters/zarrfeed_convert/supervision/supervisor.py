"""Who answers to the user where reading a file crashes or hangs?

A command works in a process of its own. This one only waits for it, passes signals on, and looks at
what it reads. It loads next to nothing, so that it costs next to nothing.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from zarrfeed_convert.supervision.board import Board, take
from zarrfeed_convert.supervision.child import end_with_parent, start
from zarrfeed_convert.supervision.limits import Memory, Watch, is_crash, limit_memory

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Sequence

_LOOK_EVERY_S = 0.25
_SHOW_CURSOR = "\x1b[?25h"  # a progress bar has hidden it
# A terminal sends Ctrl-C to both processes, others to one: what is passed on comes as another
# signal, which counts only where the first has not come.
_PASSED_ON = {
    signal.SIGINT: signal.SIGUSR1,
    signal.SIGTERM: signal.SIGTERM,
    signal.SIGHUP: signal.SIGHUP,
}
_HELD = {*_PASSED_ON, signal.SIGUSR1}  # while the process starts
_INTERRUPTED = "interrupted"
_ENOUGH = 3  # times that Ctrl-C is pressed before it does not matter any more what becomes of it

_board: Board | None = None


def supervise(module: str, arguments: Sequence[str]) -> int:
    """Run ``main()`` of a module in a process of its own, which calls :func:`begin_supervised`.

    Returns
    -------
    int
        The exit status: its own, or 1 where it had to be ended, or ended without a word.
    """
    board = Board(1)
    ours, theirs = os.pipe()  # it lives as long as this process holds the other end
    with _signals() as heard:
        try:
            process = start(
                module,
                f"{board.descriptor},{ours}",
                *arguments,
                descriptors=(board.descriptor, ours),
            )
        except OSError as error:
            print(f"error: no process could be started: {error}", file=sys.stderr)
            return 1
        os.close(ours)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)  # there, when it can tell them apart
        why = _follow(process, board, heard)
    os.close(theirs)
    status = process.returncode
    if why is None and status < 0 and not is_crash(status) and -status != signal.SIGKILL:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)  # whoever waits for us sees how it was ended
    if why is None and status >= 0:
        return status
    if why == _INTERRUPTED:
        return 130
    if sys.stderr.isatty():
        sys.stderr.write(f"{_SHOW_CURSOR}\n")
    from zarrfeed.errors import printable  # takes its time

    with suppress(OSError):
        print(
            f"error: {printable(why or Watch(board, board.place(0)).died(status))}", file=sys.stderr
        )
    return 1


def begin_supervised() -> list[str]:
    """Work under supervision from now on; gives the arguments of the command."""
    global _board
    shared, *arguments = sys.argv[1:]
    board, pipe = map(int, shared.split(","))
    end_with_parent(pipe)
    limit_memory()
    _board = Board(1, board)
    take(_board.place(0))
    _interrupted_once()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)
    return arguments


def set_read_timeout(seconds: float) -> None:
    """Let the process that watches this one, if one does, wait so long for anything to be read."""
    if _board is not None:
        _board.patience = seconds


def _interrupted_once() -> None:
    """Raise KeyboardInterrupt once for a Ctrl-C that comes here and is passed on, too."""
    came = False

    def interrupt(number: int, _: object) -> None:
        nonlocal came
        passed_on, before, came = number == signal.SIGUSR1, came, True
        if not (passed_on and before):
            raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGUSR1, interrupt)


def _follow(
    process: subprocess.Popen[bytes], board: Board, heard: Callable[[], list[int]]
) -> str | None:
    """Wait until it has ended; says why, where it was ended from here."""
    watch, memory = Watch(board, board.place(0)), Memory()
    interrupts = 0
    while process.poll() is None:
        for number in heard():
            process.send_signal(_PASSED_ON[signal.Signals(number)])
            interrupts += number == signal.SIGINT
        why = _INTERRUPTED if interrupts >= _ENOUGH else watch.overdue()
        short = "" if why else memory.short()
        reading = watch.place.reading.name
        if short and reading and _nbytes(process.pid) > memory.much:
            why = f"{reading}: reading it was ended as it took too much memory: {short}"
        if why:
            process.kill()
            process.wait()
            return why
    return None


def _nbytes(pid: int) -> int:
    import psutil

    with suppress(psutil.Error):
        return int(psutil.Process(pid).memory_info().rss)
    return 0


@contextmanager
def _signals() -> Iterator[Callable[[], list[int]]]:
    """Give the function that waits for a signal, also the end of a child, but not for long."""
    reader, writer = os.pipe()
    for end in (reader, writer):
        os.set_blocking(end, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    known = {}
    for number in (signal.SIGCHLD, *_PASSED_ON):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            known[number] = signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)

    def heard() -> list[int]:
        select.select([reader], [], [], _LOOK_EVERY_S)
        with suppress(BlockingIOError):
            return [number for number in os.read(reader, 100) if number in _PASSED_ON]
        return []

    try:
        yield heard
    finally:
        for number, handler in known.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before)
        os.close(reader)
        os.close(writer)
