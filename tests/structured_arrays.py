"""Arrays of a store with more than images and masks; each of them tells its sample."""

from __future__ import annotations

import numpy as np

from stores import Pixels, traced_pixels


def _arrays(samples: int) -> Pixels:
    ids = np.arange(samples)
    depth = ids[:, None, None, None] / 8 + np.arange(48).reshape(8, 6, 1) / 64
    border = 1 + (ids[:, None, None] + np.arange(48).reshape(8, 6)) % 5
    return {
        **traced_pixels(samples),
        "depth": depth.astype(np.float32),
        "border": border.astype(np.float32),
    }


# image (8, 6, 3) uint8, mask (8, 6) uint8, depth (8, 6, 1) float32, border (8, 6) float32
ARRAYS = _arrays(22)
