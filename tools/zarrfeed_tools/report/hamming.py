"""Which of many hashes of 64 bits differ in few bits?

Pure, exact, and without comparing all pairs: if two hashes differ in at most 3 bits, then of 4
bands of 16 bits one at least is the same in both (pigeonhole principle), so that only hashes that
share a band are compared. Where very many share one, the other 48 bits are divided into 4 bands
again, and so on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Words = NDArray[np.uint64]

NEAR = 3  # bits
_BANDS = NEAR + 1
_MANY = 128  # hashes of a bucket that is divided further
_FEWEST_BITS = 12  # that are divided further
_BLOCK = 1 << 20  # pairs that are compared at a time
MOST_COMPARED = 1 << 28  # pairs, 4 s
MOST_FOUND = 1 << 23  # pairs


class Pairs(NamedTuple):
    """Pairs of hashes that differ in few bits.

    Attributes
    ----------
    first, second
        (p,) int64: places of the two hashes, ``first < second``.
    distance
        (p,) int64: number of bits that differ.
    complete
        Whether these are all pairs. If very many hashes are alike, the search ends early.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    distance: NDArray[np.int64]
    complete: bool


def set_bits(words: Words) -> NDArray[np.int64]:
    """Count the bits that are set in each number.

    Examples
    --------
    >>> set_bits(np.array([0, 7, 2**64 - 1], np.uint64)).tolist()
    [0, 3, 64]
    """
    two, four, eight = (
        np.uint64(each) for each in (0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F)
    )
    words = words - ((words >> np.uint64(1)) & two)
    words = (words & four) + ((words >> np.uint64(2)) & four)
    words = (words + (words >> np.uint64(4))) & eight
    return ((words * np.uint64(0x0101010101010101)) >> np.uint64(56)).astype(np.int64)


def near_pairs(
    hashes: Words, among: NDArray[np.int64] | None = None, *, most_compared: int = MOST_COMPARED
) -> Pairs:
    """Find all pairs of hashes that differ in at most :data:`NEAR` bits.

    Parameters
    ----------
    hashes
        (n,) uint64.
    among
        (n,) int64: only hashes with the same number here are compared; all by default.
    most_compared
        How many pairs to compare at most.

    Examples
    --------
    >>> pairs = near_pairs(np.array([0, 2**40, 2**40 - 1, 2**40 + 6], np.uint64))
    >>> list(zip(pairs.first.tolist(), pairs.second.tolist(), pairs.distance.tolist()))
    [(0, 1, 1), (0, 3, 3), (1, 3, 2)]
    """
    search = _Search(hashes, most_compared)
    every = np.arange(len(hashes), dtype=np.int64)
    bits = np.arange(64, dtype=np.uint64)
    search.divide(every, np.zeros_like(every) if among is None else among, bits)
    first, second = search.pairs()
    return Pairs(first, second, set_bits(hashes[first] ^ hashes[second]), search.complete)


@dataclass(slots=True)
class _Search:
    hashes: Words
    left: int  # pairs that may still be compared
    found: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = field(default_factory=list)
    count: int = 0
    complete: bool = True

    def divide(
        self,
        places: NDArray[np.int64],
        buckets: NDArray[np.int64],
        bits: Words,
        apart: Sequence[np.uint64] = (),
    ) -> None:
        """Compare hashes of equal buckets, given that they are equal in all but some bits.

        Parameters
        ----------
        places
            (m,) places of hashes.
        buckets
            (m,) bucket of each.
        bits
            The bits in which hashes of a bucket may differ.
        apart
            Masks of bits. Pairs that differ in none of the bits of one of them are found elsewhere.
        """
        for band in _bands(bits):
            self.left -= len(places)
            self.complete &= self.left >= 0
            if not self.complete:
                return
            mask = np.bitwise_or.reduce(np.uint64(1) << band)
            value = self.hashes[places] & mask
            order = np.lexsort((value, buckets))
            ordered, values = buckets[order], value[order]
            new = np.ones(len(order), np.bool_)
            new[1:] = (ordered[1:] != ordered[:-1]) | (values[1:] != values[:-1])
            starts = np.flatnonzero(new)
            sizes = np.diff(starts, append=len(order))
            rest = np.setdiff1d(bits, band)
            many = (sizes > _MANY) & (len(rest) >= _FEWEST_BITS)
            few = (sizes > 1) & ~many
            self._compare(places[order], starts[few], sizes[few], apart)
            for earlier in apart if many.any() else ():
                # All pairs of a bucket that is equal in these bits were found by them.
                here = self.hashes[places[order]] & earlier
                low, high = (each.reduceat(here, starts) for each in (np.minimum, np.maximum))
                many &= low != high
            if many.any():
                inside = np.repeat(many, sizes)
                labels = np.repeat(np.flatnonzero(many), sizes[many])
                self.divide(places[order][inside], labels, rest, apart)
            apart = [*apart, mask]

    def _compare(
        self,
        places: NDArray[np.int64],
        starts: NDArray[np.int64],
        sizes: NDArray[np.int64],
        apart: Sequence[np.uint64],
    ) -> None:
        """Compare all hashes of each bucket, which are neighbours in `places`."""
        for one, other in _pairs_in(starts, sizes):
            if self.left < len(one) or self.count > MOST_FOUND:
                self.complete = False
                return
            self.left -= len(one)
            first, second = places[one], places[other]
            bits = self.hashes[first] ^ self.hashes[second]
            near = np.flatnonzero(set_bits(bits) <= NEAR)
            for mask in apart:
                near = near[(bits[near] & mask) != 0]
            first, second = first[near], second[near]
            self.found.append((np.minimum(first, second), np.maximum(first, second)))
            self.count += len(first)

    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the pairs, each once, in order."""
        if not self.found:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        first, second = (np.concatenate(side) for side in zip(*self.found, strict=True))
        order = np.lexsort((second, first))
        return first[order], second[order]


def _bands(bits: Words) -> Sequence[Words]:
    return [band for band in np.array_split(bits, _BANDS) if len(band)]


def _pairs_in(
    starts: NDArray[np.int64], sizes: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield all pairs of places of each bucket, some at a time."""
    # Every place, and how many follow it in its bucket.
    begins = np.repeat(np.cumsum(sizes) - sizes, sizes)
    within = np.arange(int(sizes.sum())) - begins
    place = np.repeat(starts, sizes) + within
    after = np.repeat(sizes, sizes) - within - 1
    ends = np.cumsum(after)
    start = 0
    while start < len(place):
        done = int(ends[start] - after[start])
        stop = max(start + 1, int(np.searchsorted(ends, done + _BLOCK, side="right")))
        some = after[start:stop]
        one = np.repeat(place[start:stop], some)
        step = np.arange(len(one)) - np.repeat(np.cumsum(some) - some, some)
        yield one, one + 1 + step
        start = stop
