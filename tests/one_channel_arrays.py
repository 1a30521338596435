"""Arrays of a store of binary masks, depths without a channel axis and weights of pixels."""

from __future__ import annotations

import numpy as np

COUNT, SIZE = 16, (8, 8)  # quadratic: all products of losses and weights broadcast
_RANDOM = np.random.default_rng(0)
ARRAYS = {
    "image": _RANDOM.integers(0, 256, (COUNT, *SIZE, 3), np.uint8),
    "mask": _RANDOM.integers(0, 2, (COUNT, *SIZE), np.uint8),
    "depth": _RANDOM.random((COUNT, *SIZE), np.float32),
    "weight": _RANDOM.integers(0, 6, (COUNT, *SIZE)).astype(np.float32),
    "one": np.ones((COUNT, *SIZE), np.float32),
}
