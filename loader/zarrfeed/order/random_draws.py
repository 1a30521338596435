"""Where are the random patches of an epoch? Draw j depends on (seed, epoch, j) alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.order.division import exact_share
from zarrfeed.order.draws import FREE, patch_draw
from zarrfeed.order.forced_classes import ForcedClasses
from zarrfeed.order.orientation import random_orientations
from zarrfeed.order.patch_cases import indices_of
from zarrfeed.order.random_words import Purpose, below, random_words
from zarrfeed.order.user_values import described

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from zarrfeed.order.class_pixels import ClassPixels
    from zarrfeed.order.draws import Draws
    from zarrfeed.order.patch_cases import PatchCases
    from zarrfeed.order.patches import RandomPatches

_WORDS = 4  # of a draw: case, place in it, and two in reserve; then one for the jitter of each axis


class RandomDraws:
    """The draws of random patches.

    Parameters
    ----------
    patches
        What the user asked for.
    cases
        What the patches are cut from, at least one case.
    labels
        Ids of the classes in ``patches.shares``, in the same order.
    pixels
        Pixels of these classes in the tiles of `cases`; None without shares.
    """

    shuffled = True

    def __init__(
        self,
        patches: RandomPatches,
        cases: PatchCases,
        labels: Sequence[int] = (),
        pixels: ClassPixels | None = None,
    ) -> None:
        self._patches = patches
        self._cases = cases
        self._labels = np.array([*labels, FREE], np.int64)
        self._pixels = pixels
        self._forced = ForcedClasses([exact_share(s) for s in (patches.shares or {}).values()])
        self.dtype = patch_draw(patches.axes)
        self._ends = np.cumsum(self._origins_along(cases.sizes).prod(axis=1))
        self._first = np.cumsum(cases.tiles) - cases.tiles
        self._with: list[NDArray[np.uint32]] = []
        if pixels is not None and patches.by == "case":
            self._with = [pixels.cases_with(k, self._first) for k in range(len(labels))]
        self.length = patches.per_epoch or max(
            1, -(-int(cases.sizes.prod(axis=1).sum()) // math.prod(patches.size))
        )

    @property
    def shares(self) -> Mapping[str | int, float]:
        """``{class: share}`` of the draws that must contain a class."""
        return self._patches.shares or {}

    def described(self) -> dict[str, Any]:
        """Return what the draws depend on; see :class:`zarrfeed.order.draws.Sampler`."""
        return {**described(self._patches), "cases": self._cases.digest}

    def forced_counts(self, epoch: int) -> dict[str | int, int]:
        """Return how many draws of an epoch must contain each class of `shares`."""
        return self.forced_among(self.length, after=epoch * self.length)

    def forced_among(self, draws: int, *, after: int) -> dict[str | int, int]:
        """Return how many of some successive draws must contain each class of `shares`.

        Parameters
        ----------
        draws
            Number of draws.
        after
            Number of draws before them, of all epochs.
        """
        return dict(zip(self.shares, self._forced.counts(draws, after=after), strict=True))

    def draws(self, places: NDArray[np.int64], *, seed: int, epoch: int) -> Draws:
        """Return the draws at some places; see :class:`zarrfeed.order.draws.Sampler`."""
        patches, cases = self._patches, self._cases
        draws = np.zeros(places.size, self.dtype)
        draws["id"] = places
        words = random_words((seed, epoch, Purpose.PLACE), places, _WORDS + patches.axes)
        case, origin = self._free(places, words, seed=seed, epoch=epoch)
        draws["tile"] = draws["label"] = FREE
        if self._pixels is not None:
            chosen = self._forced.at(places, after=epoch * self.length)
            rows = np.flatnonzero(chosen >= 0)
            columns, those = chosen[rows], words[rows]
            tile, nth = self._forced_pixels(self._pixels, columns, those)
            case[rows] = of = np.searchsorted(self._first, tile, side="right") - 1
            draws["tile"][rows] = cases.first_tile[of] + tile - self._first[of]
            draws["label"][rows], draws["nth"][rows] = self._labels[columns], nth
            draws["pixels"][rows] = self._pixels.counts[tile, columns]
            origin[rows] = self._around(those[:, _WORDS:])
        cases.put_into(draws, case)
        draws["origin"] = origin
        draws["orientation"] = random_orientations(
            places, seed=seed, epoch=epoch, flips=patches.every_flip, turns=patches.turns
        )
        return draws

    def _free(
        self, places: NDArray[np.int64], words: NDArray[np.uint64], *, seed: int, epoch: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw cases, and origins in them that are equally likely."""
        patches, cases = self._patches, self._cases
        of_case, of_place = words[:, 0], words[:, 1]
        if patches.per_case > 1:
            of_case = random_words((seed, epoch, Purpose.CASE), places // patches.per_case, 1)[:, 0]
        if patches.by == "case":
            case = below(of_case, len(cases))
        else:
            case = np.searchsorted(self._ends, below(of_case, self._ends[-1]), side="right")
        sizes, size = cases.sizes[case], np.array(patches.size, np.int64)
        along = self._origins_along(sizes)
        origin = indices_of(below(of_place, along.prod(axis=1)), along)
        if patches.border == "fill":
            return case, origin - size // 2
        # What is smaller than a patch is in its middle.
        return case, np.where(sizes < size, -((size - sizes) // 2), origin)

    def _origins_along(self, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Count the origins along each axis of cases of some sizes, (n, axes)."""
        if self._patches.border == "fill":
            return sizes
        return np.maximum(sizes - np.array(self._patches.size, np.int64) + 1, 1)

    def _forced_pixels(
        self, pixels: ClassPixels, columns: NDArray[np.int64], words: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw pixels of classes: their tiles, and their numbers among those of the class there."""
        if not self._with:
            return pixels.find(columns, below(words[:, 0], pixels.totals[columns]))
        drawn = zip(columns.tolist(), words, strict=True)
        found = [self._pixel_of_case(pixels, column, of) for column, of in drawn]
        tile, nth = np.array(found, np.int64).reshape(-1, 2).T
        return tile, nth

    def _pixel_of_case(
        self, pixels: ClassPixels, column: int, words: NDArray[np.uint64]
    ) -> tuple[int, int]:
        """Draw a case that contains a class, then one of its pixels."""
        case = int(self._with[column][below(words[:1], self._with[column].size)[0]])
        first = int(self._first[case])
        tiles = range(first, first + int(self._cases.tiles[case]))
        total = pixels.total_in(tiles, column)
        return pixels.find_in(tiles, column, int(below(words[1:2], total)[0]))

    def _around(self, words: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Draw where patches begin, relative to a pixel that each must contain."""
        size = np.array(self._patches.size, np.int64)
        centre = -(size // 2)
        # The pixel stays inside if the patch begins from size - 1 before it to the pixel itself.
        low = (self._patches.jitter * (size - 1 + centre)).astype(np.int64)
        high = (self._patches.jitter * -centre).astype(np.int64)
        return centre - low + below(words, low + high + 1)
