"""What limited an epoch, in one line for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zarrfeed.stats import EpochStats

# Below this share of waiting, faster input would not be noticed.
_NOTICED = 0.05


def epoch_line(epoch: int, *, steps: int, seconds: float, waited: float, stats: EpochStats) -> str:
    """Say how fast an epoch was, how long the model waited, and for what.

    Parameters
    ----------
    epoch
        From 0 on, as in Keras; the line counts from 1, as Keras' own does.
    steps
        Batches trained on.
    seconds
        That this took.
    waited
        Seconds of these in which the model waited for a batch.
    stats
        What the workers did.

    Examples
    --------
    >>> from zarrfeed.stats import EpochStats
    >>> stats = EpochStats(0, 100, 800, 10**9, 10.0, 8.0, 1.0, 2.0, 15.0, 2.0, 10**9)
    >>> epoch_line(0, steps=100, seconds=10.0, waited=4.0, stats=stats)
    'epoch 1: 10 batches/s, model waited 40% of the time: input is the limit (workers: read 5%,
    decode 10%, transform 75%, idle 10%)'
    """
    share = waited / seconds if seconds else 0.0
    line = (
        f"epoch {epoch + 1}: {steps / seconds:.4g} batches/s, model waited {share:.0%} of the time"
    )
    if share < _NOTICED:
        return f"{line}: compute is the limit"
    return f"{line}: input is the limit ({_what_the_workers_did(stats)})"


def _what_the_workers_did(stats: EpochStats) -> str:
    parts = {
        "read": stats.read,
        "decode": stats.decoded,
        "transform": stats.transformed,
        "idle": stats.idle,
    }
    total = sum(parts.values()) or 1.0
    shares = ", ".join(f"{name} {part / total:.0%}" for name, part in parts.items())
    return f"workers: {shares}"
