"""Models that tests and their processes have in common."""

from __future__ import annotations

import numpy as np


class Bright:
    """A model whose scores are a pixel's brightness; it may stop before some batch."""

    def __init__(self, level: int = 1, stop_before: int | None = None) -> None:
        self.level = level
        self._left = stop_before

    # By these it is told from others, and not by what it counts.
    def get_config(self):
        return {"level": self.level}

    def get_weights(self):
        return []

    def predict_on_batch(self, x):
        if self._left is not None:
            if not self._left:
                raise RuntimeError("stopped")
            self._left -= 1
        found = x[..., 0].astype(np.float32) / 255
        return np.stack([1 - found, self.level * found], -1)
