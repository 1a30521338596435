"""How does a task run in a process that is somebody else's?

Such a process, a Dask worker, has several threads, a working directory of its own and perhaps
another zarrfeed; it serves other conversions at the same time, and lives on when this one has
ended. So every thread gets a source of its own, the worker holds what is known of a conversion, and
whatever a task changes in the process is as it was before when the last task has gone.
"""

from __future__ import annotations

import os
import platform
import threading
import time
import uuid
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle
import psutil

from zarrfeed import __version__
from zarrfeed.errors import WorkerError
from zarrfeed_convert.executors.executor import Outcome, Read, TaskRun
from zarrfeed_convert.executors.working_folder import within_folder
from zarrfeed_convert.shards.shard_file import single_threaded_blosc
from zarrfeed_convert.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from zarrfeed_convert.executors.executor import Task

_PROBED = 8  # samples of which one can be measured, if any can


@dataclass(frozen=True, slots=True)
class RemoteTask:
    """What a process must know of a conversion before it works for it; sent to it once.

    Attributes
    ----------
    token
        Tells the conversion from others.
    version
        The zarrfeed that asks.
    home
        The machine that asks.
    folder
        Where relative paths begin; None where the source has none.
    probe_sample
        A sample that can be read at home, so it can be read here, or the source is not there.
    context
        What all tasks share, pickled.
    """

    token: str
    version: str
    home: str
    folder: str | None
    probe_sample: int | None
    context: bytes


def remote_task_of(context: object) -> RemoteTask:
    """Prepare what tasks share to be used elsewhere."""
    source = context if isinstance(context, Source) and len(context.keys) else None
    names = source.names(0) if source else ()
    return RemoteTask(
        uuid.uuid4().hex[:12],
        __version__,
        platform.node(),
        None if all(map(os.path.isabs, names)) else str(Path.cwd()),
        None if source is None else _probe_sample(source),
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
    """Run a task; None where no more are to be begun.

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
        with single_threaded_blosc(), within_folder(remote.folder, home=remote.home, here=here):
            if thread not in state.contexts:
                state.contexts[thread] = _load(remote, here)
            run = _ObservedRun(state.contexts[thread], require_wanted, state.reads)
            require_wanted()
            return Outcome(task(run, item), run.failed, run.ticks)
    finally:
        state.running.discard(thread)


class _ObservedRun(TaskRun[Any]):
    """A task whose readings others may ask for."""

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
    """Say what a worker has been reading for the longest time, and for how many seconds."""
    now = time.monotonic()
    reads = [(now - since, name) for name, since in [*_state(dask_worker, token).reads.values()]]
    seconds, name = max(reads, default=(0.0, ""))
    return name, seconds


def version_and_memory() -> tuple[str, int]:
    """Say which zarrfeed this process has, and how many bytes of memory are free here."""
    return __version__, psutil.virtual_memory().available


def running(token: str, dask_worker: Any) -> int:
    """Count the tasks of a conversion that a worker runs."""
    return len(_state(dask_worker, token).running)


def begin_no_more(token: str, dask_worker: Any) -> None:
    """Let the tasks that run come to their end, and begin no other of that conversion."""
    _state(dask_worker, token).closed = True


def forget(token: str, dask_worker: Any) -> None:
    """Let go of what a worker knows of a conversion."""
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
