"""Which executor runs the tasks: this process, other processes, or a Dask cluster?"""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import SourceError, how_to_install, look_up
from zarrfeed_convert.arguments import require_seconds, require_whole
from zarrfeed_convert.executors.executor import (
    Executor,
    Outcome,
    Progress,
    Task,
    TaskRun,
    single_threaded_blosc,
)
from zarrfeed_convert.executors.process_executor import ProcessExecutor
from zarrfeed_convert.supervision.board import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed_convert.failures import Failures


def cores() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def require_executor(
    workers: int | None, scheduler: str | None = None, *, read_timeout: float = PATIENCE_S
) -> None:
    """Check the arguments of :func:`executor_of`.

    Raises
    ------
    SourceError
        A number is out of range, or both `workers` and `scheduler` are given.
    """
    require_whole("workers", workers, least=1)
    if workers is not None and scheduler is not None:
        raise SourceError(
            f"workers: needed only one of workers and scheduler, found {workers} workers of this "
            f"machine and the cluster of {scheduler}; leave out one of them"
        )
    require_seconds("read_timeout", read_timeout)


def executor_of(
    context: object,
    workers: int | None,
    failures: Failures,
    scheduler: str | None = None,
    read_timeout: float = PATIENCE_S,
) -> closing[Executor]:
    """Start an executor, for use in a ``with`` statement.

    Parameters
    ----------
    context
        Object that all tasks share, such as a source. It is sent to every process once.
    workers
        Number of processes. 1 uses this process; None uses as many processes as there are cores.
    failures
        Collects the samples that fail.
    scheduler
        Address of the scheduler of a Dask cluster, whose workers then run the tasks.
    read_timeout
        Maximum time to read one sample, in seconds; large files have more.

    Raises
    ------
    SourceError
        `scheduler` is given, but Dask is not installed or there is no scheduler at this address.
    WorkerError
        The Dask cluster does not respond or has another version of zarrfeed.
    """
    if scheduler is not None:
        return closing(_dask_executor(context, failures, scheduler, read_timeout))
    if workers == 1:
        return closing(SerialExecutor(context, failures))
    return closing(ProcessExecutor(context, workers or cores(), failures, read_timeout))


def _dask_executor(
    context: object, failures: Failures, scheduler: str, read_timeout: float
) -> Executor:
    try:
        from zarrfeed_convert.executors.dask_executor import DaskExecutor
    except ImportError as error:
        raise SourceError(
            f"scheduler: needs the package {error.name}, which is not installed: "
            f"{how_to_install('dask')}"
            f"{look_up('missing-package')}"
        ) from error
    return DaskExecutor(context, failures, scheduler, read_timeout)


class SerialExecutor(Executor):
    """Runs tasks in this process, one after the other."""

    def __init__(self, context: object, failures: Failures) -> None:
        super().__init__(1, failures)
        self._context = context

    def _run(
        self,
        task: Task[Any, Any],
        items: Sequence[Any],
        done: dict[int, Outcome],
        progress: Progress,
    ) -> None:
        ticks = 0

        def after_sample() -> None:
            nonlocal ticks
            ticks += 1
            progress(ticks)

        progress(0)
        with single_threaded_blosc():
            for number, item in enumerate(items):
                run = TaskRun(self._context, after_sample)
                done[number] = Outcome(task(run, item), run.failed, run.ticks, run.cause)
                if self._ends_it(done[number]):
                    break
