"""How does a task run in a Dask worker?

A Dask worker has several threads, its own working directory, and possibly another version of
zarrfeed. It may run several conversions at the same time, and outlives them. Therefore paths are
absolute, every thread loads its own context, and the state of a conversion is kept on the worker.
"""

from __future__ import annotations

import platform
import threading
import time
import uuid
import zlib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cloudpickle

from zarrfeed import __version__
from zarrfeed.errors import WorkerError
from zarrfeed.machine_memory import free_memory
from zarrfeed_convert.executors.executor import Outcome, Read, TaskRun, single_threaded_blosc
from zarrfeed_convert.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from zarrfeed_convert.executors.executor import Task

_PROBED = 8  # number of samples to try; one of them is probably not damaged


@dataclass(frozen=True, slots=True)
class RemoteTask:
    """What a worker needs to run the tasks of a conversion. It is sent once.

    Attributes
    ----------
    token
        Identifies the conversion.
    version
        Version of zarrfeed on the machine that started the conversion.
    home
        Name of that machine.
    probe_sample
        A sample that can be measured there. A worker that cannot measure it has no access to the
        source.
    context
        Object that all tasks share, pickled and compressed.
    """

    token: str
    version: str
    home: str
    probe_sample: int | None
    context: bytes


def remote_task_of(context: object) -> RemoteTask:
    """Prepare a context, whose paths must be absolute, for workers."""
    return RemoteTask(
        uuid.uuid4().hex[:12],
        __version__,
        platform.node(),
        _probe_sample(context) if isinstance(context, Source) else None,
        # cloudpickle pickles classes of the user's script by value. zlib shrinks paths to a tenth.
        zlib.compress(cloudpickle.dumps(context), 1),
    )


def _probe_sample(source: Source) -> int | None:
    for item in range(min(len(source.keys), _PROBED)):
        with suppress(Exception):  # a decoder may raise anything
            source.probe(item)
            return item
    return None


# -- In the process -------------------------------------------------------------------------------


class WorkerState:
    """State of a conversion on a worker.

    Attributes
    ----------
    contexts
        Thread → context. A context need not be thread-safe.
    reads
        Thread → what it is reading, and since when (``time.monotonic``).
    running
        Threads that run a task.
    closed
        Whether no more tasks may start.
    """

    def __init__(self) -> None:
        self.contexts: dict[int, Any] = {}
        self.reads: dict[int, tuple[str, float]] = {}
        self.running: set[int] = set()
        self.closed = False


def states_of(dask_worker: Any) -> dict[str, WorkerState]:
    """Return the states of all conversions on a Dask worker, by token."""
    states: dict[str, WorkerState] = vars(dask_worker).setdefault("zarrfeed_conversions", {})
    return states


def _state(dask_worker: Any, token: str) -> WorkerState:
    return states_of(dask_worker).setdefault(token, WorkerState())


def perform(
    remote: RemoteTask,
    task: Task[Any, Any],
    item: object,
    require_wanted: Callable[[], None],
    *,
    dask_worker: Any,
) -> Outcome | None:
    """Run a task on a Dask worker.

    Parameters
    ----------
    remote
        Describes the conversion.
    task, item
        The task, and its argument.
    require_wanted
        Called after every sample. It raises an exception if the result is no longer wanted.
    dask_worker
        The worker.

    Returns
    -------
    Outcome or None
        None if no more tasks of the conversion may start.

    Raises
    ------
    WorkerError
        The source cannot be read here, although the machine that started the conversion can.
    """
    state, here = _state(dask_worker, remote.token), dask_worker.address
    thread = threading.get_ident()
    state.running.add(thread)  # before `closed` is read: a task is counted, or does not start
    try:
        if state.closed:
            return None
        for other in [*states_of(dask_worker).values()]:
            if not other.running:
                other.contexts.clear()  # free memory: that conversion may have been killed
        with single_threaded_blosc():
            if thread not in state.contexts:
                state.contexts[thread] = _load(remote, here)
            run = _ObservedRun(state.contexts[thread], require_wanted, state.reads)
            require_wanted()
            return Outcome(task(run, item), run.failed, run.ticks)
    finally:
        state.running.discard(thread)


class _ObservedRun(TaskRun[Any]):
    """A run of a task that records what it is reading."""

    def __init__(
        self,
        context: object,
        after_sample: Callable[[], None],
        reads: dict[int, tuple[str, float]],
    ) -> None:
        super().__init__(context, after_sample)
        self._reads = reads

    def _read(self: _ObservedRun, read: Callable[[int], Read], item: int) -> Read:
        thread = threading.get_ident()
        self._reads[thread] = self.context.names(item)[0], time.monotonic()
        try:
            return super()._read(read, item)
        finally:
            del self._reads[thread]


def longest_reading(token: str, dask_worker: Any) -> tuple[str, float]:
    """Return what a worker has been reading for the longest time, and for how many seconds."""
    now = time.monotonic()
    reads = [(now - since, name) for name, since in [*_state(dask_worker, token).reads.values()]]
    seconds, name = max(reads, default=(0.0, ""))
    return name, seconds


def version_and_memory() -> tuple[str, int]:
    """Return the version of zarrfeed in this process, and the bytes of free memory."""
    return __version__, free_memory()


def running(token: str, dask_worker: Any) -> int:
    """Return the number of tasks of a conversion that a worker is running."""
    return len(_state(dask_worker, token).running)


def begin_no_more(token: str, dask_worker: Any) -> None:
    """Start no more tasks of a conversion; running ones may finish."""
    _state(dask_worker, token).closed = True


def forget(token: str, dask_worker: Any) -> None:
    """Delete the state of a conversion on a worker."""
    states_of(dask_worker).pop(token, None)


def _load(remote: RemoteTask, here: str) -> Any:
    if remote.version != __version__:
        raise WorkerError(
            f"{here} on {platform.node()}: needed zarrfeed {remote.version}, as on {remote.home}, "
            f"found {__version__}; install the same on every worker"
        )
    try:
        context = cloudpickle.loads(zlib.decompress(remote.context))
    except Exception as error:
        raise WorkerError(
            f"{here} on {platform.node()}: cannot load the source: {error!r}; install the packages "
            f"that {remote.home} has on every worker"
        ) from error
    if remote.probe_sample is not None:
        try:
            context.probe(remote.probe_sample)
        except Exception as error:
            raise WorkerError(
                f"{here} on {platform.node()}: cannot read "
                f"{context.names(remote.probe_sample)[0]}, which {remote.home} can ({error}); "
                "the source must be at the same path on every worker"
            ) from error
    return context
