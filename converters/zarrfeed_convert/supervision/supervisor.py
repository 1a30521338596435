"""Who tells the user when reading a file crashes or hangs?

A command runs in a child process. This process waits for it, passes signals on, and watches what it
reads. It loads next to nothing, so it costs next to nothing.
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
from zarrfeed_convert.supervision.watch import (
    Memory,
    Watch,
    is_crash,
    limit_memory,
    process_nbytes,
)

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Sequence

_LOOK_EVERY_S = 0.25
_SHOW_CURSOR = "\x1b[?25h"  # a progress bar has hidden it
# A terminal sends Ctrl-C to both processes, `kill` only to this one: it is passed on as another
# signal, which counts only if the first has not arrived.
_PASSED_ON = {
    signal.SIGINT: signal.SIGUSR1,
    signal.SIGTERM: signal.SIGTERM,
    signal.SIGHUP: signal.SIGHUP,
}
_HELD = {*_PASSED_ON, signal.SIGUSR1}  # while the process starts
_INTERRUPTED = "interrupted"
_ENOUGH = 3  # Ctrl-C pressed so often kills the child

_board: Board | None = None


def supervise(module: str, arguments: Sequence[str]) -> int:
    """Run ``main()`` of a module in a child process, which calls :func:`begin_supervised`.

    Returns
    -------
    int
        The child's exit status; 1 if it crashed or had to be killed.
    """
    board = Board(1)
    ours, theirs = os.pipe()  # the child lives while this process holds the other end
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
        signal.pthread_sigmask(
            signal.SIG_UNBLOCK, _HELD
        )  # in the child, once it can tell them apart
        why = _follow(process, board, heard)
    os.close(theirs)
    status = process.returncode
    if why is None and status < 0 and not is_crash(status) and -status != signal.SIGKILL:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)  # our parent sees how the child ended
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
    """Start to work under supervision; return the arguments of the command."""
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
    """Set how long the process that watches this one, if any, waits for one thing to be read."""
    if _board is not None:
        _board.patience = seconds


def _interrupted_once() -> None:
    """Raise KeyboardInterrupt only once for a Ctrl-C that arrives here and is also passed on."""
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
    """Wait until the process has ended; say why, if it was ended from here."""
    watch, memory = Watch(board, board.place(0)), Memory()
    interrupts = 0
    while process.poll() is None:
        for number in heard():
            process.send_signal(_PASSED_ON[signal.Signals(number)])
            interrupts += number == signal.SIGINT
        why = _INTERRUPTED if interrupts >= _ENOUGH else watch.overdue()
        short = "" if why else memory.short()
        reading = watch.place.reading.name
        if short and reading and process_nbytes(process.pid) > memory.much:
            why = f"{reading}: reading it was ended as it took too much memory: {short}"
        if why:
            process.kill()
            process.wait()
            return why
    return None


@contextmanager
def _signals() -> Iterator[Callable[[], list[int]]]:
    """Yield a function that waits briefly for a signal, or for the end of a child."""
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
