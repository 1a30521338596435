"""How fast can batches be gathered from memory? No loader can be faster.

This module does not use the loader's internals, because a limit must not share the mistakes of what
it is compared with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed import open_split, read_samples

if TYPE_CHECKING:
    from pathlib import Path

ALIGNMENT = 64  # bytes; TensorFlow copies arrays that are aligned less

# Iterates over an epoch with the given (batches, batch_size) sample ids.
Epoch = Callable[[np.ndarray], Iterator[Any]]


def aligned(shape: Sequence[int]) -> np.ndarray:
    """Allocate uint8 memory that starts on a 64-byte boundary, and touch all of its pages."""
    nbytes = math.prod(shape)
    memory = np.ones(nbytes + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + nbytes].reshape(shape)


def load(store: str | Path, field: str) -> np.ndarray:
    """Read a whole field into RAM.

    Reading maps a store's files into memory. Small pieces are read one after the other, so that the
    mappings do not count as memory of this process.
    """
    split = open_split(store)
    layout = split.layouts[field]
    out = np.empty(layout.shape, layout.dtype)
    for start in range(0, len(out), 256):
        ids = np.arange(start, min(start + 256, len(out)))
        out[start : start + 256] = read_samples(split, field, ids)
    return out


def from_memory(images: np.ndarray, masks: np.ndarray, batch_size: int) -> Epoch:
    """Return a function that gathers batches from RAM into one aligned buffer."""
    out = [aligned((batch_size, *a.shape[1:])) for a in (images, masks)]

    def epoch(order: np.ndarray) -> Iterator[Any]:
        for ids in order:
            np.take(images, ids, axis=0, out=out[0], mode="clip")
            np.take(masks, ids, axis=0, out=out[1], mode="clip")
            yield out

    return epoch


def shuffled(samples: int, batch_size: int, seed: int) -> np.ndarray:
    """Return a random order of an epoch.

    Returns
    -------
    (samples // batch_size, batch_size) int64
        Sample ids.
    """
    order = np.random.default_rng(seed).permutation(samples)
    return order[: samples // batch_size * batch_size].reshape(-1, batch_size)
