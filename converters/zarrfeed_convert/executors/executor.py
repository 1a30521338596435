"""What is a task, and what does an executor promise?

A task is a function of its :class:`TaskRun` and an item. All executors run the same tasks and give
back the same results in the same order, so nothing above can depend on who worked. What failed
comes back beside a task's result; :class:`~zarrfeed_convert.failures.Failures` says what then.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeAlias, TypeVar

import numcodecs.blosc

from zarrfeed.errors import SourceError
from zarrfeed_convert.failures import Failed, Failures, unreadable
from zarrfeed_convert.supervision.board import marked

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed_convert.source import Header, Mask, Source

Context = TypeVar("Context", covariant=True)
Item = TypeVar("Item")
Result = TypeVar("Result")
Read = TypeVar("Read")


class TaskRun(Generic[Context]):
    """One run of a task: what it works with, how far it is, and what has failed.

    Parameters
    ----------
    context
        What all tasks of an executor share, such as a source.
    after_sample
        Called by :meth:`tick`; raises where the task is to stop.
    lost
        Samples that are not to be read again, and why.

    Attributes
    ----------
    ticks
        Samples that are done.
    failed
        Samples that are not, and why.
    cause
        The first exception among them.
    """

    def __init__(
        self,
        context: Context,
        after_sample: Callable[[], None] | None = None,
        lost: Mapping[int, str] | None = None,
    ) -> None:
        self.context = context
        self.ticks = 0
        self.failed: list[Failed] = []
        self.cause: Exception | None = None
        self._after_sample = after_sample
        self._lost = lost or {}

    def tick(self) -> None:
        """Count a sample as done, and stop here where the task's result is no longer needed."""
        self.ticks += 1
        if self._after_sample is not None:
            self._after_sample()

    @contextmanager
    def noting(self: TaskRun[Source], item: int) -> Iterator[None]:
        """Note a failure to read a sample, whatever a decoder raises, instead of raising it.

        Whoever uses the sample looks whether it is there.
        """
        try:
            yield
        except Exception as error:
            names = self.context.names(item)
            ours = isinstance(error, SourceError)
            why = str(error if ours else unreadable(names[0], error))
            blamed = next((name for name in names if why.startswith(f"{name}:")), names[0])
            self.failed.append(Failed(item, blamed, why))
            self.cause = self.cause or error

    def probe(self: TaskRun[Source], item: int) -> Header:
        """Measure a sample."""
        return self._read(self.context.probe, item)

    def read(self: TaskRun[Source], item: int) -> tuple[NDArray[Any], ...]:
        """Decode a sample."""
        return self._read(self.context.read, item)

    def read_mask(self: TaskRun[Source], item: int) -> Mask:
        """Decode a sample's mask."""
        return self._read(self.context.read_mask, item)

    def shown_colors(self: TaskRun[Source], item: int) -> Mapping[int, int]:
        """Decode a sample's mask, and say what its indices show."""
        return self._read(self.context.shown_colors, item)

    def _read(self: TaskRun[Source], read: Callable[[int], Read], item: int) -> Read:
        if item in self._lost:
            raise SourceError(self._lost[item])
        with marked(self.context.names(item)[0], item):
            return read(item)


Task: TypeAlias = Callable[[TaskRun[Any], Item], Result]
# Called here with the number of samples done so far.
Progress: TypeAlias = Callable[[int], None]


class Outcome(NamedTuple):
    """What comes back from a task.

    Attributes
    ----------
    result
        The task's own.
    failed
        Samples that failed.
    ticks
        Samples that are done.
    cause
        Of the first failure; None where the task ran in another process.
    """

    result: Any
    failed: list[Failed]
    ticks: int = 0
    cause: Exception | None = None


class Executor(ABC):
    """Runs tasks.

    Parameters
    ----------
    workers
        How many may work at the same time.
    failures
        Takes the samples that fail.

    Attributes
    ----------
    workers
        May be lowered, never raised.
    free_nbytes
        Memory that is free for them; None for what this machine has.
    visible_within_s
        Seconds that it may take until a file that a task wrote is seen here.
    advice
        Why such a file may never be, in words that end a sentence.
    """

    free_nbytes: int | None = None
    visible_within_s = 0.0
    advice = "does something else change the folder?"

    def __init__(self, workers: int, failures: Failures) -> None:
        self.workers = workers
        self.failures = failures

    def run(
        self, task: Task[Item, Result], items: Sequence[Item], progress: Progress | None = None
    ) -> list[Result]:
        """Run a task over items.

        Samples that fail go to the executor's failures. Where they end the conversion, no further
        task begins, those that run come to their end, and the error names what all of them found.

        Parameters
        ----------
        task
            The function.
        items
            Its arguments, one at a time.
        progress
            Told how many samples are done; first, as the work begins, that none is.

        Returns
        -------
        list
            The results, in the order of `items`.

        Raises
        ------
        Exception
            What a task raises; its traceback where it ran in this process.
        """
        done: dict[int, Outcome] = {}
        try:
            self._run(task, items, done, progress or _tell_nobody)
        except BaseException as error:
            self._abandon(error)
            raise
        failed = [failure for number in sorted(done) for failure in done[number].failed]
        if self.failures.on_error == "stop":
            failed.sort()
        causes = [outcome.cause for outcome in done.values() if outcome.cause is not None]
        self.failures.add(failed, cause=causes[0] if len(failed) == len(causes) == 1 else None)
        return [done[number].result for number in range(len(items))]

    @abstractmethod
    def _run(
        self,
        task: Task[Any, Any],
        items: Sequence[Any],
        done: dict[int, Outcome],
        progress: Progress,
    ) -> None:
        """Fill in the outcome of every item; begin no more where one :meth:`_ends_it`."""

    def _ends_it(self, outcome: Outcome) -> bool:
        return bool(outcome.failed) and self.failures.on_error == "stop"

    def _abandon(self, error: BaseException) -> None:  # noqa: B027 (nothing to do is fine)
        """End the tasks that run: whoever cleans up must find nobody still writing."""

    def close(self) -> None:  # noqa: B027
        """Let go of whoever works."""


def _tell_nobody(done: int) -> None:
    pass


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
