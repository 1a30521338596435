"""Which axes are which follows from images and masks together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrfeed.errors import SourceError
from zarrfeed_convert.sources.arrays.array_layout import layouts_of


def axes(images, masks, *, channels_first=False, one_hot=False):
    values = "classes" if one_hot else "one"
    return layouts_of(images, masks, channels_first=channels_first, values=values)


@pytest.mark.parametrize(
    ("image", "mask", "expected"),
    [
        ((9, 30, 40, 3), (9, 30, 40), ("NHWC", "NHW")),
        ((9, 30, 40, 3), (9, 30, 40, 1), ("NHWC", "NHWC")),
        ((9, 30, 40), (9, 30, 40), ("NHW", "NHW")),
        ((9, 30, 40), (9, 30, 40, 1), ("NHW", "NHWC")),
        ((30, 40, 3), (30, 40), ("HWC", "HW")),
        ((30, 40, 9), (30, 40), ("HWC", "HW")),
        ((30, 40, 3), (30, 40, 1), ("HWC", "HWC")),
        ((30, 40, 3), (30, 40, 3), ("HWC", "HWC")),
        ((30, 40, 1), (30, 40, 1), ("HWC", "HWC")),
        ((30, 40), (30, 40), ("HW", "HW")),
        ((30, 40), (30, 40, 1), ("HW", "HWC")),
        ((1, 30, 40), (30, 40), ("NHW", "HW")),
        ((9, 20, 30, 40, 3), (9, 20, 30, 40), ("NDHWC", "NDHW")),
        ((9, 20, 30, 40, 30), (9, 20, 30, 40, 1), ("NDHWC", "NDHWC")),
        ((9, 20, 30, 40), (9, 20, 30, 40), ("NDHW", "NDHW")),
        ((9, 20, 30, 40), (9, 20, 30, 40, 1), ("NDHW", "NDHWC")),
        ((9, 30, 40, 3), (9, 30, 40, 3), ("NHWC", "NHWC")),
        ((9, 30, 40, 1), (9, 30, 40, 1), ("NHWC", "NHWC")),
    ],
)
def test_a_pair_of_shapes_has_one_reading(image, mask, expected):
    assert axes([image], [mask]) == expected
    assert axes([image] * 3, [mask] * 3) == expected


@pytest.mark.parametrize(
    ("image", "mask", "expected"),
    [
        ((9, 3, 30, 40), (9, 30, 40), ("NCHW", "NHW")),
        ((9, 3, 30, 40), (9, 1, 30, 40), ("NCHW", "NCHW")),
        ((3, 30, 40), (30, 40), ("CHW", "HW")),
        ((9, 30, 40), (9, 30, 40), ("NHW", "NHW")),
        ((9, 3, 20, 30, 40), (9, 20, 30, 40), ("NCDHW", "NDHW")),
        ((9, 3, 20, 30, 40), (9, 1, 20, 30, 40), ("NCDHW", "NCDHW")),
        ((4, 20, 30, 40), (20, 30, 40), ("CDHW", "DHW")),
    ],
)
def test_channels_may_come_first(image, mask, expected):
    assert axes([image], [mask], channels_first=True) == expected


@pytest.mark.parametrize(
    ("image", "mask", "expected"),
    [
        ((9, 30, 40, 3), (9, 30, 40, 5), ("NHWC", "NHWC")),
        ((9, 30, 40), (9, 30, 40, 5), ("NHW", "NHWC")),
        ((30, 40, 5), (30, 40, 5), ("HWC", "HWC")),
        ((9, 30, 40), (9, 5, 30, 40), ("NHW", "NCHW")),
        ((9, 20, 30, 40), (9, 20, 30, 40, 5), ("NDHW", "NDHWC")),
        ((9, 20, 30, 40, 2), (9, 20, 30, 40, 5), ("NDHWC", "NDHWC")),
        ((9, 30, 40, 5), (9, 30, 40, 5), ("NHWC", "NHWC")),
    ],
)
def test_one_hot_masks_have_an_axis_of_classes(image, mask, expected):
    assert axes([image], [mask], one_hot=True) == expected


def test_many_single_images_may_have_their_masks_in_one_array():
    assert axes([(30, 40, 3)] * 6, [(6, 30, 40)]) == ("HWC", "NHW")
    assert axes([(2, 30, 40, 3), (4, 30, 40, 3)], [(6, 30, 40)]) == ("NHWC", "NHW")
    assert axes([(20, 30, 40, 3)] * 6, [(6, 20, 30, 40)]) == ("DHWC", "NDHW")


@pytest.mark.parametrize(
    ("shape", "channels_first", "expected"),
    [
        ((30, 40), False, "HW"),
        ((30, 40, 3), False, "HWC"),
        ((9, 30, 40), False, "NHW"),
        ((9, 30, 40, 3), False, "NHWC"),
        ((9, 3, 30, 40), True, "NCHW"),
        ((9, 20, 30, 40, 7), False, "NDHWC"),
        ((9, 3, 20, 30, 40), True, "NCDHW"),
    ],
)
def test_images_alone_are_read_by_their_shape(shape, channels_first, expected):
    assert axes([shape], [], channels_first=channels_first) == (expected, "")


sizes = st.integers(5, 60)


@given(n=st.integers(1, 60), h=sizes, w=sizes, c=st.integers(1, 4))
def test_stacks_with_channels_are_always_stacks(n, h, w, c):
    assert axes([(n, h, w, c)], [(n, h, w)]) == ("NHWC", "NHW")
    assert axes([(n, h, w)], [(n, h, w)]) == ("NHW", "NHW")
    assert axes([(h, w, c)], [(h, w)]) == ("HWC", "HW")


def test_the_other_order_of_channels_is_advised_where_it_would_fit():
    with pytest.raises(SourceError, match=r"fit with channels first; use --option chan.*=yes"):
        axes([(9, 3, 30, 40)], [(9, 30, 40)])
    with pytest.raises(SourceError, match=r"fit with channels first"):
        axes([(9, 3, 20, 30, 40)], [(9, 20, 30, 40)])
    with pytest.raises(SourceError, match=r"fit with channels last; use --option chan.*=no"):
        axes([(9, 30, 40, 3)], [(9, 30, 40)], channels_first=True)


def test_numbers_of_samples_must_agree():
    with pytest.raises(SourceError, match=r"9 images in \(9, 30, 40, 3\).* 8 masks in \(8, 30"):
        axes([(9, 30, 40, 3)], [(8, 30, 40)])
    with pytest.raises(SourceError, match="needed as many samples"):  # in sum, but not file by file
        axes([(9, 30, 40, 3), (8, 30, 40, 3)], [(8, 30, 40), (9, 30, 40)])
    with pytest.raises(SourceError, match=r"9 images .*\(axes NCHW\) and 8 masks"):
        axes([(9, 3, 40, 50)], [(8, 40, 50)], channels_first=True)


def test_sizes_that_differ_are_left_to_the_survey():
    assert axes([(9, 30, 40, 3)], [(9, 30, 41)]) == ("NHWC", "NHW")


@pytest.mark.parametrize("shape", [(), (5,), (5, 0, 3), (1, 2, 3, 4, 5, 6)])
def test_what_cannot_be_images_is_refused(shape):
    with pytest.raises(SourceError, match=r"^images: needed arrays of shape \(N, H, W\)"):
        axes([shape], [(30, 40)])
    with pytest.raises(SourceError, match=r"^masks: needed arrays of shape \(H, W, C\), beside"):
        axes([(30, 40)], [shape], one_hot=True)


def test_arrays_of_different_kinds_are_refused():
    with pytest.raises(SourceError, match=r"one number of axes, found 2 and 3"):
        axes([(30, 40), (30, 40, 3)], [(30, 40), (30, 40)])
