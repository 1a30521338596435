"""What to measure: plain values, and the orders of samples that follow from them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.order.shuffle import epoch_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from zarrfeed.order.shuffle import Shuffle
    from zarrfeed.store.schema import ArrayLayout
    from zarrfeed_tools.bench.settings import Setting


@dataclass(frozen=True, slots=True)
class Job:
    """One run of the benchmark.

    Attributes
    ----------
    path
        Path of the split.
    layouts
        Layouts of the fields to read, in batch order.
    samples
        Number of samples to read, from the first one on.
    batch_size, shuffle, max_queue_size, transform, batch_transform
        Arguments of ``ZarrSequence``.
    settings
        The settings to measure.
    cold
        Whether to drop files from the page cache before every turn.
    rounds
        Number of turns of every setting and limit.
    seconds
        Duration of a turn, after its warm-up.
    cores
        Number of cores that this process may use.
    """

    path: Path
    layouts: Mapping[str, ArrayLayout]
    samples: int
    batch_size: int
    shuffle: Shuffle
    max_queue_size: int
    transform: Callable[..., Any] | None
    batch_transform: Callable[..., Any] | None
    settings: tuple[Setting, ...]
    cold: bool
    rounds: int
    seconds: float
    cores: int

    @property
    def sample_nbytes(self) -> int:
        """Decoded size of a sample in bytes, over all fields."""
        return sum(layout.sample_nbytes for layout in self.layouts.values())

    @property
    def indirect(self) -> list[str]:
        """Names of the fields that cannot be read directly from their files."""
        return [name for name, layout in self.layouts.items() if layout.indirect is not None]

    @property
    def block(self) -> int:
        """Samples per block of a "block" shuffle: whole chunks, and at least a batch."""
        chunk_rows = next(iter(self.layouts.values())).chunk_rows
        return -(-self.batch_size // chunk_rows) * chunk_rows


def affordable_samples(samples: int, sample_nbytes: int, nbytes: int) -> int:
    """Return the number of samples that fit in `nbytes`, at least one.

    Examples
    --------
    >>> affordable_samples(100, sample_nbytes=10, nbytes=250)
    25
    """
    return max(1, min(samples, nbytes // max(1, sample_nbytes)))


def endless_batches(
    samples: int, batch_size: int, shuffle: Shuffle, block: int, *, seed: int = 0
) -> Iterator[NDArray[np.int64]]:
    """Yield the full batches of epoch after epoch in the order of a sequence.

    Yields
    ------
    (min(samples, batch_size),) int64
        Sample ids.
    """
    size = min(samples, batch_size)
    for epoch in itertools.count():
        order = epoch_order(samples, shuffle=shuffle, block=block, seed=seed, epoch=epoch)
        for start in range(0, samples - size + 1, size):
            yield order(np.arange(start, start + size))
