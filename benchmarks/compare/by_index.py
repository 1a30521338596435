"""Loaders that read any batch by its sample ids, in an order that this module determines."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from compare.peer import Batch, Loader, Setting, shuffled

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from compare.workloads import Workload

_AHEAD = 2  # batches under way for each thread


class ByIndex(Loader):
    """Reads batches in a shuffled order, some ahead in threads, as a Keras ``Sequence`` would.

    Parameters
    ----------
    work
        The samples to feed.
    setting
        ``workers``: number of threads (or processes, in ``fit``) that read ahead; 0 for none.
        ``processes``: whether they are processes, which Keras forks.
    """

    def __init__(self, work: Workload, setting: Setting) -> None:
        super().__init__(work)
        self.workers = int(setting.get("workers", 0))
        self.processes = bool(setting.get("processes", False))
        self._pool = ThreadPoolExecutor(self.workers) if self.workers else None

    @abstractmethod
    def read(self, ids: np.ndarray) -> Batch:
        """Read the samples with the (batch_size,) ids, into any memory."""

    def epoch(self, number: int) -> Iterator[Batch]:
        """Read one epoch."""
        order = shuffled(self.work, number)
        if self._pool is None:
            yield from map(self.read, order)
            return
        ahead: deque[Future[Batch]] = deque()
        for ids in order:
            ahead.append(self._pool.submit(self.read, ids))
            if len(ahead) > _AHEAD * self.workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()

    def keras(self) -> Any:
        """Return a Keras ``Sequence`` that reads the same batches with Keras' own workers."""
        from compare.sequence import PlainSequence

        return PlainSequence(self.work, self.read, workers=self.workers, processes=self.processes)

    def close(self) -> None:
        """Stop the threads."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
