"""Which setting is best, how close is it to the limits of the machine, and what bounds it?

Pure: measurements in, a verdict out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zarrfeed_tools.bench.rows import Row, Spread

Bound: TypeAlias = Literal["disk", "decode", "transform", "memory", "python", "consumer"]

# Medians that differ by a smaller share count as equal, because of noise from other processes.
_SAME = 0.05
# Below this share of waiting, faster input would hardly make a difference (as in FeedMonitor).
_NOTICED = 0.05


@dataclass(frozen=True, slots=True)
class Limit:
    """The speed that one resource of this machine allows on this data.

    Attributes
    ----------
    bound
        The resource.
    way
        How the limit was measured.
    batches_per_second
        Full batches per second.
    """

    bound: Bound
    way: str
    batches_per_second: Spread


@dataclass(frozen=True, slots=True)
class Verdict:
    """The conclusion from all measurements.

    Attributes
    ----------
    best
        The row of the best setting.
    shares
        Speed of the best setting as a share of each limit, by ``Limit.way``.
    bound
        The resource that limits the best setting.
    why
        The reason for this conclusion as text.
    advice
        What would help, as text.
    aside
        Why the fastest setting is not the best one; empty if it is.
    """

    best: Row
    shares: Mapping[str, float]
    bound: Bound
    why: str
    advice: str
    aside: str


def judge(rows: Sequence[Row], limits: Sequence[Limit], *, cold: bool) -> Verdict:
    """Draw the conclusion from measurements.

    Parameters
    ----------
    rows
        One row per setting, at least one.
    limits
        The measured limits.
    cold
        Whether files were read from the disk rather than from the page cache.
    """
    best = best_of(rows)
    rate = best.batches_per_second.median
    shares = {limit.way: rate / limit.batches_per_second.median for limit in limits}
    reached: dict[Bound, float] = {
        limit.bound: reached_share(best, limits, limit.bound) for limit in limits
    }
    bound = bound_of(best, reached, cold=cold)
    return Verdict(best, shares, bound, _why(bound, best), _ADVICE[bound], _aside(best, rows))


def best_of(rows: Sequence[Row]) -> Row:
    """Return the setting that is within 5 % of the fastest and costs a model least.

    That is the setting with the fewest workers; of two with the same number, the one with
    processes, because they do not compete with the model for the GIL. Reading without workers
    cannot overlap with a model, which a loop without a model does not show. It is chosen only if no
    other setting was measured.
    """
    able = [row for row in rows if row.setting.workers] or rows
    fastest = max(row.batches_per_second.median for row in able)
    same = [row for row in able if row.batches_per_second.median >= (1 - _SAME) * fastest]
    return min(same, key=lambda row: (row.setting.workers, not row.setting.processes))


def reached_share(row: Row, limits: Sequence[Limit], bound: Bound) -> float:
    """Return the speed of a setting as a share of the highest limit of a resource."""
    rates = [limit.batches_per_second.median for limit in limits if limit.bound == bound]
    return row.batches_per_second.median / max(rates)


def bound_of(row: Row, reached: Mapping[Bound, float], *, cold: bool) -> Bound:
    """Return the resource that limits a setting.

    This is the activity on which most time is spent. But chunks of mapped files are decoded in
    place, so that waiting for a cold disk counts as decoding. Of these two, the one closer to its
    limit is returned; the same holds for reading from memory and Python's calls around it.

    Parameters
    ----------
    row
        The row of the setting.
    reached
        Speed of the setting as a share of the limit of each resource.
    cold
        Whether files were read from the disk rather than from the page cache.
    """
    shares = row.stats.shares
    if row.setting.workers and row.waited < _NOTICED:
        return "consumer"
    most = max(shares, key=shares.__getitem__)
    if not row.setting.workers and most == "idle":  # the caller's time between reads
        return "consumer"
    if most == "transform":
        return "transform"
    if most == "idle":
        return "python"
    if cold:
        return "disk" if reached["disk"] >= reached.get("decode", 0.0) else "decode"
    if most == "decode":
        return "decode"
    return "memory" if reached["memory"] >= reached.get("python", 0.0) else "python"


def _why(bound: Bound, row: Row) -> str:
    if bound == "consumer":
        return f"batches are ready before they are requested (waited {row.waited:.0%} of the time)"
    did = ", ".join(f"{name} {share:.0%}" for name, share in row.stats.shares.items())
    who = "workers" if row.setting.workers else "the caller"
    return f"waited for batches {row.waited:.0%} of the time; {who}: {did}"


def _aside(best: Row, rows: Sequence[Row]) -> str:
    fastest = max(rows, key=lambda row: row.batches_per_second.median)
    if fastest is best:
        return ""
    found = f"{fastest.setting} made {fastest.batches_per_second.median:.4g} batches/s"
    if not fastest.setting.workers:
        return f"{found}, but reads nothing while a model computes"
    return (
        f"{found}: no more than {_SAME:.0%} more, by more workers or at the cost of Python's lock"
    )


_ADVICE: Mapping[Bound, str] = {
    "disk": "a faster disk, enough memory for the split, or --shuffle block, which reads "
    "neighbours together",
    "decode": "a store that decodes faster: zarrfeed repack --codec raw, if the disk has room",
    "transform": "a cheaper transform, part of it in the model, or more cores",
    "memory": "fewer bytes: smaller samples, or uint8 instead of a wider dtype",
    "python": "a larger batch size: the calls around a batch take the time, not its bytes",
    "consumer": "nothing in the loader: in training, your model is the limit",
}
