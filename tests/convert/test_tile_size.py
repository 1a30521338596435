"""Tiles chosen by ``tile="auto"`` follow from the sizes of all cases, and pad little."""

from __future__ import annotations

import itertools
import math
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrfeed.errors import SourceError
from zarrfeed_convert.geometry import GRID, Geometry
from zarrfeed_convert.planning.padding import about_much
from zarrfeed_convert.planning.tile_choice import KnownTiles
from zarrfeed_convert.planning.tile_size import about_padded, auto_tile, padded_share

extents = st.integers(1, 3000)
volumes = st.lists(st.tuples(extents, extents, extents), min_size=1, max_size=9)
images = st.lists(st.tuples(extents, extents), min_size=1, max_size=9)
thin_volumes = st.lists(st.tuples(st.integers(1, 40), extents, extents), min_size=1, max_size=9)
cases = volumes | images | thin_volumes


def stored_pixels(sizes, tile):
    return sum(
        math.prod(-(-extent // step) * step for extent, step in zip(size, tile, strict=True))
        for size in sizes
    )


@pytest.mark.parametrize(
    ("sizes", "tile"),
    [
        ([(512, 512)], (256, 256)),
        ([(60_000, 60_000)], (256, 256)),  # no other stores 2 % less
        ([(257, 100)], (136, 100)),  # two tiles of 136, where 256 would make it 512
        ([(155, 240, 240)], (40, 48, 48)),  # BraTS: 160, 240 and 240
        ([(20, 320, 320)] * 3, (20, 80, 80)),  # all have 20, which needs no multiple of 8
        ([(20, 320, 320), (24, 320, 320)], (24, 80, 80)),
        ([(1, 512, 512)], (1, 256, 256)),  # one slice is tiled as an image
        ([(3, 40, 4000)], (3, 40, 256)),
        ([(65, 65, 65)], (40, 40, 40)),
        ([(30, 30, 30), (31, 31, 31)], (32, 32, 32)),
        ([(1, 1, 1)], (1, 1, 1)),
        # One large case does not decide the tiles of many small ones, nor a median one alone:
        # 60 would be padded to 136.
        ([(60, 60)] * 1000 + [(1000, 1000)], (64, 64)),
        ([(130, 130)] * 9 + [(270, 270)] * 10, (136, 136)),
        ([(100, 512, 512), (130, 512, 512), (97, 512, 512)], (56, 64, 64)),
    ],
)
def test_worked_examples(sizes, tile):
    assert auto_tile(sizes) == tile


@given(cases)
def test_a_tile_has_at_most_the_usual_number_of_pixels(sizes):
    tile = auto_tile(sizes)
    assert math.prod(tile) <= {2: 256**2, 3: 64**3}[len(tile)]
    assert all(1 <= step <= 256 for step in tile)


@given(cases)
def test_no_more_pixels_are_stored_than_in_plain_tiles(sizes):
    tile = auto_tile(sizes)
    plain = {2: (256,) * 2, 3: (64,) * 3}[len(tile)]
    assert stored_pixels(sizes, tile) <= stored_pixels(sizes, plain)


@given(images)
def test_no_larger_tile_stores_much_less(sizes):
    tile = auto_tile(sizes)
    longest = [-(-max(column) // 8) * 8 for column in zip(*sizes, strict=True)]
    for other in itertools.product(range(128, 257, 16), repeat=2):
        if all(map(int.__le__, other, longest)) and math.prod(other) >= math.prod(tile):
            assert stored_pixels(sizes, tile) <= 1.02 * stored_pixels(sizes, other)


@given(cases)
def test_extents_are_multiples_of_8_or_those_of_all_cases(sizes):
    for step, column in zip(auto_tile(sizes), zip(*sizes, strict=True), strict=True):
        assert step % 8 == 0 or {*column} == {step}


@given(cases)
def test_no_tile_is_longer_than_the_longest_case_rounded_up_to_8(sizes):
    for step, column in zip(auto_tile(sizes), zip(*sizes, strict=True), strict=True):
        assert step < max(column) + 8


@given(cases, st.integers(1, 4))
def test_more_of_the_same_cases_get_the_same_tile(sizes, times):
    assert auto_tile(sizes * times) == auto_tile(sizes)


@given(cases, st.integers())
def test_the_order_of_cases_does_not_count(sizes, seed):
    assert auto_tile(random.Random(seed).sample(sizes, len(sizes))) == auto_tile(sizes)


def test_a_hundred_thousand_sizes_take_seconds():
    drawn = random.Random(0)
    sizes = [tuple(drawn.randint(20, 1500) for _ in range(3)) for _ in range(100_000)]
    begin = time.process_time()
    auto_tile(sizes)
    assert time.process_time() - begin < 20  # less than one on the machine of 2026


@pytest.mark.parametrize(
    ("sizes", "found"), [([], "none"), ([(3, 4), (3, 4, 5)], "2 axes beside cases of 3 axes")]
)
def test_cases_of_several_kinds_have_no_tile(sizes, found):
    with pytest.raises(SourceError, match=found):
        auto_tile(sizes)


@given(cases, st.data())
def test_the_share_of_padding_is_that_which_the_grid_pads(sizes, data):
    tile = data.draw(st.tuples(*[st.integers(1, 300)] * len(sizes[0])))
    padded = sum(Geometry(tile, GRID).coverage(size).padded for size in sizes)
    assert padded_share(sizes, tile) == pytest.approx(padded / stored_pixels(sizes, tile))


def test_the_decision_says_how_much_is_padded():
    choice, sizes = KnownTiles(), [(48, 64, 64), (64, 64, 64)]
    _, about = choice.decide((64, 64, 64), sizes)
    assert about.reason == "asked for: 12% of the stored voxels are padding"
    tile, about = choice.decide("auto", [(48, 64, 64), (48, 60, 64)])
    assert (tile, about.value) == ((48, 64, 64), "48x64x64")
    assert about.reason == "pads least: 3% of the stored voxels are padding"
    assert about_padded([(1000, 1001)], (1000, 1001)) == "0% of the stored pixels are padding"
    assert about_padded([(999, 1001)], (1000, 1001)).startswith("less than 1% of the stored pixels")


def test_a_tile_that_is_larger_than_every_case_is_named():
    said = about_padded([(60, 80), (40, 90)], (128, 128))
    assert said.endswith("; the tile is larger than every case (at most 60x90)")
    assert "larger" not in about_padded([(60, 80), (40, 90)], (128, 88))


def test_more_padding_than_pixels_is_told_with_what_to_do():
    (about,) = about_much((128, 128), [(60, 80), (40, 90)], auto=False)
    assert (about.what, about.value) == ("padding", "74%")
    tile = auto_tile([(60, 80), (40, 90)])
    assert f"--tile auto, which takes {tile[0]}x{tile[1]}, " in about.reason
    (about,) = about_much((24, 24), [(1, 2), (24, 7)], auto=True)
    assert about.reason.endswith("; --tile 12x12 makes it 61%")
    assert not about_much((64, 64), [(64, 64), (32, 64)], auto=False)


def test_claims_beyond_int64_are_no_other_error():
    assert auto_tile([(10**30, 64)] * 2)[1] == 64
