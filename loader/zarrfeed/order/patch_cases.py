"""What are patches cut from? The sizes and tiles of the cases of a subset, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed.order.draws import Draws


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

    def put_into(self, draws: Draws, case: NDArray[np.int64]) -> None:
        """Say in draws of patches which case each is of: (n,) places in `numbers`."""
        draws["case"], draws["size"] = self.numbers[case], self.sizes[case]
        draws["first_tile"] = self.first_tile[case]


def indices_of(numbers: NDArray[np.int64], extents: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the indices of elements of several arrays, as ``np.unravel_index`` of one.

    Parameters
    ----------
    numbers
        (n,) int64: number of each element in C order of its array.
    extents
        (n, axes) int64: shape of the array of each.

    Returns
    -------
    (n, axes) int64

    Examples
    --------
    >>> indices_of(np.array([5, 5]), np.array([[2, 3], [3, 2]])).tolist()
    [[1, 2], [2, 1]]
    """
    indices = np.empty_like(extents)
    for axis in reversed(range(extents.shape[1])):
        numbers, indices[:, axis] = np.divmod(numbers, extents[:, axis])
    return indices
