"""Seeds for tests of chance: `make chaos SEED=… SECONDS=…` tries others, and many more."""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = int(os.environ.get("SEED", "0"))
SECONDS = float(os.environ.get("SECONDS", "600"))  # of all tests together
TESTS = 5


def chances(name: str) -> Iterator[random.Random]:
    """Give one source of chance after another, until this test's share of the time has passed."""
    deadline, seed = time.monotonic() + SECONDS / TESTS, SEED
    while time.monotonic() < deadline:
        print(f"{name}: SEED={seed}", flush=True)  # of one that fails, the last line
        yield random.Random(seed)
        seed += 1
    print(f"{name}: {seed - SEED} runs, none was wrong")
