"""Who does the work: this process, some processes beside it, or a Dask cluster?

A task is a function of the source, its :class:`Work` and an item. All crews run the same tasks and
give back the same results in the same order, so nothing above can depend on who worked. What failed
comes back beside a task's result; :class:`~zarrfeed_convert.failures.Failures` says what then.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from zarrfeed.errors import SourceError, WorkerError
from zarrfeed_convert.failures import Failed, Failures, Noted, OnError, SamplesError
from zarrfeed_convert.shards.shard_file import single_threaded_blosc
from zarrfeed_convert.source import Source

if TYPE_CHECKING:
    from zarrfeed_convert.crews.dask_crew import DaskCrew

Item = TypeVar("Item")
Result = TypeVar("Result")
# Called by a task after every sample; raises where the work is to stop.
Tick: TypeAlias = Callable[[], None]


class Work(Noted):
    """What a task does besides its result: it tells of every sample, and notes what fails."""

    def __init__(self, source: Source, tick: Tick) -> None:
        super().__init__(source)
        self.tick = tick


Task: TypeAlias = Callable[[Source, Work, Item], Result]
# Called here with the number of samples done so far.
Progress: TypeAlias = Callable[[int], None]

_LOOK_EVERY_S = 0.1


class Crew(Protocol):
    """Runs tasks.

    Attributes
    ----------
    workers
        How many may work at the same time; may be lowered, never raised.
    free_nbytes
        Memory that is free for them; None for what this machine has.
    settle_s
        Seconds that it may take until a file that a task wrote is seen here.
    advice
        Why such a file may never be, in words that end a sentence.
    """

    workers: int
    free_nbytes: int | None
    settle_s: float
    advice: str

    def run(
        self, task: Task[Item, Result], items: Sequence[Item], progress: Progress | None = None
    ) -> list[Result]:
        """Run a task over items; results come in their order, the first error ends all.

        Samples that fail go to the crew's failures. Where they end the conversion, tasks that run
        already come to their end, and the error names what all of them found.
        """
        ...


@contextmanager
def crew_of(
    source: Source, workers: int, failures: Failures, scheduler: str | None = None
) -> Iterator[Crew]:
    """Gather a crew.

    Parameters
    ----------
    source
        What the tasks read; goes to every process once.
    workers
        1 for this process alone.
    failures
        Takes the samples that fail.
    scheduler
        The address of a Dask cluster whose workers do the work instead.
    """
    if workers == 1 and scheduler is None:
        with single_threaded_blosc():
            yield _Alone(source, failures)
        return
    crew: _Pool | DaskCrew
    if scheduler is None:
        crew = _Pool(source, workers, failures)
    else:
        crew = _dask_crew(source, failures, scheduler)
    try:
        yield crew
    finally:
        crew.close()


def _dask_crew(source: Source, failures: Failures, scheduler: str) -> DaskCrew:
    try:
        from zarrfeed_convert.crews.dask_crew import DaskCrew
    except ImportError as error:
        raise SourceError(
            f"scheduler: needs the package {error.name}, which is not installed: "
            "pip install 'zarrfeed[dask]'"
        ) from error
    return DaskCrew(source, failures, scheduler)


class _Local:
    """On this machine."""

    free_nbytes: int | None = None
    settle_s = 0.0
    advice = "does something else change the folder?"


class _Alone(_Local):
    def __init__(self, source: Source, failures: Failures) -> None:
        self.workers = 1
        self._source = source
        self._failures = failures

    def run(
        self, task: Task[Item, Result], items: Sequence[Item], progress: Progress | None = None
    ) -> list[Result]:
        done = 0

        def tick() -> None:
            nonlocal done
            done += 1
            if progress is not None:
                progress(done)

        results = []
        for item in items:
            work = Work(self._source, tick)
            results.append(task(self._source, work, item))
            self._failures.add(work.found)
        return results


class _Stopped(Exception):  # noqa: N818 (an order, not a mistake)
    """Another task failed: this one's work is not needed."""


class _Pool(_Local):
    """Processes by ``spawn``: forks of a process that runs threads (TensorFlow's) may hang."""

    def __init__(self, source: Source, workers: int, failures: Failures) -> None:
        context = multiprocessing.get_context("spawn")
        self._done = context.Value("q", 0)
        self._stop = context.Event()
        self._keeps_main = type(source).__module__ == "__main__"
        self.workers = self._processes = workers
        self._pool = ProcessPoolExecutor(
            workers,
            context,
            initializer=_begin,
            initargs=(source, failures.on_error, self._done, self._stop),
        )
        self._failures = failures

    def run(
        self, task: Task[Item, Result], items: Sequence[Item], progress: Progress | None = None
    ) -> list[Result]:
        self._done.value = 0
        results: dict[int, tuple[Result, list[Failed]]] = {}
        try:
            self._work(task, items, results, progress)
        except BrokenProcessPool as error:
            raise WorkerError(
                "a packing process died without a word, most likely because memory ran out; "
                "try again with fewer workers (--workers)"
            ) from error
        except BaseException:
            self.close()  # whoever cleans up must find nobody still writing
            raise
        for number in range(len(items)):
            self._failures.add(results[number][1])
        return [results[number][0] for number in range(len(items))]

    def _work(
        self,
        task: Task[Item, Result],
        items: Sequence[Item],
        results: dict[int, tuple[Result, list[Failed]]],
        progress: Progress | None,
    ) -> None:
        """Keep the processes busy: where none is held back, a task waits for each."""
        most = self.workers if self.workers < self._processes else 2 * self.workers
        left = iter(enumerate(items))
        under_way: dict[Future[Any], int] = {}
        failed: list[Failed] = []
        while True:
            with _held_interrupts(), _hidden_main(hide=not self._keeps_main):
                for number, item in islice(left, 0 if failed else most - len(under_way)):
                    under_way[self._pool.submit(_perform, task, item)] = number
            if not under_way:
                break
            finished, _ = wait(under_way, _LOOK_EVERY_S, FIRST_COMPLETED)
            for future in finished:
                number = under_way.pop(future)
                found = _failed_samples(future)
                failed += found
                if not found:
                    results[number] = future.result()
            if failed:
                for future in [future for future in under_way if future.cancel()]:
                    del under_way[future]
            if progress is not None:
                progress(self._done.value)
        if failed:
            raise SamplesError(sorted(failed))

    def close(self) -> None:
        self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)


def _failed_samples(future: Future[Any]) -> tuple[Failed, ...]:
    try:
        future.result()
    except SamplesError as errors:
        return errors.found
    return ()


@contextmanager
def _held_interrupts() -> Iterator[None]:
    """Let processes start with Ctrl-C blocked, until they ignore it: else one prints a traceback.

    They inherit the mask of the thread that starts them; here, a Ctrl-C comes as the block ends.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _hidden_main(*, hide: bool) -> Iterator[None]:
    """Let processes start without the user's ``__main__``.

    ``spawn`` imports it again in every process: a training script would train again, and the
    command would load its own front end. Only a source that is defined there needs it.
    """
    main = sys.modules["__main__"]
    names = [name for name in ("__spec__", "__file__") if hide and hasattr(main, name)]
    kept = {name: getattr(main, name) for name in names}
    for name in names:
        setattr(main, name, None)
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(main, name, value)


# -- In a process of the pool ---------------------------------------------------------------------

_here: tuple[Source, OnError, Tick] | None = None


def _begin(source: Source, on_error: OnError, done: Any, stop: Any) -> None:
    """Set a process up: it ends with its parent, and leaves Ctrl-C to it."""
    global _here
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    single_threaded_blosc().__enter__()

    def tick() -> None:
        if stop.is_set():
            raise _Stopped
        with done.get_lock():
            done.value += 1

    _here = source, on_error, tick


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _perform(task: Task[Item, Result], item: Item) -> tuple[Result, list[Failed]]:
    assert _here is not None
    source, on_error, tick = _here
    work = Work(source, tick)
    result = task(source, work, item)
    if work.found and on_error == "stop":
        raise SamplesError(work.found)
    return result, work.found
