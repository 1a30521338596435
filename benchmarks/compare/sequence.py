"""A plain Keras ``Sequence``, as people write it, over whatever reads batches."""

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
    """Shuffles at the end of an epoch; leaves threads and processes to Keras.

    Parameters
    ----------
    work
        What is read.
    read
        From sample ids, (batch_size,), to a batch.
    workers, processes
        How many workers Keras starts, and whether they are processes.
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
        """Shuffle anew."""
        self._epoch += 1
        self._order = shuffled(self._work, self._epoch)
