"""Run-length codes cover what pycocotools says they do, or are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zarrfeed_convert.sources.instances.runs import area_of, paint, runs_of

mask = pytest.importorskip("pycocotools.mask")
shapes = arrays(
    np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.integers(0, 1)
)


def painted(runs, shape, number=1, clash=None, under=None):
    flat = np.zeros(shape[0] * shape[1], np.uint8) if under is None else under.ravel("F")
    paint(flat, runs, number, clash)
    return flat.reshape(shape, order="F")


@given(shapes)
def test_what_pycocotools_encodes_covers_the_same_pixels(shape):
    code = mask.encode(np.asfortranarray(shape))["counts"]
    runs = runs_of(code, shape.size)
    np.testing.assert_array_equal(painted(runs, shape.shape), shape)
    assert area_of(runs) == shape.sum()
    assert runs_of(code.decode(), shape.size).tolist() == runs.tolist()
    assert runs_of(runs.tolist(), shape.size).tolist() == runs.tolist()


def test_long_runs_have_many_digits():
    shape = np.zeros((3000, 3000), np.uint8, order="F")
    shape[5:2990, 7:2000] = 1
    runs = runs_of(mask.encode(shape)["counts"], shape.size)
    np.testing.assert_array_equal(painted(runs, shape.shape), shape)


@given(st.binary(max_size=30))
def test_any_text_is_read_whole_or_refused(code):
    try:
        runs = runs_of(code, 100)
    except ValueError:
        return
    assert runs.sum() == 100
    assert runs.min() >= 0


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ([3, 4], "runs of 7 pixels in all for an image of 100"),
        ([0, 101], "runs of 101 pixels"),
        ([-3, 103], "a run of -3 pixels"),
        ([0.5, 99.5], "no integers"),
        ([[100]], "no integers"),
        ([], "runs of 0 pixels"),
        (b"", "runs of 0 pixels"),
        ("é", "ascii"),
        (b"PPPPPPPPPPPPPPPPPPP0", "no compressed run-length code"),
        (b"P", "ends early"),
    ],
)
def test_what_does_not_cover_the_image_is_refused(counts, said):
    with pytest.raises(ValueError, match=said):
        runs_of(counts, 100)


@given(shapes, st.data())
def test_pixels_of_two_classes_clash(shape, data):
    other = data.draw(arrays(np.uint8, shape.shape, elements=st.integers(0, 1)))
    runs = runs_of(mask.encode(np.asfortranarray(shape))["counts"], shape.size)
    both = painted(runs, shape.shape, number=3, clash=255, under=other * np.uint8(2))
    expected = np.where(shape & other == 1, 255, shape * 3 + other * 2)
    np.testing.assert_array_equal(both, expected)
