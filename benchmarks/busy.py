"""A transform that holds the GIL. Its module imports little, because worker processes load it."""

from __future__ import annotations

import time
from typing import Any

SECONDS = 0.002  # per sample


def hold_gil(image: Any, mask: Any, rng: Any) -> tuple[Any, Any]:  # noqa: ARG001
    """Keep Python busy for a while, and return the sample."""
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        pass
    return image, mask
