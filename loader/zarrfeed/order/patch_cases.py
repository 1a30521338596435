"""What are patches cut from? The sizes and tiles of the cases of a subset, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class PatchCases:
    """The cases of a subset. In a split of samples, each sample is a case of one tile.

    Attributes
    ----------
    numbers
        (M,) int64: number of each case in the split.
    sizes
        (M, axes) int64: size of each case in pixels, without padding.
    first_tile
        (M,) int64: row of each case's first tile.
    tiles
        (M,) int64: number of tiles of each case.
    digest
        Digest of the numbers and sizes, which saved states compare.
    """

    numbers: NDArray[np.int64]
    sizes: NDArray[np.int64]
    first_tile: NDArray[np.int64]
    tiles: NDArray[np.int64]
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        """Compute the digest."""
        found = blake2b(digest_size=8)
        for array in (self.numbers, self.sizes):
            found.update(np.ascontiguousarray(array, "<i8").data)
        object.__setattr__(self, "digest", found.hexdigest())

    def __len__(self) -> int:
        """Count the cases."""
        return len(self.numbers)
