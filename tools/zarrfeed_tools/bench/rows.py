"""The results of one setting over all its turns. Pure: numbers in, numbers out."""

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
    """Median and range of a quantity over all rounds.

    Attributes
    ----------
    median, least, most
        Median, minimum and maximum.
    """

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise values, at least one."""
        return cls(statistics.median(values), min(values), max(values))

    def times(self, factor: float) -> Spread:
        """Multiply by a factor, to convert to another unit."""
        return Spread(self.median * factor, self.least * factor, self.most * factor)


@dataclass(frozen=True, slots=True)
class Turn:
    """Result of one setting in one round, without the warm-up.

    Attributes
    ----------
    seconds
        Duration of the turn.
    samples, nbytes
        Number of samples and bytes handed out.
    waits
        Seconds that the consumer waited for each batch.
    first_batch
        Seconds from constructing the sequence to its first batch.
    cpu
        CPU time of this process and its workers, in seconds.
    memory
        Resident memory that the sequence added, including its workers, in bytes.
    epochs
        Number of epochs that ended and were checked.
    stats
        Statistics of the workers.
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
    """Result of one setting over all rounds.

    Attributes
    ----------
    setting
        The setting.
    batches_per_second, samples_per_second, megabytes_per_second
        Rates. Batches are full ones (samples divided by the batch size); megabytes are 10^6 bytes
        handed out.
    first_batch
        Seconds from constructing a sequence to its first batch.
    wait_p50, wait_p95, wait_p99
        Quantiles of the seconds that the consumer waited for a batch, over all rounds.
    cpu_per_1000
        CPU time for 1000 samples in seconds, including that of the consumer.
    memory
        Largest resident memory that the sequence added, in bytes.
    epochs
        Number of epochs that ended and were checked.
    stats
        Sum of the workers' statistics.
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
        """Share of the time in which the consumer waited for a batch."""
        return self.stats.waited / self.stats.seconds if self.stats.seconds else 0.0


def row_of(setting: Setting, turns: Sequence[Turn], batch_size: int) -> Row:
    """Summarise the turns of one setting."""
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


# Fields of EpochStats that can be subtracted. ``idle`` cannot: it is computed from the others.
_COUNTED = ("batches", "samples", "nbytes", "waited", "read", "decoded", "transformed")


def added(parts: Sequence[EpochStats]) -> EpochStats:
    """Add up the statistics of several passes; of memory, take the maximum."""
    names = (*_COUNTED, "seconds", "idle")
    sums: dict[str, Any] = {name: sum(getattr(part, name) for part in parts) for name in names}
    return replace(parts[-1], **sums, rss=max(part.rss for part in parts))


def between(
    before: Sequence[EpochStats], after: Sequence[EpochStats], *, seconds: float, workers: int
) -> EpochStats:
    """Compute the difference of two return values of ``sequence.stats()``.

    Parameters
    ----------
    before, after
        Statistics of passes. `after` begins with the passes of `before`, the last of which may have
        continued.
    seconds
        Time between the two calls.
    workers
        Number of workers; 0 counts as 1, the caller.
    """
    earlier, later = added(before), added(after)
    parts: dict[str, Any] = {
        name: getattr(later, name) - getattr(earlier, name) for name in _COUNTED
    }
    busy = parts["read"] + parts["decoded"] + parts["transformed"]
    idle = max(0.0, max(1, workers) * seconds - busy)
    return replace(later, **parts, seconds=seconds, idle=idle)


def plain(value: Any) -> Any:
    """Convert dataclasses, dicts and tuples to values that fit JSON."""
    if hasattr(value, "__dataclass_fields__"):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    return [plain(part) for part in value] if isinstance(value, tuple | list) else value
