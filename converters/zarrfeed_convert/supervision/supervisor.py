"""How is a crash or a hang of a command reported?

The command runs in a child process. This process waits for it, forwards signals, and watches what
it reads. It imports almost nothing, so that it starts fast.
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
# A terminal sends Ctrl-C to both processes, `kill` sends it to this one alone. It is forwarded as
# another signal, which the child ignores if it has received the first one.
_FORWARDED = {
    signal.SIGINT: signal.SIGUSR1,
    signal.SIGTERM: signal.SIGTERM,
    signal.SIGHUP: signal.SIGHUP,
}
_HELD = {*_FORWARDED, signal.SIGUSR1}  # while the child starts
_INTERRUPTED = "interrupted"
_ENOUGH = 3  # number of Ctrl-C that kills the child

_board: Board | None = None


def supervise(module: str, arguments: Sequence[str]) -> int:
    """Run ``main()`` of a module, which must call :func:`begin_supervised`, in a child process.

    Parameters
    ----------
    module
        Name of the module.
    arguments
        Arguments of the command, which :func:`begin_supervised` returns.

    Returns
    -------
    int
        Exit status of the child; 1 if it crashed or was killed, 130 if it was interrupted.
    """
    board = Board(1)
    ours, theirs = os.pipe()  # the child ends when this process no longer holds the other end
    with _signals() as heard:
        try:
            process = start(
                module,
                f"{board.descriptor},{ours}",
                *arguments,
                descriptors=(board.descriptor, ours),
            )
        except OSError as error:
            print(
                f"error: the command's process could not be started: {error}; raise this shell's "
                "limits (ulimit -u, ulimit -n)",
                file=sys.stderr,
            )
            return 1
        os.close(ours)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)  # the child unblocks them on its own
        why = _follow(process, board, heard)
    os.close(theirs)
    status = process.returncode
    if why is None and status < 0 and not is_crash(status) and -status != signal.SIGKILL:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)  # end by the same signal as the child
    if why is None and status >= 0:
        return status
    if why == _INTERRUPTED:
        return 130
    if sys.stderr.isatty():
        sys.stderr.write(f"{_SHOW_CURSOR}\n")
    from zarrfeed.errors import printable

    with suppress(OSError):
        print(
            f"error: {printable(why or Watch(board, board.place(0)).died(status))}", file=sys.stderr
        )
    return 1


def begin_supervised() -> list[str]:
    """Connect this child process to its supervisor; return the arguments of the command."""
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
    """Set how long the supervisor, if there is one, lets this process read one sample.

    Parameters
    ----------
    seconds
        Time in addition to that which the size of a file allows.
    """
    if _board is not None:
        _board.patience = seconds


def _interrupted_once() -> None:
    """Raise KeyboardInterrupt once for a Ctrl-C that arrives from the terminal and is forwarded."""
    came = False

    def interrupt(number: int, _: object) -> None:
        nonlocal came
        forwarded, before, came = number == signal.SIGUSR1, came, True
        if not (forwarded and before):
            raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGUSR1, interrupt)


def _follow(
    process: subprocess.Popen[bytes], board: Board, heard: Callable[[], list[int]]
) -> str | None:
    """Wait until the child has ended; return the reason if it was killed here, else None."""
    watch, memory = Watch(board, board.place(0)), Memory()
    interrupts = 0
    while process.poll() is None:
        for number in heard():
            process.send_signal(_FORWARDED[signal.Signals(number)])
            interrupts += number == signal.SIGINT
        why = _INTERRUPTED if interrupts >= _ENOUGH else watch.overdue()
        short = "" if why else memory.short()
        reading = watch.place.reading.name
        if short and reading and process_nbytes(process.pid) > memory.much:
            why = (
                f"{reading}: reading it was stopped because it took too much memory: {short}; take "
                "it out, or use a machine with more memory"
            )
        if why:
            process.kill()
            process.wait()
            return why
    return None


@contextmanager
def _signals() -> Iterator[Callable[[], list[int]]]:
    """Yield a function that waits up to 0.25 s for signals, and returns them.

    The end of a child ends the wait, too.
    """
    reader, writer = os.pipe()
    for end in (reader, writer):
        os.set_blocking(end, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    known = {}
    for number in (signal.SIGCHLD, *_FORWARDED):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            known[number] = signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)

    def heard() -> list[int]:
        select.select([reader], [], [], _LOOK_EVERY_S)
        with suppress(BlockingIOError):
            return [number for number in os.read(reader, 100) if number in _FORWARDED]
        return []

    try:
        yield heard
    finally:
        for number, handler in known.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before)
        os.close(reader)
        os.close(writer)
