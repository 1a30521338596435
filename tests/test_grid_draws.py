"""Patches on grids: where they lie, what they cover, and that any draw is computed by itself."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrfeed.order.draws import FREE
from zarrfeed.order.grid_draws import CoverDraws, GridDraws
from zarrfeed.order.patch_cases import PatchCases
from zarrfeed.order.patches import CoverPatches, GridPatches


def cases_of(sizes, numbers=None):
    sizes = np.asarray(sizes, np.int64)
    numbers = np.arange(len(sizes)) if numbers is None else np.asarray(numbers)
    return PatchCases(numbers, sizes, first_tile=10 * numbers, tiles=np.full(len(sizes), 10))


@st.composite
def sizes_and_patch(draw):
    axes = draw(st.sampled_from([2, 3]))
    extents = st.tuples(*[st.integers(1, 23 if axes == 2 else 9)] * axes)
    return draw(st.lists(extents, min_size=1, max_size=4)), draw(extents)


def drawn(sampler, places=None, **of):
    places = np.arange(sampler.length) if places is None else places
    return sampler.draws(places, **{"seed": 0, "epoch": 0, **of})


def counted(sizes, extent, draws):
    """Count how often each pixel of each case is in a patch."""
    counts = [np.zeros(size, int) for size in sizes]
    for draw in draws:
        box = tuple(
            slice(max(at, 0), max(at + span, 0))
            for at, span in zip(draw["origin"].tolist(), extent, strict=True)
        )
        counts[draw["case"]][box] += 1
    return counts


def windows(size, extent, overlap):
    """The scan of MONAI's `dense_patch_slices`, axis by axis, in a padded case."""
    starts = []
    for whole, span in zip(size, extent, strict=True):
        padded = max(whole, span)
        step = max(int(span * (1 - overlap)), 1)
        count = next(n for n in itertools.count() if n * step + span >= padded) + 1
        before = max(span - whole, 0) // 2
        starts.append([min(n * step, padded - span) - before for n in range(count)])
    return list(itertools.product(*starts))


@given(sizes_and_patch(), st.floats(0, 1, exclude_max=True))
def test_a_grid_is_that_of_sliding_windows(chosen, overlap):
    sizes, extent = chosen
    sampler = GridDraws(GridPatches(extent, overlap), cases_of(sizes))
    draws = drawn(sampler)
    needed = [
        (case, at) for case, size in enumerate(sizes) for at in windows(size, extent, overlap)
    ]
    assert [(d["case"], tuple(d["origin"])) for d in draws] == needed
    assert all(count.min() >= 1 for count in counted(sizes, extent, draws))
    assert (drawn(sampler, seed=1, epoch=2) == draws).all()


@given(sizes_and_patch(), st.integers(0, 9), st.integers(0, 3))
def test_a_cover_holds_every_pixel_once(chosen, seed, epoch):
    sizes, extent = chosen
    draws = drawn(CoverDraws(CoverPatches(extent), cases_of(sizes)), seed=seed, epoch=epoch)
    assert all((count == 1).all() for count in counted(sizes, extent, draws))
    assert (draws["origin"] < draws["size"]).all()  # with the next line: no patch is empty
    assert (draws["origin"] > -np.array(extent)).all()
    each = Counter(draws["case"].tolist())
    for case, size in enumerate(sizes):
        assert each[case] == math.prod(
            1 if whole <= span else math.ceil((whole + span // 4) / span)
            for whole, span in zip(size, extent, strict=True)
        )


@given(sizes_and_patch(), st.data())
def test_a_draw_depends_on_its_place_alone(chosen, data):
    sizes, extent = chosen
    for sampler in (
        GridDraws(GridPatches(extent, 0.5), cases_of(sizes)),
        CoverDraws(CoverPatches(extent, flips=True), cases_of(sizes)),
    ):
        places = data.draw(st.lists(st.integers(0, sampler.length - 1), max_size=9))
        some = drawn(sampler, np.array(places, np.int64), seed=3, epoch=1)
        assert (some == drawn(sampler, seed=3, epoch=1)[places]).all()


def test_a_draw_says_what_readers_need():
    cases = cases_of([(5, 5), (3, 9)], numbers=[4, 7])
    for sampler in (
        GridDraws(GridPatches((4, 4)), cases),
        CoverDraws(CoverPatches((4, 4)), cases),
    ):
        draws = drawn(sampler)
        assert draws["id"].tolist() == list(range(sampler.length))
        assert draws.dtype == sampler.dtype
        last = draws[-1]
        assert (last["case"], last["first_tile"], last["size"].tolist()) == (7, 70, [3, 9])
        assert (draws["tile"] == FREE).all()
        assert (draws["label"] == FREE).all()
        assert not draws["orientation"].any()


def test_the_origin_of_a_cover_is_uniform_and_its_own_for_each_case_epoch_and_seed():
    # 32 pixels in 3 cells of 16, which hold 16 pixels more: the first begins 1 to 15 before them.
    size, count = (32, 40), 2000
    sampler = CoverDraws(CoverPatches((16, 16)), cases_of([size] * count))
    firsts = drawn(sampler)["origin"].reshape(count, -1, 2)[:, 0]
    seen = np.bincount(-firsts[:, 0])
    assert seen.size == 16
    assert seen[0] == 0  # the last cell would be empty
    assert ((seen[1:] - count / 15) ** 2 / (count / 15)).sum() < 36  # χ² of 14, p = 0.001
    for other in ({"seed": 1}, {"epoch": 1}):
        assert (drawn(sampler, **other)["origin"].reshape(count, -1, 2)[:, 0] != firsts).any()


def test_the_origin_of_a_cover_does_not_depend_on_the_subset():
    sizes = [(30, 30), (25, 40), (20, 20)]
    patches = CoverPatches((8, 8), flips=(True, False))
    every, some = (
        CoverDraws(patches, cases_of(sizes)),
        CoverDraws(patches, cases_of(sizes[2:], [2])),
    )
    of_last = [draw for draw in drawn(every) if draw["case"] == 2]
    assert [d["origin"].tolist() for d in of_last] == [d["origin"].tolist() for d in drawn(some)]


def test_patches_of_a_cover_are_flipped_and_turned():
    sampler = CoverDraws(
        CoverPatches((2, 2), flips=(True, False), turns=True), cases_of([(64, 64)])
    )
    seen = Counter(drawn(sampler)["orientation"].tolist())
    assert seen.keys() == {flip | turn << 4 for flip in (0, 1) for turn in range(4)}
    assert min(seen.values()) > sampler.length / 8 / 2


def test_more_patches_than_can_be_counted_are_refused():
    with pytest.raises(ValueError, match="needed at most"):
        GridDraws(GridPatches((2, 2), 0.5), cases_of([(1 << 40, 1 << 40)]))


def test_an_epoch_of_no_patch_is_empty():
    assert GridDraws(GridPatches((2, 2)), cases_of(np.empty((0, 2)))).length == 0
