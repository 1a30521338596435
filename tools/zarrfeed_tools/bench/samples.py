"""Samples in memory: what limits are measured on, and what every epoch must add up to."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed import SplitReader, open_split
from zarrfeed_tools.bench.job import affordable_samples, endless_batches
from zarrfeed_tools.bench.turn import EpochContent
from zarrfeed_tools.bench.words import MODULUS, WORD, sum_of_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from zarrfeed_convert import OnProgress
    from zarrfeed_tools.bench.job import Job

KEPT_NBYTES = 512 << 20  # more than any processor's cache has
_READ_NBYTES = 16 << 20  # at a time
_ALIGNMENT = 64  # as the batches of a sequence


@dataclass(frozen=True, slots=True)
class Loaded:
    """The first samples of a split, in memory.

    Attributes
    ----------
    arrays
        (n, *sample_shape) for each field.
    expected
        What an epoch of all the job's samples holds.
    """

    arrays: tuple[NDArray[Any], ...]
    expected: EpochContent

    @property
    def samples(self) -> int:
        """How many are in memory."""
        return len(self.arrays[0])


def load(job: Job, progress: OnProgress) -> Loaded:
    """Read all samples of a job once, which also warms the page cache; keep the first of them."""
    kept = affordable_samples(job.samples, job.sample_nbytes, KEPT_NBYTES)
    arrays = tuple(
        np.empty((kept, *layout.sample_shape), layout.dtype) for layout in job.layouts.values()
    )
    step = affordable_samples(job.samples, job.sample_nbytes, _READ_NBYTES)
    total = 0
    with SplitReader(open_split(job.path), list(job.layouts)) as reader:
        for start in range(0, job.samples, step):
            stop = min(start + step, job.samples)
            found = reader.read(range(start, stop))
            total = (total + sum_of_words(list(found.values()))) % MODULUS
            for array, values in zip(arrays, found.values(), strict=True):
                array[start:stop] = values[: max(0, kept - start)]
            progress("reading once", stop, job.samples)
    changed = job.transform is not None or job.batch_transform is not None
    odd = any(layout.sample_nbytes % WORD for layout in job.layouts.values())
    return Loaded(arrays, EpochContent(job.samples, None if changed or odd else total))


def copying_rate(job: Job, loaded: Loaded, threads: int) -> float:
    """Gather batches from memory by ``np.take``, each thread into one buffer of its own.

    Returns
    -------
    float
        Samples per second, of all threads together.
    """

    def copy(thread: int) -> float:
        batches = endless_batches(
            loaded.samples, job.batch_size, job.shuffle, job.block, seed=thread
        )
        size = min(loaded.samples, job.batch_size)
        out = [_aligned((size, *array.shape[1:]), array.dtype) for array in loaded.arrays]

        def take() -> int:
            ids = next(batches)
            for array, target in zip(loaded.arrays, out, strict=True):
                # "clip" writes straight into `out`; "raise" would go through a copy.
                np.take(array, ids, axis=0, out=target, mode="clip")
            return size

        return rate_of(take, job.seconds)

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(copy, range(threads)))


def transforming_rate(job: Job, loaded: Loaded) -> float:
    """Call the user's functions on samples in memory, one thread; samples per second.

    What they return is copied into a batch, as it must be: a flipped view costs nothing to make,
    but it is slow to copy.
    """
    batches = endless_batches(loaded.samples, job.batch_size, job.shuffle, job.block)
    rng = np.random.default_rng(0)
    samples: list[NDArray[Any]] = []
    batch: list[NDArray[Any]] = []

    def keep(targets: list[NDArray[Any]], rows: slice, results: list[NDArray[Any]]) -> None:
        if not targets:
            targets.extend(_aligned((job.batch_size, *r.shape[1:]), r.dtype) for r in results)
        for target, result in zip(targets, results, strict=True):
            target[rows] = result

    def transform() -> int:
        ids = next(batches)
        made: list[NDArray[Any]] = [array[ids] for array in loaded.arrays]
        if job.transform is not None:
            for row, sample in enumerate(zip(*made, strict=True)):
                results = _tuple(job.transform(*sample, rng))
                keep(samples, slice(row, row + 1), [np.asarray(one)[None] for one in results])
            made = [target[: ids.size] for target in samples]
        if job.batch_transform is not None:
            results = _tuple(job.batch_transform(*made, rng))
            keep(batch, slice(ids.size), [np.asarray(one) for one in results])
        return ids.size

    return rate_of(transform, job.seconds)


def touching_rate(job: Job, loaded: Loaded) -> float:
    """Read every byte of batch after batch in memory, as the consumer does; samples per second."""
    size = min(loaded.samples, job.batch_size)
    starts = itertools.cycle(range(0, loaded.samples - size + 1, size))

    def touch() -> int:
        start = next(starts)
        sum_of_words([array[start : start + size] for array in loaded.arrays])
        return size

    return rate_of(touch, job.seconds)


def rate_of(do: Callable[[], int], seconds: float) -> float:
    """Do something again and again for so long; what it counts, per second. The first is dropped.

    Examples
    --------
    >>> rate_of(lambda: 2, seconds=0.01) > 200
    True
    """
    do()
    count, began = 0, time.perf_counter()
    while True:
        count += do()
        spent = time.perf_counter() - began
        if spent >= seconds:
            return count / spent


def _aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Allocate memory that starts on a 64-byte boundary, every page of it touched."""
    nbytes = int(np.prod(shape)) * dtype.itemsize
    memory = np.ones(nbytes + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + nbytes].view(dtype).reshape(shape)


def _tuple(results: Any) -> tuple[Any, ...]:
    return (results,) if isinstance(results, np.ndarray) else tuple(results)
