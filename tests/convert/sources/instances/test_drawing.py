"""Shapes that overlap become one mask by the rules that the user chose."""

from __future__ import annotations

import numpy as np
import pytest

from zarrfeed.errors import SourceError
from zarrfeed_convert.sources.instances.drawing import Drawing, Shape
from zarrfeed_convert.sources.instances.instance_options import InstanceOptions
from zarrfeed_convert.sources.value_options import ValueOptions

SIZE = (1, 8)
LARGE = Shape(np.array([0, 6, 2]), 2)  # pixels 0 to 5
SMALL = Shape(np.array([2, 2, 4]), 1)  # 2 and 3
BACKGROUND = Shape(np.array([5, 2, 1]), 0)  # 5 and 6
CROWD = Shape(np.array([4, 4]), 3, crowd=True)  # 4 to 7


def numbers(drawing, *shapes, ignored=None):
    (row,) = drawing.numbers(shapes, SIZE, ignored=ignored).tolist()
    return row


def test_the_number_of_a_shape_is_its_place_in_the_file():
    assert numbers(Drawing(), SMALL, LARGE) == [2, 2, 1, 1, 2, 2, 0, 0]
    assert numbers(Drawing("file"), SMALL, LARGE) == [2, 2, 2, 2, 2, 2, 0, 0]  # 1 is hidden
    assert numbers(Drawing("none"), SMALL, LARGE, ignored=65535)[1:4] == [2, 65535, 65535]


def test_the_background_is_no_instance_but_has_its_place():
    assert numbers(Drawing("file"), LARGE, BACKGROUND, SMALL) == [1, 1, 3, 3, 1, 0, 0, 0]


def test_crowds_are_below_or_ignored():
    assert numbers(Drawing("file"), LARGE, CROWD) == [1, 1, 1, 1, 1, 1, 2, 2]
    assert numbers(Drawing(crowd="ignore"), LARGE, CROWD, ignored=65535)[5:] == [1, 65535, 65535]


def test_more_instances_than_uint16_has_numbers_are_an_error():
    nothing = Shape(np.array([8]), 1)
    assert not Drawing().numbers([nothing] * 65535, SIZE, ignored=None).any()
    with pytest.raises(
        ValueError, match=r"65,536 instances, of which 16 bits can number 65,535; u"
    ):
        Drawing().numbers([nothing] * 65536, SIZE, ignored=None)
    with pytest.raises(ValueError, match="65,535 instances, of which 16 bits can number 65,534"):
        Drawing().numbers([nothing] * 65535, SIZE, ignored=65535)


@pytest.mark.parametrize(
    ("kind", "w0", "sigma", "mask_map", "message"),
    [
        ("kep", 10, 5, "", "--instances: needed one of semantic, keep, boundary, found 'kep'; did"),
        ("boundary", -1, 5, "", "option w0: needed a number within 0 … 1e\\+06, found -1"),
        ("boundary", 10, float("nan"), "", "option sigma: needed a number within 0.1 … 50, found"),
        ("semantic", 3, 5, "", "option w0: needed --instances boundary, whose weights it sets, fo"),
        ("keep", 10, 5, "1=2", "--mask-map: needed class ids, which --instances keep replaces by "),
    ],
)
def test_options_that_make_no_sense_are_refused(kind, w0, sigma, mask_map, message):
    with pytest.raises(SourceError, match=message):
        InstanceOptions.of(kind, w0, sigma, ValueOptions.of("auto", mask_map))
