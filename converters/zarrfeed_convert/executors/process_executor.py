"""How do processes of this machine run tasks?

Each has one task at a time, so that a crash ends only one, and writes on a board what it reads, so
that the crash can be blamed on a sample. A process that reads one thing for too long is killed.
Where failures are skipped, another process takes over its task, without that sample.
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

from zarrfeed.errors import WorkerError
from zarrfeed_convert.executors.executor import Executor, Outcome, Progress, Task
from zarrfeed_convert.failures import Failed, Failures
from zarrfeed_convert.supervision.board import NO_ITEM, NOTHING, Board
from zarrfeed_convert.supervision.child import start
from zarrfeed_convert.supervision.watch import Memory, Watch, is_crash, process_nbytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection


_LOOK_EVERY_S = 0.1
_END_S = 10.0  # for all processes together to end by themselves
# The processes are the parallelism. With one BLAS thread, two busy cores import NumPy in 115 ms
# instead of 174.
_BLAS_THREADS = "OPENBLAS_NUM_THREADS"


class ProcessExecutor(Executor):
    """Runs tasks in processes.

    They do not fork: forks of a process that runs threads (TensorFlow's) may hang. A context whose
    class is defined in the user's ``__main__`` takes its class along.

    Parameters
    ----------
    context
        What all tasks share.
    workers
        How many processes there may be; each starts when there is a task for it.
    failures
        Takes the samples that fail.
    read_timeout
        Seconds that reading one thing may take, besides what its size allows.
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
        self._lost: dict[int, str] = {}  # samples over which processes were lost
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
            ticks = self._ticks() - before  # at first 0, also where processes run already
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
        """Blame the sample that a lost process was reading; repeat its task without that sample.

        Raises
        ------
        WorkerError
            No sample can be blamed, or the process might not be lost `again`.
        """
        self._processes.remove(process)
        place, number = process.watch.place, process.number
        reading = place.reading
        if not again or reading.item == NO_ITEM or reading.item in self._lost or number is None:
            raise WorkerError(why)
        self._lost[reading.item] = why
        place.ticks = process.ticks_before
        place.begin(NOTHING)  # else the next process there is blamed for it while it starts
        blamed = Outcome(None, [Failed(reading.item, reading.name, why)])
        if self._ends_it(blamed):
            done[number] = blamed
            left.clear()
        else:
            left.appendleft(number)

    def _spare_memory(self) -> None:
        """End the largest process where the machine has next to no memory left."""
        why = self._memory.short()
        if not why or not self._processes:
            return
        largest = max(self._processes, key=_Process.nbytes)
        nbytes = largest.nbytes()
        if nbytes < self._memory.much:
            return  # others have taken it
        largest.end(0)
        raise WorkerError(
            f"{largest.watch.place.reading.name or 'packing'}: its process was ended as it had "
            f"taken {nbytes >> 20} MiB, and {why}; try again with fewer workers (--workers), or "
            "take out what needs so much"
        )

    def _idle(self, wanted: int) -> list[_Process]:
        """Find idle processes, and start more if there are too few."""
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
                ) from error
            self._processes.append(process)
            idle.append(process)
        return idle[: max(0, wanted)]

    def _ticks(self) -> int:
        return sum(self._board.place(number).ticks for number in range(self._board.places))

    def close(self) -> None:
        """Stop the tasks and end the processes, if need be by force."""
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
    """A worker process and its task."""

    def __init__(self, board: Board, place: int, context: bytes, *, users_modules: bool) -> None:
        self.place = place
        self.number: int | None = None  # of the task that it has
        self.watch = Watch(board, board.place(place))
        self.ticks_before = 0
        self.connection, theirs = Pipe()
        descriptors = theirs.fileno(), board.descriptor
        with theirs, _held_interrupts():
            self._process = start(
                "zarrfeed_convert.executors.worker_process",
                *map(str, (*descriptors, place)),
                descriptors=descriptors,
                users_modules=users_modules,
                environment={_BLAS_THREADS: os.environ.get(_BLAS_THREADS, "1")},
                stdin=subprocess.DEVNULL,
            )
        self._setup: bytes | None = context

    def give(self, number: int, task: Any, item: Any, lost: dict[int, str]) -> None:
        """Give it a task."""
        self.number, self.ticks_before = number, self.watch.place.ticks
        with suppress(OSError):  # it has died; its connection will say so
            if self._setup is not None:
                self.connection.send_bytes(self._setup)
                self._setup = None
            self.connection.send((task, item, lost))

    def take(self) -> Outcome | BaseException:
        """Receive the outcome of its task, or an error."""
        answer: Outcome | BaseException = self.connection.recv()
        self.number = None
        return answer

    def nbytes(self) -> int:
        """Measure its memory."""
        return process_nbytes(self._process.pid)

    def dismiss(self) -> None:
        """Let it end after its task."""
        with suppress(OSError):
            self.connection.send(None)

    def end(self, seconds: float) -> int:
        """Wait for it to end, kill it after `seconds`; return its exit status."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self.connection.close()
        return self._process.wait()


@contextmanager
def _held_interrupts() -> Iterator[None]:
    """Start processes with Ctrl-C blocked until they ignore it; else they print tracebacks.

    They inherit the mask of this thread, where a Ctrl-C arrives when the block ends.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
