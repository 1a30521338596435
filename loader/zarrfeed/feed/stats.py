"""How long did the consumer wait in an epoch, and what did the workers do meanwhile?

A worker writes the seconds that it spent on a batch into the batch's slot. They are added up when
the batch is taken.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class EpochStats:
    """Statistics of one pass over the data.

    Attributes
    ----------
    epoch
        Number of the epoch, from 0 on.
    batches, samples, nbytes
        Number of batches, samples and bytes handed out so far.
    seconds
        Time from the request for the first batch to the handing out of the last one.
    waited
        Seconds of these in which the consumer waited for a batch. TensorFlow takes batches ahead
        in a thread of its own, which may wait while the model computes;
        :class:`zarrfeed.FeedMonitor` reports how long the *model* waited.
    read, decoded, transformed
        Seconds that all workers together spent on these batches: reading files, decoding chunks,
        calling the user's functions.
    idle
        Seconds that all workers together were idle: ``workers × seconds`` minus the three above.
    rss
        Resident memory of this process and its workers in bytes. Shared memory is counted once per
        process.
    """

    epoch: int
    batches: int
    samples: int
    nbytes: int
    seconds: float
    waited: float
    read: float
    decoded: float
    transformed: float
    idle: float
    rss: int

    def __str__(self) -> str:
        return (
            f"epoch {self.epoch} (from 0): {self.batches} batches, {self.samples} samples, "
            f"{self.nbytes / 1e6:,.1f} MB in {self.seconds:.3g} s; waited {self.waited:.3g} s; "
            f"workers: read {self.read:.3g}, decoded {self.decoded:.3g}, transformed "
            f"{self.transformed:.3g}, idle {self.idle:.3g} s; {self.rss / 1e6:,.0f} MB resident"
        )

    @property
    def batches_per_second(self) -> float:
        """Batches per second; 0 before the first batch."""
        return self.batches / self.seconds if self.seconds else 0.0

    @property
    def shares(self) -> dict[str, float]:
        """Shares of the workers' time: ``read``, ``decode``, ``transform`` and ``idle``."""
        parts = {
            "read": self.read,
            "decode": self.decoded,
            "transform": self.transformed,
            "idle": self.idle,
        }
        total = sum(parts.values()) or 1.0
        return {name: part / total for name, part in parts.items()}


@dataclass(slots=True)
class Tally:
    """Counter of a pass under way.

    Attributes
    ----------
    epoch
        Number of the epoch, from 0 on.
    workers
        Number of workers; 1 if the consumer reads.
    taken
        Times at which batches were handed out (``time.perf_counter``).
    """

    epoch: int
    workers: int
    started: float = field(default_factory=time.perf_counter)
    samples: int = 0
    nbytes: int = 0
    waited: float = 0.0
    spent: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    rss: int = 0
    taken: list[float] = field(default_factory=list)

    def add(self, *, rows: int, nbytes: int, waited: float, spent: Sequence[float]) -> None:
        """Count a batch that is handed out now.

        Parameters
        ----------
        rows, nbytes
            Number of its samples, and of its bytes.
        waited
            Seconds that the consumer waited for the batch.
        spent
            Seconds that its worker spent reading, decoding and transforming.
        """
        self.taken.append(time.perf_counter())
        self.samples += rows
        self.nbytes += nbytes
        self.waited += waited
        self.spent = [total + part for total, part in zip(self.spent, spent, strict=True)]

    def stats(self) -> EpochStats:
        """Return the statistics so far."""
        seconds = self.taken[-1] - self.started if self.taken else 0.0
        read, decoded, transformed = self.spent
        return EpochStats(
            epoch=self.epoch,
            batches=len(self.taken),
            samples=self.samples,
            nbytes=self.nbytes,
            seconds=seconds,
            waited=self.waited,
            read=read,
            decoded=decoded,
            transformed=transformed,
            idle=max(0.0, self.workers * seconds - sum(self.spent)),
            rss=self.rss,
        )


def model_waits(taken: Sequence[float], finished: Sequence[float]) -> float:
    """Compute how long a model waited for its batches.

    A step can begin when the previous step has finished and its batch has been handed out. If the
    batch comes later, the model waits in between. This also holds if a framework takes batches
    ahead, so that the framework waits for the loader while the model does not.

    Parameters
    ----------
    taken
        (n,) times in seconds at which the batches were handed out.
    finished
        (m,) times in seconds at which the steps on them ended. Only the first ``min(n, m)`` count.

    Returns
    -------
    float
        Seconds, over all steps but the first, in which the model is traced.

    Examples
    --------
    >>> model_waits(taken=[0.0, 1.0, 1.5, 5.0], finished=[1.0, 2.0, 3.0, 6.0])
    2.0
    """
    steps = min(len(taken), len(finished))
    return sum(max(0.0, taken[i] - finished[i - 1]) for i in range(1, steps))
