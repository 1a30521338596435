"""What is measured, and for how long: plain values that :mod:`compare.run` goes by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compare.peer import Level
    from compare.rows import Row
    from compare.workloads import Workload


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure.

    Attributes
    ----------
    rounds
        In each, every peer takes a turn in a process of its own.
    seconds
        Of a turn, after the epoch that warms up, at least.
    longest
        Seconds after which an epoch is broken off.
    sweep_seconds
        Of each setting of a sweep; 0 for no sweep, but the most promising setting.
    settings
        Of a sweep, the most promising ones; None for all.
    timeout
        Seconds that one process may take.
    nearest
        Share of our fastest speed at ``read`` below which a peer is not tried at ``fit``.
    """

    rounds: int
    seconds: float
    longest: float
    sweep_seconds: float
    settings: int | None = None
    timeout: float = 600.0
    nearest: float = 0.0


FULL = Effort(rounds=3, seconds=1.5, longest=6.0, sweep_seconds=0.6)
QUICK = Effort(rounds=1, seconds=0.5, longest=2.0, sweep_seconds=0.0, nearest=0.25)


@dataclass(frozen=True, slots=True)
class Table:
    """What is measured together: at a level, from warm or cold files.

    Attributes
    ----------
    work, level, state
        ``state`` is "warm" or "cold".
    """

    work: Workload
    level: Level
    state: str


def left_out(peer: str, read: Sequence[Row], nearest: float) -> str:
    """Say why a peer is not tried where a batch takes longer than reading it; "" if it is.

    Parameters
    ----------
    peer
        Its name.
    read
        What was found at level ``read``; nothing, if that was not measured.
    nearest
        Of an :class:`Effort`.
    """
    rates = {row.peer: row.batches_per_second or 0.0 for row in read if row.kind == "peer"}
    ours = max((row.batches_per_second or 0.0 for row in read if row.kind == "ours"), default=0.0)
    share = rates[peer] / ours if ours and peer in rates else 1.0
    return f"a quick look: it reads at {share:.0%} of our speed" if share < nearest else ""
