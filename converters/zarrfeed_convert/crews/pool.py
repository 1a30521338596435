"""How do processes of this machine do the work of a crew?"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import WorkerError
from zarrfeed_convert.crews.work import Item, Local, Progress, Result, Task, Tick, Work
from zarrfeed_convert.failures import Failed, Failures, OnError, SamplesError
from zarrfeed_convert.shards.shard_file import single_threaded_blosc

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from zarrfeed_convert.source import Source

_LOOK_EVERY_S = 0.1
_BLAS_THREADS = "OPENBLAS_NUM_THREADS"


class _Stopped(Exception):  # noqa: N818 (an order, not a mistake)
    """Another task failed: this one's work is not needed."""


class Pool(Local):
    """A crew of processes.

    By ``spawn``: forks of a process that runs threads (TensorFlow's) may hang.
    """

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
        """Run a task over items; see :class:`zarrfeed_convert.crews.work.Crew`."""
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
            with _held_interrupts(), _one_blas_thread(), _hidden_main(hide=not self._keeps_main):
                for number, item in islice(left, 0 if failed else most - len(under_way)):
                    under_way[self._pool.submit(_perform, task, item)] = number
            if progress is not None:
                progress(self._done.value)
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
        self._failures.add(sorted(failed))

    def close(self) -> None:
        """End the tasks that run, and the processes."""
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
def _one_blas_thread() -> Iterator[None]:
    """Let processes start without threads of BLAS: they are the parallelism themselves.

    On two busy cores, NumPy is then imported in 115 ms instead of 174.
    """
    before = os.environ.get(_BLAS_THREADS)
    os.environ.setdefault(_BLAS_THREADS, "1")
    try:
        yield
    finally:
        if before is None:
            del os.environ[_BLAS_THREADS]


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
_for_good = ExitStack()  # what is left only when the process ends


def _begin(source: Source, on_error: OnError, done: Any, stop: Any) -> None:
    """Set a process up: it ends with its parent, and leaves Ctrl-C to it."""
    global _here
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _for_good.enter_context(single_threaded_blosc())

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
