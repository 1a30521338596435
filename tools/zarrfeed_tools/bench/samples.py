"""Load samples into memory, and measure the limits that need no store."""

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
from zarrfeed_tools.bench.word_sums import MODULUS, WORD, sum_of_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from zarrfeed_convert import OnProgress
    from zarrfeed_tools.bench.job import Job

KEPT_NBYTES = 512 << 20  # more than the cache of any processor
_READ_NBYTES = 16 << 20  # per read
_ALIGNMENT = 64  # that of a sequence's batches


@dataclass(frozen=True, slots=True)
class Loaded:
    """The first samples of a split, in memory.

    Attributes
    ----------
    arrays
        One (n, *sample_shape) array per field.
    expected
        Contents of an epoch over all of the job's samples.
    """

    arrays: tuple[NDArray[Any], ...]
    expected: EpochContent

    @property
    def samples(self) -> int:
        """Number of samples in memory."""
        return len(self.arrays[0])


def load(job: Job, progress: OnProgress) -> Loaded:
    """Read all samples of a job once, which also fills the page cache, and keep the first ones.

    Parameters
    ----------
    job
        What to read.
    progress
        Function to call with the number of samples read.
    """
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
    """Measure how fast threads gather batches from memory by ``np.take``.

    Every thread copies into its own buffer.

    Returns
    -------
    float
        Samples per second of all threads together.
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
                # mode="clip" writes straight into `out`; mode="raise" would use a buffer.
                np.take(array, ids, axis=0, out=target, mode="clip")
            return size

        return rate_of(take, job.seconds)

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(copy, range(threads)))


def transforming_rate(job: Job, loaded: Loaded) -> float:
    """Measure how fast one thread transforms samples in memory.

    The results are copied into a batch as in a sequence, because a view such as a flipped image
    costs nothing to make but is slow to copy.

    Returns
    -------
    float
        Samples per second.
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


def summing_rate(job: Job, loaded: Loaded) -> float:
    """Return the samples per second at which the consumer sums bytes of batches in memory."""
    size = min(loaded.samples, job.batch_size)
    starts = itertools.cycle(range(0, loaded.samples - size + 1, size))

    def add_up() -> int:
        start = next(starts)
        sum_of_words([array[start : start + size] for array in loaded.arrays])
        return size

    return rate_of(add_up, job.seconds)


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
    """Allocate memory that starts on a 64-byte boundary, and touch all of its pages."""
    nbytes = int(np.prod(shape)) * dtype.itemsize
    memory = np.ones(nbytes + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + nbytes].view(dtype).reshape(shape)


def _tuple(results: Any) -> tuple[Any, ...]:
    return (results,) if isinstance(results, np.ndarray) else tuple(results)
