"""A plain Keras ``Sequence``, as users write it, over a function that reads batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from compare.peer import shuffled

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from compare.peer import Batch
    from compare.workloads import Workload


class PlainSequence(keras.utils.Sequence):
    """Shuffles at the end of an epoch, and leaves threads and processes to Keras.

    Parameters
    ----------
    work
        The workload.
    read
        Function from (batch_size,) sample ids to a batch.
    workers, processes
        Number of workers that Keras starts, and whether they are processes.
    """

    def __init__(
        self,
        work: Workload,
        read: Callable[[np.ndarray], Batch],
        *,
        workers: int,
        processes: bool,
    ) -> None:
        super().__init__(workers=max(1, workers), use_multiprocessing=processes, max_queue_size=10)
        self._work = work
        self._read = read
        self._epoch = 0
        self._order = shuffled(work, 0)

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self._read(self._order[index])

    def on_epoch_end(self) -> None:
        """Shuffle again."""
        self._epoch += 1
        self._order = shuffled(self._work, self._epoch)
