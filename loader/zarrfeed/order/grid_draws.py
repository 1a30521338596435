"""Where does each patch of a grid lie? Arithmetic for `CoverPatches` and `GridPatches`.

Pure. The patches of a case are its *cells*, numbered in C order of their place in a grid; those of
all cases follow each other. A place of an epoch is the number of a cell, so that any draw is
computed by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.order.draws import FREE, Draws, patch_draw
from zarrfeed.order.orientation import random_orientations
from zarrfeed.order.patch_cases import indices_of
from zarrfeed.order.random_words import Purpose, below, random_words
from zarrfeed.order.user_values import described

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed.order.patch_cases import PatchCases
    from zarrfeed.order.patches import CoverPatches, GridPatches

_MOST_CELLS = 1 << 62  # beyond this, sums of int64 could overflow


def overlapping_cells(sizes: NDArray[np.int64], patches: GridPatches) -> NDArray[np.int64]:
    """Count the patches of a regular grid along each axis.

    Parameters
    ----------
    sizes
        (M, axes) int64: size of each case in pixels.
    patches
        Which patches.

    Returns
    -------
    (M, axes) int64

    Examples
    --------
    >>> from zarrfeed import GridPatches
    >>> overlapping_cells(np.array([[3, 8], [9, 16]]), GridPatches((8, 8), 0.5)).tolist()
    [[1, 1], [2, 3]]
    """
    beyond = np.maximum(sizes - np.asarray(patches.size, np.int64), 0)
    return 1 - (-beyond // np.asarray(patches.step, np.int64))


def overlapping_origins(
    places: NDArray[np.int64], sizes: NDArray[np.int64], patches: GridPatches
) -> NDArray[np.int64]:
    """Return where patches of a regular grid begin, as in MONAI's ``sliding_window_inference``.

    Parameters
    ----------
    places
        (n, axes) int64: place of each patch in the grid of its case.
    sizes
        (n, axes) int64: size of the case of each.
    patches
        Which patches.

    Returns
    -------
    (n, axes) int64
        Negative where a case is smaller than a patch, which it is in the middle of.

    Examples
    --------
    >>> from zarrfeed import GridPatches
    >>> places, sizes = np.array([[0, 0], [0, 1]]), np.array([[3, 8], [3, 9]])
    >>> overlapping_origins(places, sizes, GridPatches((8, 8), 0.5)).tolist()
    [[-2, 0], [-2, 1]]
    """
    room = sizes - np.asarray(patches.size, np.int64)
    inside = np.minimum(places * np.asarray(patches.step, np.int64), room)
    return np.where(room < 0, -(-room // 2), inside)


def covering_cells(sizes: NDArray[np.int64], patches: CoverPatches) -> NDArray[np.int64]:
    """Count the patches of a grid without overlap along each axis, see `CoverPatches`.

    Examples
    --------
    >>> from zarrfeed import CoverPatches
    >>> covering_cells(np.array([[8, 9], [14, 15]]), CoverPatches((8, 8))).tolist()
    [[1, 2], [2, 3]]
    """
    extent = np.asarray(patches.size, np.int64)
    return np.where(sizes <= extent, 1, -(-(sizes + extent // 4) // extent))


def count_patches(along: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the patches of cases.

    Parameters
    ----------
    along
        (M, axes) int64: number of patches along each axis.

    Returns
    -------
    (M,) int64

    Raises
    ------
    ValueError
        The patches are more than int64 can count.
    """
    # A claimed size may overflow int64: the sum of products is formed in floats first.
    total = along.astype(np.float64).prod(axis=1).sum()
    if total > _MOST_CELLS:
        raise ValueError(f"needed at most {_MOST_CELLS:,} patches per epoch, found {total:.3g}")
    counts: NDArray[np.int64] = along.prod(axis=1)
    return counts


class _CellDraws:
    """What the patches of both grids have in common: which cell of which case is at each place."""

    shuffled = False

    def __init__(
        self, patches: CoverPatches | GridPatches, cases: PatchCases, along: NDArray[np.int64]
    ) -> None:
        self._cases = cases
        self._along = along  # (M, axes): number of cells along each axis
        self._ends = np.cumsum(count_patches(along))  # (M,): cells of the cases up to here
        self._description = described(patches)
        self.dtype = patch_draw(patches.axes)
        self.length = int(self._ends[-1]) if self._ends.size else 0

    def _cells(self, places: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the case of each place, (n,), and where in its grid the cell is, (n, axes)."""
        case = np.searchsorted(self._ends, places, side="right")
        along = self._along[case]
        # From the end, because then the first case needs no number before it.
        number = places - self._ends[case] + along.prod(axis=1)
        return case, indices_of(number, along)

    def _draws_of(
        self, places: NDArray[np.int64], case: NDArray[np.int64], origins: NDArray[np.int64]
    ) -> Draws:
        """Return the draws of patches of some cases."""
        draws = np.zeros(places.size, self.dtype)
        draws["id"], draws["origin"] = places, origins
        self._cases.put_into(draws, case)
        draws["tile"] = draws["label"] = FREE
        return draws

    def described(self) -> dict[str, Any]:
        """Return what the draws depend on in JSON."""
        return {**self._description, "cases": self._cases.digest}


class GridDraws(_CellDraws):
    """The patches of `GridPatches`, case by case, each in C order: a `Sampler`.

    Parameters
    ----------
    patches
        Which patches.
    cases
        What they are cut from.

    Raises
    ------
    ValueError
        The patches are more than int64 can count.
    """

    def __init__(self, patches: GridPatches, cases: PatchCases) -> None:
        super().__init__(patches, cases, overlapping_cells(cases.sizes, patches))
        self.patches = patches

    def draws(self, places: NDArray[np.int64], *, seed: int, epoch: int) -> Draws:
        """Return the draws at some places of an epoch; see `Sampler`."""
        del seed, epoch  # the same in every epoch
        case, cell = self._cells(places)
        origins = overlapping_origins(cell, self._cases.sizes[case], self.patches)
        return self._draws_of(places, case, origins)


class CoverDraws(_CellDraws):
    """The patches of `CoverPatches`, case by case, each in C order: a `Sampler`.

    How far the first patch begins before the case is random per (seed, epoch, case) and axis, and
    independent of the subset. Every patch holds at least one pixel of the case.

    Parameters
    ----------
    patches, cases
        As for :class:`GridDraws`.

    Raises
    ------
    ValueError
        The patches are more than int64 can count.
    """

    def __init__(self, patches: CoverPatches, cases: PatchCases) -> None:
        super().__init__(patches, cases, covering_cells(cases.sizes, patches))
        self.patches = patches

    def draws(self, places: NDArray[np.int64], *, seed: int, epoch: int) -> Draws:
        """Return the draws at some places of an epoch; see `Sampler`."""
        case, cell = self._cells(places)
        numbers, sizes = self._cases.numbers[case], self._cases.sizes[case]
        extent = np.asarray(self.patches.size, np.int64)
        room = self._along[case] * extent - sizes
        least, most = np.maximum(room - extent + 1, 0), np.minimum(room, extent - 1)
        words = random_words((seed, epoch, Purpose.GRID_ORIGIN), numbers, self.patches.axes)
        shift = least + below(words, most - least + 1)
        draws = self._draws_of(places, case, cell * extent - shift)
        draws["orientation"] = random_orientations(
            places, seed=seed, epoch=epoch, flips=self.patches.every_flip, turns=self.patches.turns
        )
        return draws
