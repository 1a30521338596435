"""Which setting is best, how near is it to what the machine allows, and what bounds it?

Pure: measurements in, a verdict out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zarrfeed_tools.bench.rows import Row, Spread

Bound: TypeAlias = Literal["disk", "decode", "transform", "memory", "python", "consumer"]

# Medians that differ by less are the same on a machine that does other things, too.
_SAME = 0.05
# Below this share of waiting, faster input would not be noticed (as FeedMonitor has it).
_NOTICED = 0.05


@dataclass(frozen=True, slots=True)
class Limit:
    """What this machine allows on this very data, if nothing else had to be done.

    Attributes
    ----------
    bound
        Of what.
    way
        How it was measured.
    batches_per_second
        Full batches.
    """

    bound: Bound
    way: str
    batches_per_second: Spread


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a user wants to know.

    Attributes
    ----------
    best
        The row of the best setting.
    shares
        Its batches/s over those of each limit, by ``Limit.way``.
    bound
        What holds it back.
    why
        How that can be told, in words.
    advice
        What would help, in words.
    aside
        Why the fastest setting is not the best one; empty where it is.
    """

    best: Row
    shares: Mapping[str, float]
    bound: Bound
    why: str
    advice: str
    aside: str


def judge(rows: Sequence[Row], limits: Sequence[Limit], *, cold: bool) -> Verdict:
    """Come to a verdict.

    Parameters
    ----------
    rows
        One for each setting, at least one.
    limits
        Those that were measured.
    cold
        Whether files were read from the disk, not from the page cache.
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
    """Choose the fastest; of those that are as fast within 5 %, the one that costs a model least.

    That is the one with fewer workers, and of the same number processes: they leave Python's lock
    to the model. No worker at all reads nothing while a model computes, which a loop without a
    model doesn't show: it is chosen only where nothing else was tried.
    """
    able = [row for row in rows if row.setting.workers] or rows
    fastest = max(row.batches_per_second.median for row in able)
    same = [row for row in able if row.batches_per_second.median >= (1 - _SAME) * fastest]
    return min(same, key=lambda row: (row.setting.workers, not row.setting.processes))


def reached_share(row: Row, limits: Sequence[Limit], bound: Bound) -> float:
    """Compare a setting with the highest limit of a kind, of which there is one or more."""
    rates = [limit.batches_per_second.median for limit in limits if limit.bound == bound]
    return row.batches_per_second.median / max(rates)


def bound_of(row: Row, reached: Mapping[Bound, float], *, cold: bool) -> Bound:
    """Name what holds a setting back.

    Where the time is spent says so, but for chunks that are decoded where a mapped file has them:
    on cold data the disk is waited for while decoding. Whichever of the two is nearer to its limit
    is meant then; and so it is with reading from memory, and the calls of Python around it.

    Parameters
    ----------
    row
        The setting's.
    reached
        Its share of each kind of limit that was measured.
    cold
        Whether files were read from the disk.
    """
    shares = row.stats.shares
    if row.setting.workers and row.waited < _NOTICED:
        return "consumer"
    most = max(shares, key=shares.__getitem__)
    if not row.setting.workers and most == "idle":  # the caller's own time between its reads
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
        return f"batches are ready before they are asked for (waited {row.waited:.0%} of the time)"
    did = ", ".join(f"{name} {share:.0%}" for name, share in row.stats.shares.items())
    who = "workers" if row.setting.workers else "the caller"
    return f"batches are waited for {row.waited:.0%} of the time; {who}: {did}"


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
    "disk": "a faster disk, memory that holds the split, or --shuffle block, which reads "
    "neighbours together",
    "decode": "a store that decodes faster: zarrfeed repack --codec raw, where there is room",
    "transform": "a cheaper transform, part of it in the model, or more cores",
    "memory": "fewer bytes: smaller samples, or uint8 where they are wider",
    "python": "a larger batch size: the calls around a batch take the time, not its bytes",
    "consumer": "nothing that the loader could do: in training, your model is the limit",
}
