"""How fast can memory be? Gathering batches out of RAM, as no loader can do it faster.

Knows nothing of the loader's insides: a limit must not share the mistakes of what it judges.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed import open_split, read_samples

if TYPE_CHECKING:
    from pathlib import Path

ALIGNMENT = 64  # bytes; from there TensorFlow takes an array without a copy

# Goes through an epoch whose sample ids are (batches, batch_size).
Epoch = Callable[[np.ndarray], Iterator[Any]]


def aligned(shape: Sequence[int]) -> np.ndarray:
    """Allocate uint8 memory that starts on a 64-byte boundary, every page of it touched."""
    nbytes = math.prod(shape)
    memory = np.ones(nbytes + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + nbytes].reshape(shape)


def load(store: str | Path, field: str) -> np.ndarray:
    """Read a whole field into RAM, a little at a time.

    Reading maps a store's files into memory. A little at a time, the mappings are gone before they
    could count in what this process is seen to hold.
    """
    split = open_split(store)
    layout = split.layouts[field]
    out = np.empty(layout.shape, layout.dtype)
    for start in range(0, len(out), 256):
        ids = np.arange(start, min(start + 256, len(out)))
        out[start : start + 256] = read_samples(split, field, ids)
    return out


def from_memory(images: np.ndarray, masks: np.ndarray, batch_size: int) -> Epoch:
    """Make the limit: gather from RAM into one reused, aligned buffer."""
    out = [aligned((batch_size, *a.shape[1:])) for a in (images, masks)]

    def epoch(order: np.ndarray) -> Iterator[Any]:
        for ids in order:
            np.take(images, ids, axis=0, out=out[0], mode="clip")
            np.take(masks, ids, axis=0, out=out[1], mode="clip")
            yield out

    return epoch


def shuffled(samples: int, batch_size: int, seed: int) -> np.ndarray:
    """Order an epoch by chance.

    Returns
    -------
    (samples // batch_size, batch_size) int64
        Sample ids.
    """
    order = np.random.default_rng(seed).permutation(samples)
    return order[: samples // batch_size * batch_size].reshape(-1, batch_size)
