"""How does a task run in a Dask worker?

Such a process has several threads, a working directory of its own and perhaps another zarrfeed. It
serves other conversions at the same time, and outlives them. So paths are absolute, every thread
loads a context of its own, and what is known of a conversion is kept on the worker.
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

_PROBED = 8  # samples of which one can be measured, if any can


@dataclass(frozen=True, slots=True)
class RemoteTask:
    """What a worker must know of a conversion before it runs its tasks; sent to it once.

    Attributes
    ----------
    token
        Tells the conversion from others.
    version
        Of zarrfeed, at home.
    home
        The machine that the conversion was started on.
    probe_sample
        A sample that can be measured at home; a worker that cannot measure it lacks the source.
    context
        What all tasks share, pickled.
    """

    token: str
    version: str
    home: str
    probe_sample: int | None
    context: bytes


def remote_task_of(context: object) -> RemoteTask:
    """Prepare a context, which has no relative paths, to be used by workers."""
    return RemoteTask(
        uuid.uuid4().hex[:12],
        __version__,
        platform.node(),
        _probe_sample(context) if isinstance(context, Source) else None,
        # By value where it is the user's own class; paths shrink to a tenth.
        zlib.compress(cloudpickle.dumps(context), 1),
    )


def _probe_sample(source: Source) -> int | None:
    for item in range(min(len(source.keys), _PROBED)):
        with suppress(Exception):  # by a decoder
            source.probe(item)
            return item
    return None


# -- In the process -------------------------------------------------------------------------------


class WorkerState:
    """What a worker knows of a conversion.

    Attributes
    ----------
    contexts
        What the tasks share, by thread: nothing of it need be thread-safe.
    reads
        What a thread reads, and since when.
    running
        Threads that run a task.
    closed
        Whether no more tasks are begun.
    """

    def __init__(self) -> None:
        self.contexts: dict[int, Any] = {}
        self.reads: dict[int, tuple[str, float]] = {}
        self.running: set[int] = set()
        self.closed = False


def states_of(dask_worker: Any) -> dict[str, WorkerState]:
    """Give what a Dask worker knows of conversions, by their tokens."""
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
    """Run a task; returns None where no more are to begin.

    Parameters
    ----------
    remote
        Of the conversion.
    task, item
        What is done.
    require_wanted
        Called after every sample, to raise where the work is no longer wanted.
    dask_worker
        Who does it.

    Raises
    ------
    WorkerError
        The source cannot be read in this process, though it can be at home.
    """
    state, here = _state(dask_worker, remote.token), dask_worker.address
    thread = threading.get_ident()
    state.running.add(thread)  # first, so that whoever closes it sees us, or we see that
    try:
        if state.closed:
            return None
        for other in [*states_of(dask_worker).values()]:
            if not other.running:
                other.contexts.clear()  # that conversion may have been killed
        with single_threaded_blosc():
            if thread not in state.contexts:
                state.contexts[thread] = _load(remote, here)
            run = _ObservedRun(state.contexts[thread], require_wanted, state.reads)
            require_wanted()
            return Outcome(task(run, item), run.failed, run.ticks)
    finally:
        state.running.discard(thread)


class _ObservedRun(TaskRun[Any]):
    """A run of a task that records what it reads."""

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
    """Find what a worker has been reading for the longest time, and for how many seconds."""
    now = time.monotonic()
    reads = [(now - since, name) for name, since in [*_state(dask_worker, token).reads.values()]]
    seconds, name = max(reads, default=(0.0, ""))
    return name, seconds


def version_and_memory() -> tuple[str, int]:
    """Return this process's version of zarrfeed, and the bytes of memory that are free here."""
    return __version__, free_memory()


def running(token: str, dask_worker: Any) -> int:
    """Count the tasks of a conversion that a worker runs."""
    return len(_state(dask_worker, token).running)


def begin_no_more(token: str, dask_worker: Any) -> None:
    """Begin no more tasks of a conversion; those that run may end."""
    _state(dask_worker, token).closed = True


def forget(token: str, dask_worker: Any) -> None:
    """Drop what a worker knows of a conversion."""
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
            f"{here} on {platform.node()}: cannot load what the tasks share: {error!r}; "
            f"every worker needs the packages that {remote.home} has"
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
