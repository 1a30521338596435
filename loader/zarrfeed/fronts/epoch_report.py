"""What limited the speed of an epoch, and what would help? One line for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed.errors import look_up

if TYPE_CHECKING:
    from zarrfeed.feed.stats import EpochStats

# Below this share of waiting, faster input would hardly make a difference.
_NOTICED = 0.05
# Above this share of busy time, workers are at their limit.
_BUSY = 0.9


def epoch_line(
    epoch: int,
    *,
    steps: int,
    seconds: float,
    waited: float,
    stats: EpochStats,
    workers: int,
    processes: bool,
) -> str:
    """Return a line on how fast an epoch was, how long the model waited, and what would help.

    Parameters
    ----------
    epoch
        Number of the epoch from 0 on, as in Keras' callbacks. The line counts from 1, as Keras'
        progress bar does.
    steps
        Number of batches trained on.
    seconds
        Duration of the epoch.
    waited
        Seconds of these in which the model waited for a batch.
    stats
        Statistics of the workers.
    workers, processes
        Number of workers, and whether they are processes.

    Examples
    --------
    >>> from zarrfeed.feed.stats import EpochStats
    >>> stats = EpochStats(0, 100, 800, 10**9, 10.0, 8.0, 1.0, 2.0, 15.0, 2.0, 10**9)
    >>> epoch_line(
    ...     0, steps=100, seconds=10.0, waited=0.1, stats=stats, workers=2, processes=True
    ... )
    'epoch 1: 10 batches/s, model waited 1% of the time: compute is the limit'
    """
    share = waited / seconds if seconds else 0.0
    rate = f"{steps / seconds:.4g} batches/s"
    line = f"epoch {epoch + 1}: {rate}, model waited {share:.0%} of the time"
    parts = stats.shares
    if share >= _NOTICED:
        did = ", ".join(f"{name} {part:.0%}" for name, part in parts.items())
        advice = _advice(parts, workers=workers, processes=processes)
        return (
            f"{line}: input is the limit (workers: {did}); try {advice}{look_up('slow-training')}"
        )
    busy = 1.0 - parts["idle"]
    if workers and not processes and busy > _BUSY and parts["transform"] > 0.5:
        return (
            f"{line}, but the worker threads were busy with the transform all the time, and share "
            "Python's lock with the model: try use_multiprocessing=True"
            f"{look_up('slow-training')}"
        )
    return f"{line}: compute is the limit"


def _advice(parts: dict[str, float], *, workers: int, processes: bool) -> str:
    if not workers:
        return "workers=2 or more"
    most = max(("read", "decode", "transform"), key=parts.__getitem__)
    if most == "transform":
        return "more workers or a cheaper transform" if processes else "use_multiprocessing=True"
    if most == "decode":
        return "more workers, or a store with --codec raw"
    return "more workers, or a faster disk"
