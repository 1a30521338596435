"""Islands of few pixels, compared with a flood fill that is written out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zarrfeed_tools.report.islands import MOST_PIXELS, find_islands, natural_classes

pytest.importorskip("scipy")

MASKS = arrays(
    np.uint8,
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    elements=st.sampled_from([0, 0, 0, 1, 2, 255]),
)
VOLUMES = arrays(
    np.uint8,
    st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5)),
    elements=st.sampled_from([0, 0, 0, 1, 255]),
)


def components(where):
    """Return the connected components of an array of booleans as sets of pixels."""
    left = set(map(tuple, np.argwhere(where).tolist()))
    steps = list(itertools.product((-1, 0, 1), repeat=where.ndim))
    while left:
        found, border = set(), [left.pop()]
        while border:
            pixel = border.pop()
            found.add(pixel)
            near = {tuple(np.add(pixel, step).tolist()) for step in steps} & left
            left -= near
            border += near
        yield found


def at_border(pixels, shape):
    return any(
        pixel[axis] in (0, shape[axis] - 1) for pixel in pixels for axis in range(len(shape))
    )


def expected(mask, classes, *, whole):
    found = {}
    for class_id in range(classes):
        each = [
            pixels
            for pixels in components(mask == class_id)
            if whole or not at_border(pixels, mask.shape)
        ]
        if each:
            small = [pixels for pixels in each if len(pixels) <= MOST_PIXELS[mask.ndim]]
            found[class_id] = len(each), small
    return found


@given(MASKS | VOLUMES, st.booleans())
def test_islands_are_those_of_a_flood_fill(mask, whole):
    found = find_islands(mask, 3, multi_hot=False, whole=whole)
    wanted = expected(mask, 3, whole=whole)
    assert {each.class_id: (each.components, each.islands) for each in found} == {
        class_id: (count, len(small)) for class_id, (count, small) in wanted.items()
    }
    for each in found:
        places = set(map(tuple, each.places.tolist()))
        small = wanted[each.class_id][1]
        assert len(places) == min(len(small), 20)
        assert sum(bool(places & pixels) for pixels in small) == len(places)


@given(MASKS)
def test_channels_of_multi_hot_masks_are_searched_each(mask):
    channels = np.stack([mask == class_id for class_id in range(3)], axis=-1).astype(np.uint8)
    one = find_islands(mask, 3, multi_hot=False, whole=True)
    other = find_islands(channels, 3, multi_hot=True, whole=True)
    assert [each[:3] for each in one] == [each[:3] for each in other]


def test_classes_of_specks_are_natural_and_the_others_are_not():
    mask = np.zeros((40, 40), np.uint8)
    mask[5:30:5, 5] = 1
    mask[0:20, 20:30] = 2
    mask[35, 35] = 2
    found = find_islands(mask, 3, multi_hot=False, whole=True)
    assert [each.islands for each in found] == [0, 5, 1]
    assert natural_classes([found]) == {1}
