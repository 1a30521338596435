"""How do processes of this machine run tasks?

A process runs one task at a time, so that a crash affects one task only. It writes what it reads to
a shared board, so that a crash can be attributed to a sample. A process that reads one sample for
too long is killed. If failures are skipped, another process repeats the task without that sample.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import deque
from contextlib import contextmanager, suppress
from multiprocessing.connection import Pipe, wait
from typing import TYPE_CHECKING, Any, cast

import cloudpickle

from zarrfeed.errors import WorkerError, look_up
from zarrfeed_convert.executors.executor import Executor, Outcome, Progress, Task
from zarrfeed_convert.failures import Failed, Failures
from zarrfeed_convert.supervision.board import NO_ITEM, NOTHING, Board
from zarrfeed_convert.supervision.child import start
from zarrfeed_convert.supervision.watch import Memory, Watch, is_crash, process_nbytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection


_LOOK_EVERY_S = 0.1
_END_S = 10.0  # time for all processes together to end before they are killed
# Processes already use all cores. With one BLAS thread each, NumPy is imported in 115 ms instead of
# 174 on two busy cores.
_BLAS_THREADS = "OPENBLAS_NUM_THREADS"


class ProcessExecutor(Executor):
    """Runs tasks in processes of this machine.

    The processes are not forked, since a fork of a process with threads, such as TensorFlow's, may
    hang. The class of a context that is defined in the user's ``__main__`` is pickled by value.

    Parameters
    ----------
    context
        Object that all tasks share, such as a source.
    workers
        Maximum number of processes. Each is started when there is a task for it.
    failures
        Collects the samples that fail.
    read_timeout
        Maximum time to read one sample, in seconds; large files have more.
    """

    def __init__(
        self, context: object, workers: int, failures: Failures, read_timeout: float
    ) -> None:
        super().__init__(workers, failures)
        self._context = cloudpickle.dumps(context)
        package = type(context).__module__.partition(".")[0]
        self._users_modules = package not in ("zarrfeed_convert", "builtins")
        self._board = Board(workers)
        self._board.patience = read_timeout
        self._processes: list[_Process] = []
        self._lost: dict[int, str] = {}  # sample -> how a process was lost while reading it
        self._memory = Memory()
        self._closed = False

    def _run(
        self,
        task: Task[Any, Any],
        items: Sequence[Any],
        done: dict[int, Outcome],
        progress: Progress,
    ) -> None:
        left = deque(range(len(items)))
        before = self._ticks()
        while True:
            ticks = self._ticks() - before  # 0 at first, also if the processes ran tasks before
            for process in self._idle(len(left)):
                number = left.popleft()
                process.give(number, task, items[number], self._lost)
            progress(ticks)
            busy = {p.connection: p for p in self._processes if p.number is not None}
            if not busy:
                break
            for ready in wait(list(busy), _LOOK_EVERY_S):
                process = busy[cast("Connection[Any, Any]", ready)]
                number = cast("int", process.number)
                try:
                    answer = process.take()
                except (EOFError, OSError):
                    status = process.end(_END_S)
                    why = process.watch.died(status)
                    self._replace_dead(process, why, left, done, again=is_crash(status))
                    continue
                if isinstance(answer, BaseException):
                    raise answer
                done[number] = answer
                if self._ends_it(answer):
                    left.clear()
            for process in [p for p in self._processes if p.number is not None]:
                why = process.watch.overdue()
                if why:
                    process.end(0)
                    self._replace_dead(process, why, left, done, again=True)
            self._spare_memory()

    def _abandon(self, error: BaseException) -> None:  # noqa: ARG002
        self.close()

    def _replace_dead(
        self,
        process: _Process,
        why: str,
        left: deque[int],
        done: dict[int, Outcome],
        *,
        again: bool,
    ) -> None:
        """Note the sample that a lost process was reading, and repeat its task without that sample.

        Parameters
        ----------
        process
            The lost process.
        why
            How it was lost, for the error.
        left
            Numbers of the tasks that are not started.
        done
            Outcomes by number of the task.
        again
            Whether reading the sample again would lose another process.

        Raises
        ------
        WorkerError
            The process was not reading a sample, or `again` is False.
        """
        self._processes.remove(process)
        place, number = process.watch.place, process.number
        reading = place.reading
        if not again or reading.item == NO_ITEM or reading.item in self._lost or number is None:
            raise WorkerError(why)
        self._lost[reading.item] = why
        place.ticks = process.ticks_before
        place.begin(NOTHING)  # the next process with this place does not read it
        blamed = Outcome(None, [Failed(reading.item, reading.name, why)])
        if self._ends_it(blamed):
            done[number] = blamed
            left.clear()
        else:
            left.appendleft(number)

    def _spare_memory(self) -> None:
        """Kill the largest process if the machine has almost no memory left."""
        why = self._memory.short()
        if not why or not self._processes:
            return
        largest = max(self._processes, key=_Process.nbytes)
        nbytes = largest.nbytes()
        if nbytes < self._memory.much:
            return  # other programs use the memory
        largest.end(0)
        raise WorkerError(
            f"{largest.watch.place.reading.name or 'packing'}: its process used "
            f"{nbytes >> 20} MiB and was killed because {why}; use fewer workers (--workers), or "
            "take out the samples that need so much memory"
            f"{look_up('memory')}"
        )

    def _idle(self, wanted: int) -> list[_Process]:
        """Return up to `wanted` idle processes; start some if there are too few."""
        busy = sum(process.number is not None for process in self._processes)
        wanted = min(wanted, self.workers - busy)
        idle = [process for process in self._processes if process.number is None]
        while len(idle) < wanted:
            taken = {process.place for process in self._processes}
            place = next(place for place in range(len(taken) + 1) if place not in taken)
            try:
                process = _Process(
                    self._board, place, self._context, users_modules=self._users_modules
                )
            except OSError as error:
                raise WorkerError(
                    f"a packing process could not be started ({error.strerror}); try again with "
                    "fewer workers (--workers), or raise this shell's limits (ulimit -u, ulimit -n)"
                    f"{look_up('open-files')}"
                ) from error
            self._processes.append(process)
            idle.append(process)
        return idle[: max(0, wanted)]

    def _ticks(self) -> int:
        return sum(self._board.place(number).ticks for number in range(self._board.places))

    def close(self) -> None:
        """Stop all tasks and end the processes; kill those that have not ended after 10 s."""
        if self._closed:
            return
        self._closed = True
        self._board.stop()
        for process in self._processes:
            process.dismiss()
        deadline = time.monotonic() + _END_S
        for process in self._processes:
            process.end(max(0.0, deadline - time.monotonic()))
        self._processes.clear()
        self._board.close()


class _Process:
    """A worker process, and the task that it runs."""

    def __init__(self, board: Board, place: int, context: bytes, *, users_modules: bool) -> None:
        self.place = place
        self.number: int | None = None  # of its task
        self.watch = Watch(board, board.place(place))
        self.ticks_before = 0
        self.connection, theirs = Pipe()
        descriptors = theirs.fileno(), board.descriptor
        with theirs, _held_interrupts():
            self._process = start(
                "zarrfeed_convert.executors.process_main",
                *map(str, (*descriptors, place)),
                descriptors=descriptors,
                users_modules=users_modules,
                environment={_BLAS_THREADS: os.environ.get(_BLAS_THREADS, "1")},
                stdin=subprocess.DEVNULL,
            )
        self._setup: bytes | None = context

    def give(self, number: int, task: Any, item: Any, lost: dict[int, str]) -> None:
        """Send a task to the process."""
        self.number, self.ticks_before = number, self.watch.place.ticks
        with suppress(OSError):  # it has died, which `take` reports
            if self._setup is not None:
                self.connection.send_bytes(self._setup)
                self._setup = None
            self.connection.send((task, item, lost))

    def take(self) -> Outcome | BaseException:
        """Receive the outcome of the task, or the exception that it raised."""
        answer: Outcome | BaseException = self.connection.recv()
        self.number = None
        return answer

    def nbytes(self) -> int:
        """Return the resident memory of the process, in bytes."""
        return process_nbytes(self._process.pid)

    def dismiss(self) -> None:
        """Ask the process to end after its task."""
        with suppress(OSError):
            self.connection.send(None)

    def end(self, seconds: float) -> int:
        """Wait until the process has ended, or kill it after `seconds`; return its exit status."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self.connection.close()
        return self._process.wait()


@contextmanager
def _held_interrupts() -> Iterator[None]:
    """Block Ctrl-C while a process starts, until it ignores the signal; it would print a traceback.

    A process inherits the signal mask of this thread. A Ctrl-C arrives here when the block ends.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
