"""How many batches a second does a loader deliver, and does a model train on?"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import keras

if TYPE_CHECKING:
    from zarrfeed import ZarrSequence


class Clock:
    """Measures training time without validation, from batch to batch."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._epoch = 0
        self._seconds: list[tuple[int, float]] = []

    def callback(self) -> keras.callbacks.Callback:
        """Return the callback that measures."""
        return keras.callbacks.LambdaCallback(
            on_epoch_begin=self._begin_epoch, on_train_batch_end=self._end_batch
        )

    def batches_per_second(self) -> float:
        """Return the rate after the first epoch, which compiles, or that of the only epoch."""
        later = [seconds for epoch, seconds in self._seconds if epoch > 0]
        times = later or [seconds for _, seconds in self._seconds]
        return len(times) / sum(times) if times else float("nan")

    def _begin_epoch(self, epoch: int, *_: object, **__: object) -> None:
        self._epoch, self._last = epoch, None

    def _end_batch(self, *_: object, **__: object) -> None:
        now = time.perf_counter()
        if self._last is not None:
            self._seconds.append((self._epoch, now - self._last))
        self._last = now


def measure_feed(train: ZarrSequence) -> float:
    """Return batches per second, measured for at least a second after a first pass."""
    epoch = train.epoch
    for _ in train:
        pass
    batches, start = 0, time.perf_counter()
    while (seconds := time.perf_counter() - start) < 1:
        for _ in train:
            batches += 1
    train.set_epoch(epoch)
    return batches / seconds
