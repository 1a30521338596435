"""How does a Dask cluster run tasks?

The context is sent to the cluster once, as the result of a task on which all others depend. Dask
copies it to every worker, and recreates it if all workers that had it have died. When a worker
dies, Dask repeats the tasks that it was running on another one.

No task writes after a run has ended: its tasks are cancelled, each task checks after every sample
whether it is still wanted, and the run waits until no task is running. The same check ends the
tasks of a run that was killed, and of a worker that has lost the scheduler. A lost worker may still
write a file, but under a temporary name. The next run removes it, so that it cannot replace a
shard.
"""

from __future__ import annotations

import time
import uuid
from itertools import islice
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import dask.config
import numpy as np
from distributed import KilledWorker, Reschedule, Status, get_worker

from zarrfeed.errors import SourceError, WorkerError, look_up
from zarrfeed_convert.executors import remote_task
from zarrfeed_convert.executors.dask_cluster import Cluster
from zarrfeed_convert.executors.executor import Executor, Outcome
from zarrfeed_convert.source import Source
from zarrfeed_convert.sources.read_errors import resolved

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from distributed import Future

    from zarrfeed_convert.executors.executor import Progress, Task
    from zarrfeed_convert.executors.remote_task import RemoteTask
    from zarrfeed_convert.failures import Failed, Failures

_LOOK_EVERY_S = 0.1


class DaskExecutor(Executor):
    """Runs tasks on the workers of a Dask cluster.

    Parameters
    ----------
    context
        Object that all tasks share, such as a source.
    failures
        Collects the samples that fail.
    address
        Address of the scheduler, such as ``tcp://10.0.0.1:8786``.
    read_timeout
        Maximum time to read one sample, in seconds.

    Attributes
    ----------
    workers
        Number of threads of the cluster that may run tasks.
    free_nbytes
        Bytes of memory that are free for them.

    Raises
    ------
    SourceError
        `address` is not the address of a scheduler.
    WorkerError
        The scheduler does not respond, there is no worker, or one has another version of zarrfeed.
    """

    visible_within_s = 60.0  # NFS shows new files within 30 s, unless it is configured otherwise
    advice = "they must be on a path that all workers share with this machine"

    def __init__(
        self, context: object, failures: Failures, address: str, read_timeout: float
    ) -> None:
        self._context, self._read_timeout = context, read_timeout
        remote, self._places = resolved(context) if isinstance(context, Source) else (context, {})
        self._remote = remote_task.remote_task_of(remote)
        self._cluster = Cluster(address, self._remote.token)
        self._under_way: dict[int, Future[Outcome | None]] = {}
        try:
            self.free_nbytes = self._cluster.admit()
            self._threads = self._cluster.threads()
            super().__init__(self._threads, failures)
            with _large_graphs():
                self._held = self._cluster.client.submit(
                    _held, self._remote, key=f"source-{self._remote.token}"
                )
        except BaseException:
            self.close()
            raise

    def _run(
        self,
        task: Task[Any, Any],
        items: Sequence[Any],
        done: dict[int, Outcome],
        progress: Progress,
    ) -> None:
        outcomes: SimpleQueue[tuple[int, object]] = SimpleQueue()
        left = iter(enumerate(items))
        ending = False
        key = f"{task.__name__}-{uuid.uuid4().hex[:12]}"
        quiet_since = time.monotonic()
        while True:
            if time.monotonic() - quiet_since > self._read_timeout:
                self._require_progress()
                quiet_since = time.monotonic()
            threads = self._cluster.threads()
            if not ending:
                self._submit(task, key, self._next(left, len(items), threads), outcomes)
            progress(sum(outcome.ticks for outcome in done.values()))
            if not self._under_way:
                break
            for number, outcome in _ready(outcomes):
                future = self._under_way.pop(number)
                quiet_since = time.monotonic()
                if isinstance(outcome, BaseException):
                    raise self._explained(outcome, future, items[number])
                if not isinstance(outcome, Outcome):
                    continue  # the task was not started
                done[number] = outcome._replace(failed=[*map(self._as_given, outcome.failed)])
                if self._ends_it(outcome) and not ending:
                    self._cluster.ask_workers(remote_task.begin_no_more, self._remote.token)
                    ending = True

    def _as_given(self, failed: Failed) -> Failed:
        """Name files by the paths that the user gave, instead of the absolute ones of workers."""
        return failed._replace(name=self._shortened(failed.name), why=self._shortened(failed.why))

    def _shortened(self, text: str) -> str:
        for whole, place in self._places.items():
            text = text.replace(whole, place)
        return text

    def _next(
        self, left: Iterator[tuple[int, Any]], count: int, threads: int
    ) -> list[tuple[int, Any]]:
        """Return the tasks to submit next: all, for Dask to scale up, unless memory is short."""
        most = count
        if self.workers < self._threads:  # their memory limits the number of tasks
            most = max(1, threads * self.workers // self._threads)
        return list(islice(left, max(0, most - len(self._under_way))))

    def _submit(
        self,
        task: Task[Any, Any],
        key: str,
        numbered: list[tuple[int, Any]],
        outcomes: SimpleQueue[tuple[int, object]],
    ) -> None:
        if not numbered:
            return
        client = self._cluster.client
        with _large_graphs():
            futures = client.map(
                _perform,
                [item for _, item in numbered],
                key=[f"{key}-{number}" for number, _ in numbered],
                held=self._held,
                task=task,
            )

        async def follow(number: int, future: Future[Outcome | None]) -> None:
            outcome: object
            try:
                outcome = await future
            except BaseException as error:
                outcome = error
            outcomes.put((number, outcome))

        for (number, _), future in zip(numbered, futures, strict=True):
            self._under_way[number] = future
            client.loop.add_callback(follow, number, future)

    def _require_progress(self) -> None:
        """Check that no worker has been reading one sample for longer than the read timeout.

        Raises
        ------
        SourceError
            A worker has. The message names the sample and the worker.
        """
        answers = self._cluster.ask_workers(remote_task.longest_reading, self._remote.token)
        for worker, answer in answers.items():
            name, seconds = answer if isinstance(answer, tuple) else ("", 0.0)
            if seconds > self._read_timeout:
                raise SourceError(
                    f"{self._shortened(name)}: reading it did not end within {seconds:.0f} s on "
                    f"{worker}; it may be damaged: restore it, or take it out, and restart that "
                    f"worker; for a slow disk, use --read-timeout {4 * self._read_timeout:g}"
                    f"{look_up('read-timeout')}"
                )

    def _explained(self, error: BaseException, future: Future[Any], item: object) -> BaseException:
        if isinstance(error, KilledWorker):
            return WorkerError(
                f"{self._cluster.address}: {error.allowed_failures + 1} workers died over one "
                f"task{self._samples_of(item)}, the last at {error.last_worker.address}, most "
                "likely because memory ran out; give each more memory, or fewer threads (dask "
                "worker --nthreads 1)"
            )
        return error if future.status == "error" else self._cluster.lost(error)

    def _samples_of(self, item: object) -> str:
        """Name the samples of a task, one of which may have caused its failure."""
        found: Iterable[int] = item if isinstance(item, range | list) else ()
        # A shard has rows, whose `item` numbers the samples of the source.
        rows = getattr(getattr(item, "shard", item), "rows", None)
        for part in item if isinstance(item, tuple) else (rows,):
            items = getattr(part, "item", None)
            if isinstance(items, np.ndarray):
                found = items.tolist()
        samples = sorted(set(found))
        if not samples or not isinstance(self._context, Source):
            return ""
        first, last = (self._context.names(sample)[0] for sample in (samples[0], samples[-1]))
        return f" ({len(samples)} samples, from {first} to {last})"

    def _abandon(self, error: BaseException) -> None:
        """Cancel running tasks and wait until they have ended; add a note if that is unknown."""
        futures = list(self._under_way.values())
        self._under_way.clear()
        try:
            if futures:
                self._cluster.stop(futures)
        except WorkerError as untold:
            why = "" if isinstance(error, WorkerError) else f": {untold}"
            error.add_note(f"tasks may still be running on the cluster for a while{why}")

    def close(self) -> None:
        """Disconnect from the cluster."""
        self._cluster.close()


def _ready(outcomes: SimpleQueue[tuple[int, object]]) -> Iterator[tuple[int, object]]:
    """Wait up to 0.1 s for a task to end, and yield all that have ended."""
    try:
        yield outcomes.get(timeout=_LOOK_EVERY_S)
        while True:
            yield outcomes.get_nowait()
    except Empty:
        return


def _large_graphs() -> Any:
    """Raise the size at which Dask warns of large graphs: long lists of paths are no problem."""
    return dask.config.set({"distributed.admin.large-graph-warning-threshold": "4GiB"})


# -- In a Dask worker -----------------------------------------------------------------------------


def _held(remote: RemoteTask) -> RemoteTask:
    return remote


def _perform(item: Any, *, held: RemoteTask, task: Task[Any, Any]) -> Outcome | None:
    worker = get_worker()
    key = worker.get_current_task()

    def require_wanted() -> None:
        state = worker.state.tasks.get(key)
        has_it_to_do = state is not None and state.state in ("executing", "long-running")
        if not has_it_to_do or worker.status in (Status.closing, Status.closed, Status.failed):
            raise Reschedule  # the task was cancelled, or given to another worker

    return remote_task.perform(held, task, item, require_wanted, dask_worker=worker)
