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
    """Time the batches around the boundary between the second and the third epoch.

    Parameters
    ----------
    loader
        A loader that was just opened.
    around
        Number of batches before the boundary, and after it.

    Returns
    -------
    (2 * around,) milliseconds
        Time from the end of the previous batch to the end of this one, including the reading of
        every byte.
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
            del batch  # lets the loader reuse its memory
            if number == 2 and len(ends[-1]) == around:
                break
    return spent_around(*ends, around=around)


def fitting(data: Any, around: int) -> list[float]:
    """Time the steps around an epoch boundary in Keras' ``fit`` of a model that does nothing."""
    import keras

    from compare.no_op import NoOpModel

    class Steps(keras.callbacks.Callback):
        """Records the time at which every step of every epoch ends."""

        def __init__(self) -> None:
            super().__init__()
            self.ends: list[list[float]] = []

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
            """Start a list."""
            self.ends.append([])

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
            """Record the time."""
            self.ends[-1].append(time.perf_counter())

    model, steps = NoOpModel(), Steps()
    model.compile(jit_compile=False)
    model.fit(data, epochs=4, verbose=0, callbacks=[steps], shuffle=False)
    return spent_around(*steps.ends[2:], around=around)


def spent_around(before: Sequence[float], after: Sequence[float], *, around: int) -> list[float]:
    """Return the durations of the batches around a boundary.

    Parameters
    ----------
    before, after
        Times in seconds at which the batches of two epochs ended: more than `around` of the first
        epoch, and at least `around` of the second.
    around
        Number of batches before the boundary, and after it.

    Returns
    -------
    (2 * around,) milliseconds

    Raises
    ------
    ValueError
        There are too few batches.
    """
    if len(before) <= around or len(after) < around:
        raise ValueError(
            f"needed more than {around} batches in the epoch before the boundary and {around} "
            f"after it, found {len(before)} and {len(after)}"
        )
    ends = [*before[-around - 1 :], *after[:around]]
    return [1e3 * (end - start) for start, end in itertools.pairwise(ends)]
