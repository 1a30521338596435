"""How does the cost of opening a split, up to the first batch, grow with its samples?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import children
from growth.row import Row
from growth.stores import simulate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SAMPLES = (10**3, 10**4, 10**5, 10**6, 10**7, 10**8)


def opening(scratch: Path, *, quick: bool) -> Iterator[Row]:
    """Measure every store and shuffle in a new process per round. The first round is a warm-up."""
    rounds = 2 if quick else 5
    for samples in _SAMPLES:
        split = simulate(scratch / "simulated", samples)
        for shuffle in (True, "block", False):
            arguments = "opening", str(split), json.dumps(shuffle)
            turns = [children.run("growth/fresh.py", *arguments)[0] for _ in range(rounds)][1:]
            for what in turns[0]:
                yield Row.of(
                    [turn[what] for turn in turns], question="opening",
                    variant=f"shuffle={shuffle!r}", what=what, against="samples", at=samples,
                    unit="MB" if "memory" in what else "ms",
                )  # fmt: skip
