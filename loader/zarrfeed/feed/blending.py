"""Weighted means of overlapping predictions, in memory for one band of patches at a time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from numpy.typing import NDArray

    from zarrfeed.order.sweep import Band, Part, Sweep

Classes: TypeAlias = Literal["argmax", "probabilities"]

# Bytes that are worked on at a time, so that they stay in a core's cache.
BLOCK_NBYTES = 512 << 10
# Up to this number of classes, comparing them one by one is faster than np.argmax: for 3 classes
# 1.5 instead of 13 ns per pixel, for 8 classes 7 instead of 23 (measured).
_FEW_CLASSES = 12


class Blender:
    """Blends the predictions of the patches of a case.

    It holds float32 sums of the planes of one band of patches, (P, …, K), and, where means are
    needed, the sums of the weights of a band, (P, …). After the last band it is ready for another
    case of this size.

    Parameters
    ----------
    sweep
        The patches of the case.
    window
        Weight of each pixel of a patch, float32.
    channels
        Number of values per pixel, K.
    classes
        "argmax": the class with the largest mean; for K = 1 whether the mean is above 0.5.
        "probabilities": the means.
    """

    def __init__(
        self, sweep: Sweep, window: NDArray[np.float32], *, channels: int, classes: Classes
    ) -> None:
        self._sweep = sweep
        self._classes: Classes = classes
        # In the shape of a prediction, because NumPy is slow along a short last axis.
        self._window = None if (window == 1).all() else np.repeat(window[..., None], channels, -1)
        # A ring: plane z of the case is row z % P.
        self._sums = np.zeros((sweep.bands[0].stop, *sweep.size[1:], channels), np.float32)
        self._scratch = np.empty(0, np.float32)
        # Dividing by the sum of the weights does not change which class has the largest mean.
        self._weights: NDArray[np.float32] | None = None
        if classes == "probabilities" or channels == 1:
            self._weights = np.zeros(self._sums.shape[:-1], np.float32)
            for part in sweep.parts:  # the same in every band
                self._weights[:, *part.lands] += window[sweep.inside, *part.inside]
        # Those of the final planes of a band: few, because only bands near a border differ.
        self._totals: dict[tuple[tuple[int, ...], int], NDArray[np.float32]] = {}

    def add(self, band: Band, parts: Sequence[Part], predictions: NDArray[np.float32]) -> None:
        """Add the predictions of some patches of a band.

        Parameters
        ----------
        band, parts
            What the patches cover.
        predictions
            (n, *patch, K) float32.
        """
        planes, inside = band.stop - band.start, self._sweep.inside
        # Block by block, and patch by patch in each: sums and weights stay in the core's cache.
        for rows, ring in self._blocks(band.start, planes):
            for part, prediction in zip(parts, predictions, strict=True):
                found = prediction[inside, *part.inside][rows]
                if self._window is not None:
                    found = self._product(found, self._window[inside, *part.inside][rows])
                self._sums[ring, *part.lands] += found

    def finish(self, band: Band) -> Iterator[NDArray[Any]]:
        """Go on to the next band, after all patches of a band.

        Parameters
        ----------
        band
            The current band.

        Yields
        ------
        (n, …) or (n, …, K) arrays
            The next planes of the case: ids, of :func:`id_dtype`, or means, float32.
        """
        count = band.final - band.start
        totals = None if self._weights is None else self._totals_of(self._weights, band)
        for rows, ring in self._blocks(band.start, count):
            sums = self._sums[ring]
            if totals is None:
                yield largest(sums)
            elif self._classes == "argmax":
                yield (sums[..., 0] > totals[rows]).view(np.uint8)
            else:
                yield sums / totals[rows][..., None]
            sums[:] = 0

    def _blocks(self, start: int, count: int) -> Iterator[tuple[slice, slice]]:
        """Cut planes into blocks: where they are among these, and in the ring."""
        planes = len(self._sums)
        each = max(1, BLOCK_NBYTES // self._sums[:1].nbytes)
        done = 0
        while done < count:
            row = (start + done) % planes
            here = min(each, count - done, planes - row)
            yield slice(done, done + here), slice(row, row + here)
            done += here

    def _product(
        self, found: NDArray[np.float32], window: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        size = math.prod(found.shape)
        if self._scratch.size < size:
            self._scratch = np.empty(size, np.float32)
        out = self._scratch[:size].reshape(found.shape)
        np.multiply(found, window, out=out)
        return out

    def _totals_of(self, weights: NDArray[np.float32], band: Band) -> NDArray[np.float32]:
        """Return what the sums of the final planes of a band are divided by, or compared with."""
        key = band.covering, band.final - band.start
        if key not in self._totals:
            totals = np.zeros((key[1], *weights.shape[1:]), np.float32)
            for offset in band.covering:
                there = weights[offset : offset + key[1]]
                totals[: len(there)] += there
            if self._classes == "argmax":
                totals /= 2  # a mean is above 0.5 if the sum is above half of the weights
            self._totals[key] = totals
        return self._totals[key]


def largest(values: NDArray[np.float32]) -> NDArray[Any]:
    """Return ``np.argmax(values, axis=-1)`` as :func:`id_dtype`.

    Examples
    --------
    >>> largest(np.array([[0.1, 0.9], [0.5, 0.5]], np.float32))
    array([1, 0], dtype=uint8)
    """
    count = values.shape[-1]
    if count > _FEW_CLASSES:
        found: NDArray[Any] = np.argmax(values, axis=-1).astype(id_dtype(count))
        return found
    best, *others = np.moveaxis(values, -1, 0).copy()
    ids = np.zeros(best.shape, np.uint8)
    for number, other in enumerate(others, 1):
        # Later classes have larger numbers. Faster than assigning where the comparison is true.
        np.maximum(ids, (other > best).view(np.uint8) * np.uint8(number), out=ids)
        np.maximum(other, best, out=best)
    return ids


def id_dtype(classes: int) -> np.dtype[Any]:
    """Return the dtype of class ids: uint8, or uint16 of more than 256 classes.

    Examples
    --------
    >>> id_dtype(256), id_dtype(257)
    (dtype('uint8'), dtype('uint16'))
    """
    return np.dtype(np.uint8 if classes <= 256 else np.uint16)
