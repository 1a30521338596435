"""Which sample is drawn at a place of an epoch, if samples are drawn in proportion to weights?

The weights of an epoch's samples are laid end to end on a line that is as long as the number of
draws. From a random offset on, there is a draw at every whole number ("systematic sampling")::

    weights   |  1.5  | .6 |     2.4     | .5 |
    draws       ↑    ↑    ↑    ↑    ↑            offset .3: drawn 2, 0, 2 and 1 times

A sample of weight w is thus drawn ⌊w⌋ or ⌈w⌉ times in every epoch, and w times on average. Samples
come in another random order on every epoch's line, but those of one group lie together, so that the
same holds for the sum of the weights of a group. The order on the line is not that of the epoch,
in which samples come as stored, or as the schedule shuffles them.

Weights are whole numbers of small units, which sum up exactly.
"""

from __future__ import annotations

import math
from functools import lru_cache, partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.order.draws import SAMPLE_DRAW, ids_at
from zarrfeed.order.random_words import Purpose

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from zarrfeed.arrays import Ids
    from zarrfeed.order.draws import Draws

# Units per draw are 2^20, fewer if their sum would exceed 2^50: sums are then exact in float64.
_UNIT_BITS, _SUM_BITS = 20, 50
_GROUP_BITS = np.uint64(16)


class RepeatedSamples:
    """A :class:`zarrfeed.order.draws.Sampler` of whole samples.

    Parameters
    ----------
    ids
        (N,) int64, or a range: the sample ids to draw from.
    weights
        (N,) float64, at least 0 and not all 0, in proportion to which samples are drawn.
    length
        Number of draws per epoch, at most 2^40.
    groups
        (N,) uint16: samples of equal groups lie together on the line, and groups in ascending
        order. None for one group.
    description
        What the weights were derived from, in JSON.

    Examples
    --------
    >>> sampler = RepeatedSamples(range(3), np.array([1.0, 0.0, 2.0]), length=6)
    >>> sampler.draws(np.arange(6), seed=0, epoch=0).tolist()
    [(0, 0), (0, 1), (2, 0), (2, 1), (2, 2), (2, 3)]
    """

    dtype = SAMPLE_DRAW
    shuffled = False

    def __init__(
        self,
        ids: Ids,
        weights: NDArray[np.float64],
        *,
        length: int,
        groups: NDArray[np.uint16] | None = None,
        description: Mapping[str, Any] | None = None,
    ) -> None:
        self.length = length
        self._ids = ids
        self._unit = 1 << min(_UNIT_BITS, _SUM_BITS - length.bit_length())
        line = slice(None) if groups is None else np.argsort(groups, kind="stable")
        self._units = np.empty(weights.size, np.int64)
        self._units[line] = apportioned(weights[line], length * self._unit)
        self._description = dict(description or {})
        self._groups = groups
        self._ends = self._cached_ends()

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: all but the orders, which follow from it."""
        return {name: value for name, value in self.__dict__.items() if name != "_ends"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._ends = self._cached_ends()

    def _cached_ends(self) -> Callable[[int, int], NDArray[np.int64]]:
        # Two epochs, because reading of the next one begins before this one ends.
        return lru_cache(maxsize=2)(partial(_epoch_ends, self._units, self._groups, self._unit))

    @property
    def expected(self) -> NDArray[np.float64]:
        """(N,) float64: how often each sample is drawn per epoch, on average over epochs."""
        return self._units / self._unit

    def counts(self, *, seed: int, epoch: int) -> NDArray[np.int64]:
        """Return how often an epoch draws each sample.

        Returns
        -------
        (N,) int64
            Their sum is `length`.
        """
        return np.diff(self._ends(seed, epoch), prepend=0)

    def draws(self, places: NDArray[np.int64], *, seed: int, epoch: int) -> Draws:
        """Return the draws at some places of an epoch, of which draws of one sample are neighbours.

        Parameters
        ----------
        places
            (b,) int64, from 0 to ``length - 1``.
        seed, epoch
            Seed of the sequence, and number of the epoch.

        Returns
        -------
        (b,) array of ``SAMPLE_DRAW``
        """
        ends = self._ends(seed, epoch)
        found = np.searchsorted(ends, places, side="right")
        draws = np.empty(places.size, SAMPLE_DRAW)
        draws["id"] = ids_at(self._ids, found)
        draws["repeat"] = places - np.where(found > 0, ends[found - 1], 0)
        return draws

    def described(self) -> dict[str, Any]:
        """Return the description, and a digest of the weights, which depend on the store, too."""
        digest = blake2b(self._units.astype("<i8").data, digest_size=8).hexdigest()
        return {**self._description, "weights": digest}


def apportioned(weights: NDArray[np.float64], total: int) -> NDArray[np.int64]:
    """Distribute a whole number in proportion to weights.

    Sums of successive parts are rounded, so that every run of parts is the exact one, rounded up or
    down.

    Parameters
    ----------
    weights
        (N,) float64, finite, at least 0 and not all 0.
    total
        What to distribute, at most 2^50.

    Returns
    -------
    (N,) int64
        Whole numbers that sum up to `total`. A part that is whole is exact.

    Examples
    --------
    >>> apportioned(np.array([0.1, 0.26, 0.64]), 10).tolist()
    [1, 3, 6]
    """
    # An exact sum is the same on every machine, which `np.sum` does not promise.
    parts = weights * (total / math.fsum(weights.data))
    units = parts.astype(np.int64)
    parts -= units
    units += np.diff(np.rint(parts.cumsum()), prepend=0).astype(np.int64)
    units[units.argmax()] += total - int(units.sum())  # of very many samples: rounding errors
    return units


def _epoch_ends(
    units: NDArray[np.int64], groups: NDArray[np.uint16] | None, unit: int, seed: int, epoch: int
) -> NDArray[np.int64]:
    """Return (N,) int64: the number of draws of each sample and all before it."""
    words = np.random.Philox(np.random.SeedSequence((seed, epoch, Purpose.SAMPLES))).random_raw(
        units.size + 1
    )
    offset, words = int(words[-1] % np.uint64(unit)), words[:-1]
    if groups is not None:
        words >>= _GROUP_BITS
        words |= groups.astype(np.uint64) << (np.uint64(64) - _GROUP_BITS)
    line = np.argsort(words, kind="stable")
    ends = units[line].cumsum()
    ends += unit - 1 - offset
    ends //= unit  # the number of draws before this point of the line
    counts = np.empty_like(ends)
    counts[line] = np.diff(ends, prepend=0)
    return counts.cumsum()
