"""A callback that records when the epochs of ``fit`` begin."""

from __future__ import annotations

import time
from typing import Any

import keras


class Clock(keras.callbacks.Callback):
    """Records when every epoch begins, and when the last one ends."""

    def __init__(self) -> None:
        super().__init__()
        self.began: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Record the time."""
        self.began.append(time.perf_counter())

    def on_train_end(self, logs: Any = None) -> None:  # noqa: ARG002
        """Record the time."""
        self.began.append(time.perf_counter())
