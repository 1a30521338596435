"""What do the ids of any batch cost among 10^9 samples and 1,024 ranks?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import children
from growth.fresh import RANKS, VARIANTS
from growth.row import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNITS = {"peak memory": "MB"}


def billion(*, quick: bool) -> Iterator[Row]:
    """Ask for batches at random, each variant in a new process."""
    for variant in VARIANTS:
        turns = [children.run("growth/fresh.py", "share", variant)[0] for _ in range(2 - quick)]
        for what in turns[0]:
            yield Row.of(
                [turn[what] for turn in turns], question="billion", variant=variant, what=what,
                against="ranks", at=RANKS, unit=_UNITS.get(what, "µs"),
            )  # fmt: skip
