"""How many rounds does a computed shuffle need to be indistinguishable from chance?

Every test returns the deviation of a χ² (or of a count of rare events) from its expectation, in
standard deviations. The largest deviation of `KEYS` independent keys is reported. By chance alone
it is about 2, and hardly ever above 5 (above 7 for "neighbours kept", of which 2 are expected).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from growth.row import Row
from zarrfeed.order.large_shuffle import ROUNDS, IndexShuffle
from zarrfeed.order.shuffle import permutation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Shuffle = Callable[[NDArray[np.int64]], NDArray[np.int64]]
    MakeShuffle = Callable[[int, int, int], Shuffle]  # from size, seed and epoch

KEYS = 5
TESTED_ROUNDS = (1, 2, 3, 4, 5, 6, ROUNDS)
SMALL, LARGE = 97, 5_000_011  # primes, which no grid fits exactly
PLACES = 1 << 19
GROUP = 16
_BINS = 32


def quality(*, quick: bool) -> Iterator[Row]:
    """Test networks with an increasing number of rounds, and the order that is kept in memory."""
    keys = range(4 if quick else KEYS)
    for rounds in TESTED_ROUNDS:
        variant = "computed"
        for what, test in TESTS.items():
            yield _row(variant, rounds, what, [test(_computed(rounds), seed) for seed in keys])
        of_groups = [first_two_of_a_group(rounds, seed) for seed in keys]
        yield _row(variant, rounds, "first two of a group of 16", of_groups)
    for what, test in TESTS.items():
        yield _row("in memory", 0, what, [test(_in_memory, seed) for seed in keys])


def _row(variant: str, rounds: int, what: str, deviations: list[float]) -> Row:
    found = [abs(deviation) for deviation in deviations]
    return Row(
        "quality", variant, f"{what}, farthest key", "rounds of the network", rounds,
        max(found), min(found), max(found), len(found), "σ",
    )  # fmt: skip


def _computed(rounds: int) -> MakeShuffle:
    return lambda size, seed, epoch: IndexShuffle(size, (seed, epoch), rounds=rounds)


def _in_memory(size: int, seed: int, epoch: int) -> Shuffle:
    return permutation(size, seed=seed, epoch=epoch).take


def every_value_at_every_place(make: MakeShuffle, seed: int) -> float:
    """Over 2,000 epochs of a few samples, each sample is at each place equally often."""
    epochs, places = 2000, np.arange(SMALL)
    count = np.zeros((SMALL, SMALL))
    for epoch in range(epochs):
        count[places, make(SMALL, seed, epoch)(places)] += 1
    return _deviation(count, epochs / SMALL, (SMALL - 1) ** 2)


def first_two_of_a_group(rounds: int, seed: int) -> float:
    """Every pair of samples begins equally many groups of 16 samples of a "block" order."""
    number = np.arange(100_000)
    shuffle = IndexShuffle(GROUP, (seed,), rounds=rounds)
    first, second = (shuffle(np.full_like(number, at), number=number) for at in (0, 1))
    count = np.bincount(first * GROUP + second, minlength=GROUP**2).reshape(GROUP, GROUP)
    pairs = count[~np.eye(GROUP, dtype=np.bool_)]
    return _deviation(pairs, number.size / pairs.size, pairs.size - 1)


def next_to_each_other(make: MakeShuffle, seed: int) -> float:
    """Values of neighbouring places are independent, in 32 × 32 classes."""
    return _pairs(make, seed, 1)


def a_column_apart(make: MakeShuffle, seed: int) -> float:
    """Values of places in one column of the network's grid are independent."""
    return _pairs(make, seed, int((LARGE - 1) ** 0.5) + 1)


def distance_of_neighbours(make: MakeShuffle, seed: int) -> float:
    """Differences between the values of neighbouring places are uniform."""
    shuffle, places = make(LARGE, seed, 0), np.arange(PLACES)
    return _spread(shuffle(places + 1) - shuffle(places))


def neighbours_kept(make: MakeShuffle, seed: int) -> float:
    """Two pairs of neighbouring values are expected to be neighbours in the order."""
    order = make(LARGE, seed, 0)(np.arange(LARGE))
    kept = int((np.abs(np.diff(order)) == 1).sum())
    return (kept - 2) / 2**0.5


def two_epochs(make: MakeShuffle, seed: int) -> float:
    """Differences between a place's values in two epochs are uniform."""
    places = np.arange(PLACES)
    return _spread(make(LARGE, seed, 1)(places) - make(LARGE, seed, 0)(places))


def two_seeds(make: MakeShuffle, seed: int) -> float:
    """Differences between a place's values with two seeds are uniform."""
    places = np.arange(PLACES)
    return _spread(make(LARGE, seed + 1, 0)(places) - make(LARGE, seed, 0)(places))


TESTS = {
    "every value at every place": every_value_at_every_place,
    "pairs next to each other": next_to_each_other,
    "pairs a column apart": a_column_apart,
    "distance of neighbours": distance_of_neighbours,
    "neighbours kept": neighbours_kept,
    "distance between epochs": two_epochs,
    "distance between seeds": two_seeds,
}


def _pairs(make: MakeShuffle, seed: int, stride: int) -> float:
    shuffle, places = make(LARGE, seed, 0), np.arange(PLACES)
    first, second = (shuffle(at) * _BINS // LARGE for at in (places, places + stride))
    return _deviation(np.bincount(first * _BINS + second, minlength=_BINS**2), *_equal(PLACES))


def _spread(apart: NDArray[np.int64]) -> float:
    classes = apart % LARGE * _BINS**2 // LARGE
    return _deviation(np.bincount(classes, minlength=_BINS**2), *_equal(classes.size))


def _equal(count: int) -> tuple[float, int]:
    return count / _BINS**2, _BINS**2 - 1


def _deviation(observed: NDArray[np.float64], expected: float, freedom: int) -> float:
    squares = float(((observed - expected) ** 2 / expected).sum())
    return (squares - freedom) / (2 * freedom) ** 0.5
