"""Array types that all layers share, and aligned memory that frameworks take without a copy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

# TensorFlow and JAX copy a buffer that does not start on such a boundary (32 is not enough).
ALIGNMENT = 64

Ids: TypeAlias = range | NDArray[np.int64]
Arrays: TypeAlias = tuple[NDArray[Any], ...]
# (x,), (x, y) or (x, y, w); each an array, a tuple of arrays or a dict of arrays
Batch: TypeAlias = tuple[Any, ...]
# Makes a batch of arrays or tensors, in the order of a slot.
Nest: TypeAlias = Callable[[Sequence[Any]], Batch]


def aligned(nbytes: int, alignment: int = ALIGNMENT) -> int:
    """Round up to a multiple of `alignment`."""
    return -(-nbytes // alignment) * alignment


def aligned_empty(nbytes: int) -> NDArray[np.uint8]:
    """Allocate uninitialised memory that starts on a 64-byte boundary.

    ``numpy.empty`` promises no such boundary.

    Parameters
    ----------
    nbytes
        Number of bytes.

    Returns
    -------
    (nbytes,) uint8
    """
    memory = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -memory.__array_interface__["data"][0] % ALIGNMENT
    return memory[start : start + nbytes]
