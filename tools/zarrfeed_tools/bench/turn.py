"""Measure one setting in one turn, by iterating over a sequence without a model.

Every turn opens and closes its own sequence, so that the first batch can be timed and no workers
run during other turns.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from zarrfeed import FrontEnd, ReadError
from zarrfeed_tools.bench.rows import Turn, between
from zarrfeed_tools.bench.word_sums import MODULUS, sum_of_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from zarrfeed_tools.bench.job import Job
    from zarrfeed_tools.bench.settings import Setting

_WARM_UP = 0.5  # share of a turn's seconds in which memory is touched first and queues fill
# Largest number of epochs in a turn and in its warm-up. A sequence keeps statistics of 1000 passes.
_EPOCHS = 400


@dataclass(frozen=True, slots=True)
class EpochContent:
    """Expected contents of every whole epoch.

    Attributes
    ----------
    samples
        Number of samples.
    total
        Sum of all words, modulo 2^64; None if it depends on the order or on a transform.
    """

    samples: int
    total: int | None


class Consumer:
    """Takes batches of a sequence, epoch after epoch, reads every byte, and checks every epoch."""

    def __init__(self, sequence: FrontEnd, expected: EpochContent) -> None:
        self._sequence = sequence
        self._expected = expected
        self._pass: Iterator[tuple[NDArray[Any], ...]] = iter(sequence)
        self._left = len(sequence)
        self._of_epoch = self._total = 0
        self.samples = self.nbytes = self.epochs = 0

    def take(self) -> float:
        """Take a batch, and return the seconds waited for it.

        Raises
        ------
        ReadError
            It was the last batch of an epoch that did not contain every sample once.
        """
        began = time.perf_counter()
        batch = next(self._pass)
        waited = time.perf_counter() - began
        self._total = (self._total + sum_of_words(batch)) % MODULUS
        self._of_epoch += len(batch[0])
        self.samples += len(batch[0])
        self.nbytes += sum(array.nbytes for array in batch)
        self._left -= 1
        if not self._left:
            self._end_epoch()
        return waited

    def _end_epoch(self) -> None:
        more = next(self._pass, None) is not None  # also moves the sequence to the next epoch
        total = self._expected.total
        if more or self._of_epoch != self._expected.samples or total not in (None, self._total):
            raise ReadError(
                f"{self._sequence!r}: an epoch did not hold every sample once: needed "
                f"{self._expected.samples} samples, found {self._of_epoch}; needed "
                f"{'any sum' if total is None else total} as the sum of all words, found "
                f"{self._total}. Run `zarrfeed verify` to check the store"
            )
        self.epochs += 1
        self._left, self._of_epoch, self._total = len(self._sequence), 0, 0
        self._pass = iter(self._sequence)


def open_sequence(job: Job, setting: Setting) -> FrontEnd:
    """Open the sequence of a turn."""
    return FrontEnd(
        job.path,
        job.batch_size,
        shuffle=job.shuffle,
        fields=list(job.layouts),
        subset=slice(0, job.samples),
        transform=job.transform,
        batch_transform=job.batch_transform,
        max_queue_size=job.max_queue_size,
        **setting.arguments,
    )


def take_turn(job: Job, setting: Setting, expected: EpochContent) -> Turn:
    """Iterate over epochs for the job's seconds, after a warm-up.

    A job on cold data takes only one batch as warm-up and reads nothing twice, so that its turn
    ends with the epoch.

    Parameters
    ----------
    job, setting
        What to measure.
    expected
        Contents of a whole epoch.
    """
    held = psutil.Process().memory_info().rss
    began = time.perf_counter()
    with open_sequence(job, setting) as sequence:
        consumer = Consumer(sequence, expected)
        opened = time.perf_counter() - began
        first_batch = opened + consumer.take()
        if not job.cold:
            _warm_up(consumer, batches=setting.workers, seconds=_WARM_UP * job.seconds)
        began = time.perf_counter()
        waits: list[float] = []
        before, cpu = sequence.stats(), _cpu_seconds()
        samples, nbytes, epochs = consumer.samples, consumer.nbytes, consumer.epochs
        spent = 0.0
        while len(waits) <= setting.workers or spent < job.seconds:
            if consumer.epochs - epochs == (1 if job.cold else _EPOCHS):
                break
            waits.append(consumer.take())
            spent = time.perf_counter() - began
        cpu = _cpu_seconds() - cpu
        after = sequence.stats()
    return Turn(
        seconds=spent,
        samples=consumer.samples - samples,
        nbytes=consumer.nbytes - nbytes,
        waits=tuple(waits),
        first_batch=first_batch,
        cpu=cpu,
        memory=max(0, after[-1].rss - held),
        epochs=consumer.epochs - epochs,
        stats=between(before, after, seconds=spent, workers=setting.workers),
    )


def _warm_up(consumer: Consumer, *, batches: int, seconds: float) -> None:
    """Take batches until every worker has finished one and some time has passed."""
    began, taken = time.perf_counter(), 0
    while taken < batches or time.perf_counter() - began < seconds:
        if consumer.epochs == _EPOCHS:
            return
        consumer.take()
        taken += 1


def _cpu_seconds() -> float:
    """Return the CPU time of this process and all its descendants."""
    this = psutil.Process()
    total = 0.0
    for process in (this, *this.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total
