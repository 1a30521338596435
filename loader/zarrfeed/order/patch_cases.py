"""What are patches cut from? The sizes and tiles of the cases of a subset, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
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
    """

    numbers: NDArray[np.int64]
    sizes: NDArray[np.int64]
    first_tile: NDArray[np.int64]
    tiles: NDArray[np.int64]

    def __len__(self) -> int:
        """Count the cases."""
        return len(self.numbers)
