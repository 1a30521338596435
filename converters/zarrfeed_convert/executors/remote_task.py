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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import cloudpickle
import psutil

from zarrfeed import __version__
from zarrfeed.errors import WorkerError
from zarrfeed_convert.executors.work import Read, Work
from zarrfeed_convert.executors.working_folder import within_folder
from zarrfeed_convert.shards.shard_file import single_threaded_blosc

if TYPE_CHECKING:
    from collections.abc import Callable

    from zarrfeed_convert.executors.work import Task, Tick
    from zarrfeed_convert.failures import Failed
    from zarrfeed_convert.source import Source

Item = TypeVar("Item")

_WITNESSES = 8  # samples of which one can be measured, if any can


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
    source
        Pickled.
    """

    token: str
    version: str
    home: str
    folder: str | None
    probe_sample: int | None
    source: bytes


def remote_task_of(source: Source) -> RemoteTask:
    """Prepare a source to be read elsewhere."""
    count = len(source.keys)
    names = source.names(0) if count else ()
    return RemoteTask(
        uuid.uuid4().hex[:12],
        __version__,
        platform.node(),
        None if all(map(os.path.isabs, names)) else str(Path.cwd()),
        next((item for item in range(min(count, _WITNESSES)) if _can_probe(source, item)), None),
        # By value where it is the user's own class; paths shrink to a tenth.
        zlib.compress(cloudpickle.dumps(source), 1),
    )


def _can_probe(source: Source, item: int) -> bool:
    try:
        source.probe(item)
    except Exception:  # by a decoder
        return False
    return True


class Done(NamedTuple):
    """What comes back from a task.

    Attributes
    ----------
    result
        The task's own.
    found
        What failed.
    ticks
        The samples that it worked on.
    """

    result: object
    found: list[Failed]
    ticks: int


# -- In the process -------------------------------------------------------------------------------

_state = threading.Lock()
# By the conversions' tokens:
_reads: defaultdict[str, dict[int, tuple[str, float]]] = defaultdict(dict)  # by thread, since when
_running: Counter[str] = Counter()  # tasks
_closed: set[str] = set()  # no more tasks are begun
_sources: defaultdict[str, dict[int, Source]] = defaultdict(dict)  # by thread


def perform(
    remote: RemoteTask, task: Task[Item, object], item: Item, wanted: Tick, *, here: str
) -> Done | None:
    """Run a task; None where no more are to be begun.

    Parameters
    ----------
    remote
        Of the conversion.
    task, item
        What is done.
    wanted
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
            source = _source_of(remote, here)
            ticks = 0

            def tick() -> None:
                nonlocal ticks
                ticks += 1
                wanted()

            work = _Told(source, tick, remote.token)
            wanted()
            return Done(task(source, work, item), work.found, ticks)
    finally:
        with _state:
            _running[remote.token] -= 1
            if not _running[remote.token]:
                del _running[remote.token]


class _Told(Work):
    """Work whose readings others may ask for."""

    def __init__(self, source: Source, tick: Tick, token: str) -> None:
        super().__init__(source, tick)
        self._reads = _reads[token]

    def _read(self, read: Callable[[int], Read], item: int) -> Read:
        thread = threading.get_ident()
        self._reads[thread] = self._source.names(item)[0], time.monotonic()
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


def about() -> tuple[str, int]:
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
        _sources.pop(token, None)
        _reads.pop(token, None)
        _closed.discard(token)


def _source_of(remote: RemoteTask, here: str) -> Source:
    thread = threading.get_ident()
    with _state:
        for token in [token for token in _sources if not _running[token]]:
            del _sources[token]  # that conversion may have been killed
        mine = _sources[remote.token]
    if thread not in mine:
        mine[thread] = _load(remote, here)
    return mine[thread]


def _load(remote: RemoteTask, here: str) -> Source:
    if remote.version != __version__:
        raise WorkerError(
            f"{here} on {platform.node()}: needed zarrfeed {remote.version}, as on {remote.home}, "
            f"found {__version__}; install the same on every worker"
        )
    try:
        source: Source = cloudpickle.loads(zlib.decompress(remote.source))
    except Exception as error:
        raise WorkerError(
            f"{here} on {platform.node()}: cannot load the source: {error!r}; every worker needs "
            f"the packages that {remote.home} has"
        ) from error
    if remote.probe_sample is not None:
        try:
            source.probe(remote.probe_sample)
        except Exception as error:
            raise WorkerError(
                f"{here} on {platform.node()}: cannot read {source.names(remote.probe_sample)[0]}, "
                f"which {remote.home} can ({error}); the source must be at the same path on every "
                "worker"
            ) from error
    return source
