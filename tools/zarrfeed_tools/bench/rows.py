"""What came out of the turns of one setting, or of one limit?

Pure: numbers in, numbers out.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed import EpochStats
    from zarrfeed_tools.bench.settings import Setting


@dataclass(frozen=True, slots=True)
class Spread:
    """One number of every round.

    Attributes
    ----------
    median, least, most
        Over the rounds.
    """

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Sum up one value or more."""
        return cls(statistics.median(values), min(values), max(values))

    def times(self, factor: float) -> Spread:
        """Count in another unit."""
        return Spread(self.median * factor, self.least * factor, self.most * factor)


@dataclass(frozen=True, slots=True)
class Turn:
    """What one setting did in one round; warming up is not counted.

    Attributes
    ----------
    seconds
        From a batch handed out to a later one.
    samples, nbytes
        Of the batches between, as they were handed out.
    waits
        Seconds that each of these batches was waited for.
    first_batch
        Seconds from constructing the sequence to its first batch.
    cpu
        Seconds of all processors in the same time: of this process and its workers.
    memory
        Bytes of resident memory that the sequence added to the process, workers included.
    epochs
        That came to their end, and were checked.
    stats
        What the workers did in the same time.
    """

    seconds: float
    samples: int
    nbytes: int
    waits: tuple[float, ...]
    first_batch: float
    cpu: float
    memory: int
    epochs: int
    stats: EpochStats


@dataclass(frozen=True, slots=True)
class Row:
    """One setting, over all rounds.

    Attributes
    ----------
    setting
        What was tried.
    batches_per_second, samples_per_second, megabytes_per_second
        Full batches: the samples over the batch size; bytes as they were handed out, in 10^6.
    first_batch
        Seconds from constructing a sequence to its first batch.
    wait_p50, wait_p95, wait_p99
        Seconds that a batch was waited for, over the batches of all rounds.
    cpu_per_1000
        Seconds of all processors for 1000 samples; the consumer's are among them.
    memory
        Bytes that the sequence added at most.
    epochs
        That came to their end, and were checked.
    stats
        What the workers did, added up.
    """

    setting: Setting
    batches_per_second: Spread
    samples_per_second: Spread
    megabytes_per_second: Spread
    first_batch: Spread
    wait_p50: float
    wait_p95: float
    wait_p99: float
    cpu_per_1000: float
    memory: int
    epochs: int
    stats: EpochStats

    @property
    def waited(self) -> float:
        """The share of the time in which the consumer waited for a batch."""
        return self.stats.waited / self.stats.seconds if self.stats.seconds else 0.0


def row_of(setting: Setting, turns: Sequence[Turn], batch_size: int) -> Row:
    """Sum up the turns of one setting."""
    samples = Spread.of([turn.samples / turn.seconds for turn in turns])
    waits = np.concatenate([turn.waits for turn in turns])
    p50, p95, p99 = np.quantile(waits, (0.5, 0.95, 0.99)).tolist()
    return Row(
        setting=setting,
        batches_per_second=samples.times(1 / batch_size),
        samples_per_second=samples,
        megabytes_per_second=Spread.of([turn.nbytes / turn.seconds / 1e6 for turn in turns]),
        first_batch=Spread.of([turn.first_batch for turn in turns]),
        wait_p50=p50,
        wait_p95=p95,
        wait_p99=p99,
        cpu_per_1000=1000 * sum(t.cpu for t in turns) / sum(t.samples for t in turns),
        memory=max(turn.memory for turn in turns),
        epochs=sum(turn.epochs for turn in turns),
        stats=added([turn.stats for turn in turns]),
    )


# What passes over the data have in common is not added up; ``idle`` of a part is not in its parts.
_COUNTED = ("batches", "samples", "nbytes", "waited", "read", "decoded", "transformed")


def added(parts: Sequence[EpochStats]) -> EpochStats:
    """Add up what several passes cost; the memory is the most of them."""
    names = (*_COUNTED, "seconds", "idle")
    sums: dict[str, Any] = {name: sum(getattr(part, name) for part in parts) for name in names}
    return replace(parts[-1], **sums, rss=max(part.rss for part in parts))


def between(
    before: Sequence[EpochStats], after: Sequence[EpochStats], *, seconds: float, workers: int
) -> EpochStats:
    """Work out what happened between two looks at ``sequence.stats()``.

    Parameters
    ----------
    before, after
        Passes over the data; `after` begins with those of `before`, the last of which may have
        gone on.
    seconds
        Between the looks.
    workers
        How many there are; 0 counts as 1, the caller.
    """
    earlier, later = added(before), added(after)
    parts: dict[str, Any] = {
        name: getattr(later, name) - getattr(earlier, name) for name in _COUNTED
    }
    busy = parts["read"] + parts["decoded"] + parts["transformed"]
    idle = max(0.0, max(1, workers) * seconds - busy)
    return replace(later, **parts, seconds=seconds, idle=idle)


def plain(value: Any) -> Any:
    """Turn dataclasses into what JSON takes, settings into their names."""
    if hasattr(value, "__dataclass_fields__"):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    return [plain(part) for part in value] if isinstance(value, tuple | list) else value
