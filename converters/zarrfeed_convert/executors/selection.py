"""Which executor runs the tasks: this process, other processes, or a Dask cluster?"""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import SourceError, how_to_install
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
    """Count the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def require_executor(
    workers: int | None, scheduler: str | None = None, *, read_timeout: float = PATIENCE_S
) -> None:
    """Check the arguments that choose an executor; see :func:`executor_of`.

    Raises
    ------
    SourceError
        The message says what is needed.
    """
    if workers is not None and workers < 1:
        raise SourceError(f"workers: needed at least 1, found {workers}")
    if workers is not None and scheduler is not None:
        raise SourceError(
            f"workers: are processes of this machine, found {workers} of them and the scheduler "
            f"{scheduler}, whose cluster has workers of its own; leave out one or the other"
        )
    if not read_timeout > 0:
        raise SourceError(f"read_timeout: needed seconds, more than 0, found {read_timeout}")


def executor_of(
    context: object,
    workers: int | None,
    failures: Failures,
    scheduler: str | None = None,
    read_timeout: float = PATIENCE_S,
) -> closing[Executor]:
    """Start an executor, to be used in a ``with`` statement.

    Parameters
    ----------
    context
        What all tasks share, such as a source; goes to every process once.
    workers
        1 for this process alone, None for as many others as there are cores.
    failures
        Takes the samples that fail.
    scheduler
        The address of a Dask cluster whose workers do the work instead.
    read_timeout
        Seconds that reading one thing may take, besides what its size allows.
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
