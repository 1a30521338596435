"""Which samples and cases look alike, by hashes of 64 bits? Pure.

The hash (dHash) has a bit for each of 8 × 8 cells, which says whether the image is brighter to the
right of it. Images whose hashes differ in at most 3 bits are near duplicates. Cases with the same
number of tiles along each axis are, if the hashes of their tiles differ in at most 3 bits on
average, over the tiles that tell something in both, which must be at least half of those that do in
either.

A hash with at most 3 bits set, or not set, tells nothing: it is that of a constant image, or of one
that becomes darker, or brighter, throughout. Such images are not compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from zarrfeed_tools.report.hamming import NEAR, near_pairs, set_bits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]

_MOST_TILES = 1 << 20  # that are compared at a time
_MOST_CASES = 1 << 22  # pairs of cases


@dataclass(frozen=True, slots=True, eq=False)
class Links:
    """Units that are near duplicates, two by two.

    Attributes
    ----------
    first, second
        (p,) int64 numbers of units.
    distance
        (p,) float64: number of bits that differ; its mean over tiles, for cases.
    plain
        Number of units that were not compared, because their hashes tell nothing.
    complete
        Whether these are enough to find all groups.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    distance: NDArray[np.float64]
    plain: int
    complete: bool


def tells(hashes: Words) -> NDArray[np.bool_]:
    """Say which hashes tell something: those with more than 3 bits set, and not set."""
    bits = set_bits(hashes)
    return (bits > NEAR) & (bits < 64 - NEAR)


def sample_links(hashes: Words, numbers: NDArray[np.int64]) -> Links:
    """Link samples, each hash that several have through the first of them.

    Parameters
    ----------
    hashes, numbers
        (n,) the hash of each sample, and its number.
    """
    telling = tells(hashes)
    hashes, numbers = hashes[telling], numbers[telling]
    distinct, first, place = np.unique(hashes, return_index=True, return_inverse=True)
    pairs = near_pairs(distinct)
    leaders = numbers[first]
    leader = leaders[place]
    again = leader != numbers
    return Links(
        np.concatenate([leader[again], leaders[pairs.first]]),
        np.concatenate([numbers[again], leaders[pairs.second]]),
        np.concatenate([np.zeros(np.count_nonzero(again)), pairs.distance.astype(np.float64)]),
        len(telling) - len(hashes),
        pairs.complete,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Tiles:
    """The hashes of the tiles of M cases.

    Attributes
    ----------
    hashes
        (n,) uint64, case after case.
    count
        (M,) int64: number of tiles of each case.
    grid
        (M,) int64: equal for cases with tiles of equal size, as many along each axis.
    numbers
        (M,) int64: number of each case.
    """

    hashes: Words
    count: NDArray[np.int64]
    grid: NDArray[np.int64]
    numbers: NDArray[np.int64]

    @property
    def first(self) -> NDArray[np.int64]:
        """Where the tiles of each case begin in `hashes`, (M,) int64."""
        return np.cumsum(self.count) - self.count


def case_links(tiles: Tiles) -> Links:
    """Link cases whose tiles are near on average.

    If distances are 3 on average, one of them at least is 3 or less: only cases with such tiles at
    one place are compared.

    Parameters
    ----------
    tiles
        The hashes of all cases.
    """
    if not len(tiles.hashes):
        none = np.zeros(0, np.int64)
        return Links(none, none, np.zeros(0), 0, complete=True)
    telling = tells(tiles.hashes)
    case = np.repeat(np.arange(len(tiles.count)), tiles.count)
    within = np.arange(len(case)) - np.repeat(tiles.first, tiles.count)
    place = tiles.grid[case] * int(tiles.count.max()) + within
    rows = np.flatnonzero(telling)
    rows = rows[np.lexsort((rows, tiles.hashes[rows], place[rows]))]
    new = np.ones(len(rows), np.bool_)
    same_place = place[rows][1:] == place[rows][:-1]
    new[1:] = ~(same_place & (tiles.hashes[rows][1:] == tiles.hashes[rows][:-1]))
    # Cases that have the same hash at a place are a bucket.
    starts = np.flatnonzero(new)
    sizes = np.diff(starts, append=len(rows))
    pairs = near_pairs(tiles.hashes[rows[starts]], place[rows[starts]])
    several = np.flatnonzero(sizes > 1)
    one, other = np.append(several, pairs.first), np.append(several, pairs.second)
    first, second, complete = _pairs_between(case[rows], starts, sizes, one, other)
    distance, near = _mean_distances(tiles, telling, first, second)
    return Links(
        tiles.numbers[first[near]],
        tiles.numbers[second[near]],
        distance[near],
        int(np.count_nonzero(~np.logical_or.reduceat(telling, tiles.first))),
        pairs.complete and complete,
    )


class _CasePairs(NamedTuple):
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    complete: bool


def _pairs_between(
    case: NDArray[np.int64],
    starts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    one: NDArray[np.int64],
    other: NDArray[np.int64],
) -> _CasePairs:
    """Return each pair of cases of two buckets, which may be the same one, once.

    Parameters
    ----------
    case
        The cases of all buckets, one bucket after the other.
    starts, sizes
        Where each bucket begins in `case`, and how many it has.
    one, other
        (p,) int64: pairs of buckets.
    """
    counts = sizes[one] * sizes[other]
    fit = np.cumsum(counts) <= _MOST_CASES
    one, other, counts = one[fit], other[fit], counts[fit]
    pair = np.repeat(np.arange(len(counts)), counts)
    step = np.arange(len(pair)) - np.repeat(np.cumsum(counts) - counts, counts)
    along, across = np.divmod(step, sizes[other][pair])
    first, second = case[starts[one][pair] + along], case[starts[other][pair] + across]
    first, second = np.minimum(first, second), np.maximum(first, second)
    apart = first != second
    cases = int(case.max(initial=0)) + 1
    number = np.unique(first[apart] * cases + second[apart])
    return _CasePairs(number // cases, number % cases, bool(fit.all()))


def _mean_distances(
    tiles: Tiles,
    telling: NDArray[np.bool_],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the mean distance of the tiles of each pair of cases, and whether they are near."""
    mean, near = np.zeros(len(first)), np.zeros(len(first), np.bool_)
    ends = np.cumsum(tiles.count[first])
    starts_of = tiles.first
    start = 0
    while start < len(first):
        done = ends[start] - tiles.count[first[start]]
        stop = max(start + 1, int(np.searchsorted(ends, done + _MOST_TILES, side="right")))
        count = tiles.count[first[start:stop]]
        begins = np.cumsum(count) - count
        within = np.arange(int(count.sum())) - np.repeat(begins, count)
        one, other = (
            np.repeat(starts_of[side[start:stop]], count) + within for side in (first, second)
        )
        both = telling[one] & telling[other]
        differ = np.where(both, set_bits(tiles.hashes[one] ^ tiles.hashes[other]), 0)
        in_both, in_either, bits = (
            np.add.reduceat(each.astype(np.int64), begins)
            for each in (both, telling[one] | telling[other], differ)
        )
        mean[start:stop] = bits / np.maximum(in_both, 1)
        near[start:stop] = (bits <= NEAR * in_both) & (2 * in_both >= in_either) & (in_both > 0)
        start = stop
    return mean, near
