"""Who does the work: this process, some processes beside it, or a Dask cluster?"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError, how_to_install
from zarrfeed_convert.executors.process_pool import Pool
from zarrfeed_convert.executors.work import Executor, Item, Local, Progress, Result, Task, Work
from zarrfeed_convert.shards.shard_file import single_threaded_blosc
from zarrfeed_convert.supervision.board import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from zarrfeed_convert.executors.dask_executor import DaskExecutor
    from zarrfeed_convert.failures import Failures
    from zarrfeed_convert.source import Source


def cores() -> int:
    """Count the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def require_executor(
    workers: int | None, scheduler: str | None = None, *, read_timeout: float = PATIENCE_S
) -> None:
    """Refuse what nobody could work by; arguments as :func:`executor_of` takes them.

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


@contextmanager
def executor_of(
    source: Source,
    workers: int | None,
    failures: Failures,
    scheduler: str | None = None,
    read_timeout: float = PATIENCE_S,
) -> Iterator[Executor]:
    """Gather an executor.

    Parameters
    ----------
    source
        What the tasks read; goes to every process once.
    workers
        1 for this process alone, None for as many others as there are cores.
    failures
        Takes the samples that fail.
    scheduler
        The address of a Dask cluster whose workers do the work instead.
    read_timeout
        Seconds that something may take to be read, besides what its size allows.
    """
    if workers == 1 and scheduler is None:
        with single_threaded_blosc():
            yield SerialExecutor(source, failures)
        return
    executor: Pool | DaskExecutor
    if scheduler is None:
        executor = Pool(source, workers or cores(), failures, read_timeout)
    else:
        executor = _dask_executor(source, failures, scheduler, read_timeout)
    try:
        yield executor
    finally:
        executor.close()


def _dask_executor(
    source: Source, failures: Failures, scheduler: str, read_timeout: float
) -> DaskExecutor:
    try:
        from zarrfeed_convert.executors.dask_executor import DaskExecutor
    except ImportError as error:
        raise SourceError(
            f"scheduler: needs the package {error.name}, which is not installed: "
            f"{how_to_install('dask')}"
        ) from error
    return DaskExecutor(source, failures, scheduler, read_timeout)


class SerialExecutor(Local):
    """Runs tasks in this process, one after the other."""

    def __init__(self, source: Source, failures: Failures) -> None:
        self.workers = 1
        self._source = source
        self._failures = failures

    def run(
        self, task: Task[Item, Result], items: Sequence[Item], progress: Progress | None = None
    ) -> list[Result]:
        """Run a task on every item, in order."""
        done = 0

        def tick() -> None:
            nonlocal done
            done += 1
            if progress is not None:
                progress(done)

        if progress is not None:
            progress(0)
        results = []
        for item in items:
            work = Work(self._source, tick)
            results.append(task(self._source, work, item))
            self._failures.add(work.found, cause=work.cause)
        return results
