"""What to measure, and for how long: plain values for :mod:`compare.run`."""

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
        Number of rounds, in each of which every peer takes a turn in its own process.
    seconds
        Least duration of a turn, after the warm-up epoch.
    longest
        Seconds after which an epoch is stopped.
    sweep_seconds
        Duration of each setting of a sweep; 0 to use the most promising setting without a sweep.
    settings
        Number of the most promising settings to sweep; None for all.
    timeout
        Time limit of one process in seconds.
    nearest
        Share of zarrfeed's fastest speed at ``read`` below which a peer is not measured at ``fit``.
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
    """What is measured together.

    Attributes
    ----------
    work, level, state
        The workload, the level, and "warm" or "cold" files.
    """

    work: Workload
    level: Level
    state: str


def skip_reason(peer: str, read: Sequence[Row], nearest: float) -> str:
    """Return why a peer is not measured at levels other than ``read``; "" if it is.

    Parameters
    ----------
    peer
        Name of the peer.
    read
        Results at level ``read``; empty if that was not measured.
    nearest
        See :class:`Effort`.
    """
    rates = {row.peer: row.batches_per_second or 0.0 for row in read if row.kind == "peer"}
    ours = max((row.batches_per_second or 0.0 for row in read if row.kind == "ours"), default=0.0)
    share = rates[peer] / ours if ours and peer in rates else 1.0
    if share >= nearest:
        return ""
    return f"skipped in a quick run: it reads at {share:.0%} of zarrfeed's speed"
