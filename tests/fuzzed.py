"""Trials that test the fuzzing driver itself."""

from __future__ import annotations

import ctypes
import time
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import random
    from pathlib import Path


class Faulty:
    """Every kind of finding, and honest trials between them."""

    def __init__(self, folder: Path) -> None:
        """Nothing to prepare."""

    def __call__(self, rng: random.Random, folder: Path) -> int:
        kind = rng.randrange(6)
        (folder / "input").write_bytes(rng.randbytes(10))
        if kind == 1:
            raise KeyError("not ours")
        if kind == 2:
            ctypes.string_at(0)
        if kind == 3:
            time.sleep(3600)
        if kind == 4:
            np.ones(330 << 20, np.uint8)
        if kind == 5:
            np.ones(330 << 20, np.uint8)
            return 100 << 20
        return 100
