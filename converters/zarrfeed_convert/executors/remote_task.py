"""How does a task run in a process that is somebody else's?

Such a process, a Dask worker, has several threads, a working directory of its own and perhaps
another zarrfeed; it serves other conversions at the same time, and lives on when this one has
ended. So every thread gets a source of its own, and whatever a task changes in the process is as
it was before when the last task has gone.
"""

from __future__ import annotations

import os
import platform
import threading
import time
import uuid
import zlib
from collections import Counter, defaultdict
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

_state = threading.Lock()
# By the conversions' tokens:
_reads: defaultdict[str, dict[int, tuple[str, float]]] = defaultdict(dict)  # by thread, since when
_running: Counter[str] = Counter()  # tasks
_closed: set[str] = set()  # no more tasks are begun
_contexts: defaultdict[str, dict[int, Any]] = defaultdict(dict)  # by thread


def perform(
    remote: RemoteTask,
    task: Task[Any, Any],
    item: object,
    require_wanted: Callable[[], None],
    *,
    here: str,
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
    here
        Names this process, for errors.

    Raises
    ------
    WorkerError
        The source cannot be read in this process, though it can be at home.
    """
    with _state:
        if remote.token in _closed:
            return None
        _running[remote.token] += 1
    try:
        with single_threaded_blosc(), within_folder(remote.folder, home=remote.home, here=here):
            run = _ObservedRun(_context_of(remote, here), require_wanted, remote.token)
            require_wanted()
            return Outcome(task(run, item), run.failed, run.ticks)
    finally:
        with _state:
            _running[remote.token] -= 1
            if not _running[remote.token]:
                del _running[remote.token]


class _ObservedRun(TaskRun[Any]):
    """A task whose readings others may ask for."""

    def __init__(self, context: object, after_sample: Callable[[], None], token: str) -> None:
        super().__init__(context, after_sample)
        self._reads = _reads[token]

    def _read(self: _ObservedRun, read: Callable[[int], Read], item: int) -> Read:
        thread = threading.get_ident()
        self._reads[thread] = self.context.names(item)[0], time.monotonic()
        try:
            return super()._read(read, item)
        finally:
            del self._reads[thread]


def longest_reading(token: str) -> tuple[str, float]:
    """Say what has been read here for the longest time, and for how many seconds."""
    now = time.monotonic()
    reads = [(now - since, name) for name, since in [*_reads[token].values()]]
    seconds, name = max(reads, default=(0.0, ""))
    return name, seconds


def version_and_memory() -> tuple[str, int]:
    """Say which zarrfeed this process has, and how many bytes of memory are free here."""
    return __version__, psutil.virtual_memory().available


def running(token: str) -> int:
    """Count the tasks of a conversion that run here."""
    return _running[token]


def begin_no_more(token: str) -> None:
    """Let the tasks that run come to their end, and begin no other of that conversion."""
    with _state:
        _closed.add(token)


def forget(token: str) -> None:
    """Let go of what is kept for a conversion."""
    with _state:
        _contexts.pop(token, None)
        _reads.pop(token, None)
        _closed.discard(token)


def _context_of(remote: RemoteTask, here: str) -> Any:
    thread = threading.get_ident()
    with _state:
        for token in [token for token in _contexts if not _running[token]]:
            del _contexts[token]  # that conversion may have been killed
        mine = _contexts[remote.token]
    if thread not in mine:
        mine[thread] = _load(remote, here)
    return mine[thread]


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
