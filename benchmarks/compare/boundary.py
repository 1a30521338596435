"""How long does every single batch take around the end of an epoch?"""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

from compare.measuring import touch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compare.peer import Loader


def reading(loader: Loader, around: int) -> list[float]:
    """Read an epoch that warms up, all of the next, and the beginning of the third.

    Parameters
    ----------
    loader
        Just opened.
    around
        Batches before the boundary, and after it.

    Returns
    -------
    (2 * around,) milliseconds
        From the end of the batch before to the end of this one, every byte of it read.
    """
    for batch in loader.epoch(0):
        touch(batch)
    ends: list[list[float]] = []
    for number in (1, 2):
        ends.append([])
        batches = loader.epoch(number)
        for batch in batches:
            touch(batch)
            ends[-1].append(time.perf_counter())
            del batch  # a loader that reuses memory must be able to
            if number == 2 and len(ends[-1]) == around:
                break
    return spent_around(*ends, around=around)


def fitting(data: Any, around: int) -> list[float]:
    """Do the same in Keras' ``fit`` of a model that does nothing: a batch is a step."""
    import keras

    from compare.no_op import Nothing

    class Steps(keras.callbacks.Callback):
        """Notes when every step of every epoch ended."""

        def __init__(self) -> None:
            super().__init__()
            self.ends: list[list[float]] = []

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
            """Begin a list."""
            self.ends.append([])

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
            """Note the time."""
            self.ends[-1].append(time.perf_counter())

    model, steps = Nothing(), Steps()
    model.compile(jit_compile=False)
    model.fit(data, epochs=4, verbose=0, callbacks=[steps], shuffle=False)
    return spent_around(*steps.ends[2:], around=around)


def spent_around(before: Sequence[float], after: Sequence[float], *, around: int) -> list[float]:
    """Take the differences of the times at which batches ended, around a boundary.

    Parameters
    ----------
    before, after
        Seconds at which the batches of two epochs ended; more than `around` of the first, at least
        as many of the second.
    around
        Batches of each that are wanted.

    Returns
    -------
    (2 * around,) milliseconds

    Raises
    ------
    ValueError
        There are not as many.
    """
    if len(before) <= around or len(after) < around:
        raise ValueError(
            f"needs more than {around} batches in the epoch before the boundary and {around} after "
            f"it, there were {len(before)} and {len(after)}"
        )
    ends = [*before[-around - 1 :], *after[:around]]
    return [1e3 * (end - start) for start, end in itertools.pairwise(ends)]
