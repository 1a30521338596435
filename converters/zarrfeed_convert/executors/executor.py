"""What is a task, and what does an executor guarantee?

A task is a function of a :class:`TaskRun` and an item. All executors run the same tasks and return
the same results in the same order, so that stores do not depend on the executor. Samples that
failed are returned beside the result of a task. :class:`~zarrfeed_convert.failures.Failures`
decides whether they end the conversion.
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

    from zarrfeed_convert.header import Header
    from zarrfeed_convert.source import Mask, Source, Window

Context = TypeVar("Context", covariant=True)
Item = TypeVar("Item")
Result = TypeVar("Result")
Read = TypeVar("Read")


class TaskRun(Generic[Context]):
    """One run of a task: its context, its progress, and the samples that failed.

    Parameters
    ----------
    context
        Object that all tasks of an executor share, such as a source.
    after_sample
        Function that :meth:`tick` calls. It raises an exception to stop the task.
    lost
        Sample → reason, for samples that must not be read again, such as those that crashed a
        process.

    Attributes
    ----------
    ticks
        Number of samples that are done.
    failed
        Samples that failed.
    cause
        The first exception among the failures.
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
        """Count a sample as done; raises if the result of the task is no longer needed."""
        self.ticks += 1
        if self._after_sample is not None:
            self._after_sample()

    @contextmanager
    def noting(self: TaskRun[Source], item: int) -> Iterator[None]:
        """Collect any exception raised while reading a sample in `failed` instead of raising it.

        The caller must check afterwards whether the sample was read.

        Parameters
        ----------
        item
            Index of the sample in the source.
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
        """Return a sample's header; see :meth:`Source.probe`."""
        return self._read(self.context.probe, item)

    def require_whole(self: TaskRun[Source], item: int, header: Header) -> None:
        """Refuse a sample too large to decode as a whole; see :meth:`Source.require_whole`."""
        self._read(lambda item: self.context.require_whole(item, header), item)

    def read(self: TaskRun[Source], item: int) -> tuple[NDArray[Any], ...]:
        """Return a sample's arrays; see :meth:`Source.read`."""
        return self._read(self.context.read, item)

    def read_window(self: TaskRun[Source], item: int, window: Window) -> tuple[NDArray[Any], ...]:
        """Return a part of a sample's arrays; see :meth:`Source.read_window`."""
        return self._read(lambda item: self.context.read_window(item, window), item)

    def read_mask_window(self: TaskRun[Source], item: int, window: Window) -> Mask:
        """Return a part of a sample's mask; see :meth:`Source.read_mask_window`."""
        return self._read(lambda item: self.context.read_mask_window(item, window), item)

    def read_mask(self: TaskRun[Source], item: int) -> Mask:
        """Return a sample's mask; see :meth:`Source.read_mask`."""
        return self._read(self.context.read_mask, item)

    def shown_colors(self: TaskRun[Source], item: int) -> Mapping[int, int]:
        """Return the colours of a mask's indices; see :meth:`Source.shown_colors`."""
        return self._read(self.context.shown_colors, item)

    def _read(self: TaskRun[Source], read: Callable[[int], Read], item: int) -> Read:
        if item in self._lost:
            raise SourceError(self._lost[item])
        with marked(self.context.names(item)[0], item):
            return read(item)


Task: TypeAlias = Callable[[TaskRun[Any], Item], Result]
# Called with the number of samples done so far.
Progress: TypeAlias = Callable[[int], None]


class Outcome(NamedTuple):
    """The outcome of a task.

    Attributes
    ----------
    result
        Return value of the task.
    failed
        Samples that failed.
    ticks
        Number of samples that are done.
    cause
        Exception of the first failure; None if the task ran in another process.
    """

    result: Any
    failed: list[Failed]
    ticks: int = 0
    cause: Exception | None = None


class Executor(ABC):
    """Base class of executors, which run tasks.

    Parameters
    ----------
    workers
        Maximum number of tasks that run at the same time.
    failures
        Collects the samples that fail.

    Attributes
    ----------
    workers
        As above. It may be lowered between runs, but not raised.
    free_nbytes
        Bytes of memory that are free for the workers; None for the free memory of this machine.
    visible_within_s
        Seconds until a file that a task has written is visible to this process.
    advice
        Hint for the error that such a file does not appear at all.
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
        """Run a task for each item.

        Samples that fail are added to `failures`. If they end the conversion, no further task is
        started, running tasks finish, and the error names the failures of all of them.

        Parameters
        ----------
        task
            Function of a :class:`TaskRun` and an item.
        items
            One item per task.
        progress
            Called with the number of samples that are done, first with 0.

        Returns
        -------
        list
            The results, in the order of `items`.

        Raises
        ------
        SourceError
            Samples failed, and failures end the conversion.
        Exception
            Any exception that a task raises.
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
        self.failures.add(
            failed,
            complete=len(done) == len(items),
            cause=causes[0] if len(failed) == len(causes) == 1 else None,
        )
        return [done[number].result for number in range(len(items))]

    @abstractmethod
    def _run(
        self,
        task: Task[Any, Any],
        items: Sequence[Any],
        done: dict[int, Outcome],
        progress: Progress,
    ) -> None:
        """Store the outcome of every item in `done`; start no more if :meth:`_ends_it` is true."""

    def _ends_it(self, outcome: Outcome) -> bool:
        return bool(outcome.failed) and self.failures.on_error == "stop"

    def _abandon(self, error: BaseException) -> None:  # noqa: B027 (nothing to do is fine)
        """End all running tasks, so that none writes while the caller cleans up."""

    def close(self) -> None:  # noqa: B027
        """Release all workers."""


def _tell_nobody(done: int) -> None:
    pass


_blosc = threading.Lock()
_blosc_users = 0
_blosc_before: bool | None = None


@contextmanager
def single_threaded_blosc() -> Iterator[None]:
    """Keep blosc from using several threads, which would make the bytes depend on the machine.

    Blosc has one switch per process. The last thread that leaves the context restores it.
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
