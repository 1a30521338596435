"""Tiles chosen by ``tile="auto"`` follow from the sizes of the cases alone, and pad little."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrfeed.errors import SourceError
from zarrfeed_convert.planning.tile_size import auto_tile

extents = st.integers(1, 3000)
volumes = st.lists(st.tuples(extents, extents, extents), min_size=1, max_size=9)
images = st.lists(st.tuples(extents, extents), min_size=1, max_size=9)


@pytest.mark.parametrize(
    ("sizes", "tile"),
    [
        ([(512, 512)], (256, 256)),
        ([(60_000, 60_000)], (256, 256)),
        ([(257, 100)], (129, 100)),
        ([(300, 300), (310, 500), (320, 900)], (160, 256)),
        ([(155, 240, 240)], (52, 60, 60)),  # BraTS
        ([(1, 512, 512)], (1, 256, 256)),  # one slice is tiled as an image
        ([(3, 40, 4000)], (3, 40, 250)),
        ([(65, 65, 65)], (33, 33, 33)),
        ([(30, 30, 30), (31, 31, 31)], (31, 31, 31)),
        ([(1, 1, 1)], (1, 1, 1)),
    ],
)
def test_worked_examples(sizes, tile):
    found, decision = auto_tile(sizes)
    assert found == tile
    assert decision.value == "x".join(map(str, tile))


@given(volumes | images)
def test_a_tile_has_at_most_the_usual_number_of_pixels(sizes):
    tile, _ = auto_tile(sizes)
    assert math.prod(tile) <= {2: 256**2, 3: 64**3}[len(tile)]
    assert all(1 <= step <= 256 for step in tile)


@given(volumes | images)
def test_no_tile_is_longer_than_the_longest_case(sizes):
    tile, _ = auto_tile(sizes)
    assert all(
        step <= max(column) for step, column in zip(tile, zip(*sizes, strict=True), strict=True)
    )


@given(st.tuples(extents, extents, extents) | st.tuples(extents, extents), st.integers(1, 5))
def test_cases_of_one_size_get_less_than_a_pixel_of_padding_per_tile(size, count):
    tile, _ = auto_tile([size] * count)
    for extent, step in zip(size, tile, strict=True):
        tiles = -(-extent // step)
        assert 0 <= tiles * step - extent < tiles


@given(volumes | images, st.integers())
def test_the_order_of_cases_does_not_count(sizes, seed):
    assert auto_tile(random.Random(seed).sample(sizes, len(sizes))) == auto_tile(sizes)


@given(volumes)
def test_axes_are_treated_alike(sizes):
    tile, _ = auto_tile(sizes)
    if len(set(tile)) == 3:  # equal extents take turns
        turned, _ = auto_tile([(x, z, y) for z, y, x in sizes])
        assert turned == (tile[2], tile[0], tile[1])


@pytest.mark.parametrize(
    ("sizes", "found"), [([], "none"), ([(3, 4), (3, 4, 5)], "2 axes beside cases of 3 axes")]
)
def test_cases_of_several_kinds_have_no_tile(sizes, found):
    with pytest.raises(SourceError, match=found):
        auto_tile(sizes)
