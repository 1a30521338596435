"""Which samples a report looks at, and which part of a large one."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from zarrfeed_tools.report.bounded_box import bounded_box, middle_box, plane_with_most
from zarrfeed_tools.report.choice import Place, choose, evenly

COUNTS = st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.integers(1, 900), min_size=1)


@st.composite
def places_in(draw, counts):
    split = draw(st.sampled_from(sorted(counts)))
    return Place(split, draw(st.integers(0, counts[split] - 1)))


@given(COUNTS, st.integers(1, 300), st.data())
def test_no_more_than_the_most_are_chosen_and_all_exist(counts, most, data):
    some = st.lists(places_in(counts), max_size=150)
    richest, named = data.draw(some), data.draw(some)
    chosen = choose(counts, richest, named, most)
    assert len(chosen.all) <= most
    assert all(0 <= place.number < counts[place.split] for place in chosen.all)
    assert set(chosen.named) <= set(named)
    assert set(chosen.of_classes) <= set(richest)
    assert set(named[: most // 3]) <= set(chosen.all)
    assert set(richest[: most // 3]) <= set(chosen.all)


@given(COUNTS, st.integers(4, 300))
def test_splits_share_evenly_and_what_small_ones_do_not_need_goes_to_others(counts, most):
    chosen = choose(counts, [], [], most)
    taken = {split: sum(place.split == split for place in chosen.spread) for split in counts}
    assert sum(taken.values()) == min(most, sum(counts.values()))
    left_something = [taken[split] for split in counts if taken[split] < counts[split]]
    assert max(taken.values()) - min(left_something, default=max(taken.values())) <= 1


@given(st.integers(1, 10**9), st.integers(1, 300))
def test_even_numbers_are_different_and_as_far_apart_as_possible(count, wanted):
    numbers = evenly(count, wanted)
    assert len(set(numbers.tolist())) == len(numbers) == min(count, wanted)
    assert ((numbers >= 0) & (numbers < count)).all()
    steps = np.diff(numbers)
    assert steps.max(initial=1) - steps.min(initial=10**9) <= 1


SIDE = st.integers(1, 5000)


@given(st.data(), st.sampled_from([2, 3]), st.integers(1, 10**7))
def test_a_box_holds_its_tile_and_few_enough_pixels(data, axes, most):
    size = [data.draw(SIDE) for _ in range(axes)]
    tile = [data.draw(st.integers(1, 256)) for _ in range(axes)]
    around = [
        data.draw(st.integers(0, -(-extent // step) - 1))
        for extent, step in zip(size, tile, strict=True)
    ]
    box = bounded_box(size, tile, around, most_pixels=most)
    for along, extent, step, at in zip(box, size, tile, around, strict=True):
        assert along.start % step == 0
        assert along.stop == extent or along.stop % step == 0
        assert along.start <= at * step < along.stop <= extent
    pixels = math.prod(along.stop - along.start for along in box)
    assert pixels <= max(most, math.prod(tile))
    if math.prod(size) <= most:
        assert pixels == math.prod(size)


@given(st.lists(SIDE, min_size=2, max_size=3), st.data(), st.integers(1, 10**7))
def test_a_middle_box_holds_its_pixel_and_few_enough_others(size, data, most):
    around = [data.draw(st.integers(0, extent - 1)) for extent in size]
    box = middle_box(size, around, most_pixels=most)
    for along, at, extent in zip(box, around, size, strict=True):
        assert 0 <= along.start <= at < along.stop <= extent
    pixels = math.prod(along.stop - along.start for along in box)
    assert pixels <= max(most, *size)  # a line is not cut shorter than one pixel across
    if math.prod(size) <= most:
        assert pixels == math.prod(size)


def test_planes_of_a_volume_stay_whole_while_there_is_room():
    box = bounded_box((600, 512, 512), (64, 64, 64), (5, 4, 4), most_pixels=64 * 512 * 512)
    assert box == (slice(320, 384), slice(0, 512), slice(0, 512))


def test_the_plane_with_most_classes_is_shown_and_of_equal_ones_the_middle():
    mask = np.zeros((9, 8, 8), np.uint8)
    assert plane_with_most(mask, 3, multi_hot=False) == 4
    mask[1, :4] = 1
    assert plane_with_most(mask, 3, multi_hot=False) == 1
    mask[7, 0, :2] = 1, 2
    assert plane_with_most(mask, 3, multi_hot=False) == 7
    mask[7, 0, 1] = 255  # ignored
    assert plane_with_most(mask, 3, multi_hot=False) == 1


def test_the_plane_of_a_multi_hot_mask_has_most_channels():
    mask = np.zeros((5, 4, 4, 3), np.uint8)
    mask[3, 0, 0, :2] = 1
    mask[1, :, :, 2] = 1
    assert plane_with_most(mask, 3, multi_hot=True) == 3
