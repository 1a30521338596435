"""How do the time and memory of an epoch's order grow with the number of samples?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import children
from growth.row import Row
from zarrfeed.order.shuffle import IN_MEMORY

if TYPE_CHECKING:
    from collections.abc import Iterator

_SAMPLES = (10**3, 10**4, 10**5, 10**6, IN_MEMORY, 10**7, 10**8)
_UNITS = {"peak memory": "MB", "the first batch's ids": "ms"}


def orders(*, quick: bool) -> Iterator[Row]:
    """Measure orders that are kept and that are computed, each in a new process."""
    for samples in _SAMPLES:
        for variant, in_memory in (("kept", samples), ("computed", 0)):
            slow = variant == "kept" and samples > IN_MEMORY
            if slow and quick:
                continue
            rounds = 1 if slow or quick else 5
            arguments = "order", str(samples), str(in_memory)
            turns = [children.run("growth/fresh.py", *arguments)[0] for _ in range(rounds)]
            for what in turns[0]:
                yield Row.of(
                    [turn[what] for turn in turns], question="orders", variant=variant, what=what,
                    against="samples", at=samples, unit=_UNITS.get(what, "µs"),
                )  # fmt: skip
