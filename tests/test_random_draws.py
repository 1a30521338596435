"""Random patches: shares of classes are exact, and places are uniform, whoever asks for a draw."""

from __future__ import annotations

import math
import tracemalloc
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zarrfeed.order.class_pixels import ClassPixels
from zarrfeed.order.division import exact_share
from zarrfeed.order.draws import FREE
from zarrfeed.order.forced_classes import ForcedClasses
from zarrfeed.order.patch_cases import PatchCases
from zarrfeed.order.patches import RandomPatches
from zarrfeed.order.random_draws import RandomDraws
from zarrfeed.order.schedule import Schedule

if TYPE_CHECKING:
    from numpy.typing import NDArray

shares = st.sampled_from([1 / 3, 0.1, 1.0, 0.5, 0.999, 1e-6]) | st.floats(1e-6, 1)
PRIMES = [999_983, 999_979, 999_961, 999_959, 999_953]  # fractions of large denominators


def share_lists() -> st.SearchStrategy[list[Fraction]]:
    """Shares of up to 12 classes, of any denominators."""
    parts = st.lists(st.integers(1, 97), min_size=1, max_size=12)
    simple = st.tuples(parts, st.integers(0, 200)).map(
        lambda given: [Fraction(part, sum(given[0]) + given[1]) for part in given[0]]
    )
    large = st.lists(st.integers(1, 190_000), min_size=5, max_size=5).map(
        lambda given: [Fraction(n, prime) for n, prime in zip(given, PRIMES, strict=True)]
    )
    return simple | large


def deviation(hits: NDArray[np.bool_], share: Fraction) -> float:
    """Return how much the number of hits in a window of n draws differs from n p, at most."""
    before = np.concatenate([[0], np.cumsum(hits)]) - np.arange(hits.size + 1) * float(share)
    return float(before.max() - before.min())


# -- shares ---------------------------------------------------------------------------------------


@given(shares, st.integers(0, 10**12))
def test_a_class_has_its_share_rounded_up_or_down_in_every_window(share: float, first: int) -> None:
    exact = exact_share(share)
    hits = ForcedClasses([exact]).at(np.arange(first, first + 130)) == 0
    before = np.concatenate([[0], np.cumsum(hits)])
    for length in (1, 2, 3, 7, 16, 100, 130):
        counts = before[length:] - before[:-length]
        assert counts.min() >= math.floor(length * exact)
        assert counts.max() <= math.ceil(length * exact)


@given(share_lists(), st.integers(0, 10**12))
def test_several_classes_have_their_sum_exactly_and_each_its_share_nearly(
    exact: list[Fraction], first: int
) -> None:
    total = sum(exact)
    chosen = ForcedClasses(exact).at(np.arange(first, first + 400))
    # Counts within less than 1 of n p are n p rounded up or down.
    assert deviation(chosen >= 0, Fraction(total)) < 1 + 1e-9
    for column, share in enumerate(exact):
        assert deviation(chosen == column, share) < 4


def test_classes_of_equal_shares_take_turns() -> None:
    for count in range(1, 9):
        chosen = ForcedClasses([Fraction(1, count)] * count).at(np.arange(5 * count))
        for turn in chosen.reshape(5, count):
            assert sorted(turn) == list(range(count))


@given(share_lists(), st.integers(0, 10**6), st.integers(1, 40), st.integers(0, 40))
def test_a_draw_is_forced_whatever_draws_it_is_asked_with(
    exact: list[Fraction], epochs: int, length: int, cut: int
) -> None:
    """And epochs go on where the one before ended."""
    forced, places = ForcedClasses(exact), np.arange(length)
    after = epochs * length
    whole = forced.at(places, after=after)
    assert whole.tolist() == forced.at(places + after).tolist()
    counts = forced.counts(length, after=after)
    assert counts == np.bincount(whole + 1, minlength=len(exact) + 1)[1:].tolist()
    parts = [forced.at(places[:cut], after=after), forced.at(places[cut:], after=after)]
    assert np.concatenate(parts).tolist() == whole.tolist()


def test_short_epochs_reach_small_shares_together() -> None:
    """With 2 draws per epoch, a share of 0.1 is one draw in five epochs."""
    forced = ForcedClasses([Fraction(1, 10)])
    epochs = [forced.at(np.arange(2), after=2 * epoch) for epoch in range(10)]
    assert np.concatenate(epochs).tolist().count(0) == 2


# -- places ---------------------------------------------------------------------------------------


def cases_of(sizes: list[tuple[int, ...]], tiles: list[int] | None = None) -> PatchCases:
    of = np.array(tiles or [1] * len(sizes), np.int64)
    numbers = np.arange(5, 5 + len(sizes))
    return PatchCases(numbers, np.array(sizes, np.int64), 100 + np.cumsum(of) - of, of)


def drawn(sampler: RandomDraws, count: int, *, seed: int = 1, epoch: int = 0) -> Any:
    return sampler.draws(np.arange(count), seed=seed, epoch=epoch)


def require_uniform(values: NDArray[Any], possible: int) -> None:
    """χ² of draws over all places where they can lie, to 5 standard deviations."""
    _, counts = np.unique(values, axis=0, return_counts=True)
    assert counts.size <= possible
    expected = len(values) / possible
    assert expected >= 20
    statistic = ((counts - expected) ** 2).sum() / expected + expected * (possible - counts.size)
    freedom = possible - 1
    assert abs(statistic - freedom) < 5 * math.sqrt(2 * freedom)


SIZES = [(9, 7), (4, 6), (3, 9), (12, 5)]


@pytest.mark.parametrize("border", ["shift", "fill"])
def test_origins_are_uniform_over_all_places_of_all_cases(border: Any) -> None:
    size = (4, 5)
    draws = drawn(RandomDraws(RandomPatches(size, border=border), cases_of(SIZES)), 8000)
    if border == "shift":
        possible = sum(max(h - 3, 1) * max(w - 4, 1) for h, w in SIZES)
        assert (draws["origin"][draws["case"] == 7][:, 0] == 0).all()  # 3 pixels, in the middle
    else:
        possible = sum(h * w for h, w in SIZES)
        centres = draws["origin"] + np.array(size) // 2
        assert ((centres >= 0) & (centres < draws["size"])).all()
    require_uniform(np.column_stack([draws["case"], draws["origin"]]), possible)
    assert (draws["tile"] == FREE).all()


def test_by_case_every_case_comes_equally_often() -> None:
    patches = RandomPatches((4, 5), by="case")
    draws = drawn(RandomDraws(patches, cases_of(SIZES)), 4000)
    require_uniform(draws["case"], 4)
    within = draws["origin"][draws["case"] == 5]
    require_uniform(within, 6 * 3)


COUNTS = np.array([[0, 3], [5, 0], [2, 0], [0, 4], [7, 9], [0, 0], [1, 1]], np.uint32)
TILES = [2, 1, 2, 2]  # of each case: the second has no pixel of class 8


def forced_draws(by: Any = "size", **of: Any) -> RandomDraws:
    patches = RandomPatches((4, 5), shares={"a": 0.4, "b": 0.6}, by=by, **of)
    return RandomDraws(patches, cases_of(SIZES, TILES), [3, 8], ClassPixels(COUNTS))


def test_every_pixel_of_a_class_is_equally_likely() -> None:
    draws = drawn(forced_draws(), 4000)
    for column, label in enumerate([3, 8]):
        found = draws[draws["label"] == label]
        assert len(found) == [1600, 2400][column]
        require_uniform(np.column_stack([found["tile"], found["nth"]]), COUNTS[:, column].sum())
        assert (found["pixels"] == COUNTS[found["tile"] - 100, column]).all()
        assert (found["nth"] < found["pixels"]).all()
        ends = np.cumsum(TILES)
        assert (found["case"] - 5 == np.searchsorted(ends, found["tile"] - 100, "right")).all()
        assert (found["first_tile"] - 100 == (ends - TILES)[found["case"] - 5]).all()
    assert 6 not in draws["case"][draws["label"] == 8]


def test_by_case_every_case_that_has_a_class_comes_equally_often() -> None:
    draws = drawn(forced_draws(by="case"), 6000)
    found = draws[draws["label"] == 8]
    assert set(found["case"].tolist()) == {5, 7, 8}
    require_uniform(found["case"], 3)
    require_uniform(found[found["case"] == 7][["tile", "nth"]], 4 + 9)


@pytest.mark.parametrize("size", [(1, 2), (4, 5), (7, 2), (3, 4, 6)])
@pytest.mark.parametrize("jitter", [0.0, 0.3, 1.0])
def test_jitter_keeps_the_pixel_inside(size: tuple[int, ...], jitter: float) -> None:
    sizes = [(9,) * len(size)]
    patches = RandomPatches(size, shares={0: 1.0}, jitter=jitter)
    counts = ClassPixels(np.array([[50]], np.uint32))
    draws = drawn(RandomDraws(patches, cases_of(sizes), [0], counts), 4000)
    within = -draws["origin"]  # where in the patch the pixel is
    assert ((within >= 0) & (within < size)).all()
    if jitter == 0:
        assert (within == np.array(size) // 2).all()
    if jitter == 1:
        require_uniform(within, math.prod(size))


@settings(max_examples=30)
@given(st.integers(1, 40), st.integers(0, 2**70), st.integers(0, 1000), st.integers(1, 5))
def test_a_draw_depends_on_seed_epoch_and_number_alone(
    count: int, seed: int, epoch: int, per_case: int
) -> None:
    sampler = forced_draws(per_case=per_case, jitter=0.5, flips=True, per_epoch=50)
    places = np.random.default_rng(count).integers(0, 50, count)
    whole = drawn(sampler, 50, seed=seed, epoch=epoch)
    assert (sampler.draws(places, seed=seed, epoch=epoch) == whole[places]).all()
    assert not (drawn(sampler, 50, seed=seed, epoch=epoch + 1) == whole).all()
    assert not (drawn(sampler, 50, seed=seed + 1, epoch=epoch) == whole).all()


def test_successive_free_draws_share_a_case() -> None:
    sampler = RandomDraws(RandomPatches((2, 2), per_case=4), cases_of(SIZES))
    cases = drawn(sampler, 4000)["case"].reshape(-1, 4)
    assert (cases == cases[:, :1]).all()
    assert set(cases[:, 0].tolist()) == {5, 6, 7, 8}


def test_equal_patches_are_equal_draws() -> None:
    first = RandomPatches((4, 5), shares={"b": 0.2, "a": 0.5})
    second = RandomPatches((4, 5), shares={"a": 0.5, "b": 0.2})
    assert first == second
    assert list(first.shares or {}) == list(second.shares or {})


@pytest.mark.parametrize("tiles", [1, 2, 63, 64, 65, 128, 300])
@pytest.mark.parametrize("column", [0, 1])
def test_a_pixel_is_found_as_in_a_list_of_all_pixels(tiles: int, column: int) -> None:
    array = np.random.default_rng(tiles).integers(0, 4, (tiles, 2), np.uint32)
    array[: tiles // 2, 0] = 0
    pixels = ClassPixels(array)
    every = [(tile, n) for tile, count in enumerate(array[:, column]) for n in range(count)]
    assert pixels.totals[column] == len(every)
    found = pixels.find(np.full(len(every), column), np.arange(len(every)))
    assert [*zip(*(part.tolist() for part in found), strict=True)] == every
    half = range(len(array) // 3, len(array))
    inside = [place for place in every if place[0] in half]
    assert pixels.total_in(half, column) == len(inside)
    assert [pixels.find_in(half, column, nth) for nth in range(len(inside))] == inside


def test_a_million_tiles_of_twenty_classes_take_less_than_100_mb() -> None:
    tracemalloc.start()
    try:
        counts = np.zeros((20, 10**6), np.uint32).T
        counts[::1000] = 3
        every = RandomPatches((4, 5), shares=dict.fromkeys(range(20), 0.05), by="case")
        cases = cases_of([(9, 9)] * 1000, [1000] * 1000)
        sampler = RandomDraws(every, cases, range(20), ClassPixels(counts))
        assert set(drawn(sampler, 40)["label"].tolist()) == set(range(20))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100e6


def test_no_rank_gets_all_draws_that_must_contain_a_class() -> None:
    cases = cases_of([(9, 9)])
    pixels = ClassPixels(np.full((int(cases.tiles.sum()), 1), 5, np.uint32))
    patches = RandomPatches((3, 3), per_epoch=32, shares={"lesion": 0.25})
    sampler = RandomDraws(patches, cases, [1], pixels)
    for rank in range(2):
        schedule = Schedule(
            range(1), batch_size=2, shuffle=True, block=1, seed=0, drop_remainder=False,
            rank=rank, world_size=2, sampler=sampler,
        )  # fmt: skip
        labels = [schedule.batch_draws(0, n)["label"] for n in range(schedule.batches)]
        assert (np.concatenate(labels) == 1).sum() == 4
