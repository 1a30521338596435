"""Masks in boxes have the run-length codes that pycocotools decodes to the same pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrfeed_convert.sources.annotations.box_runs import runs_of_box, runs_of_window

pycoco = pytest.importorskip("pycocotools.mask")

# Of pycocotools' decoder, under NumPy 2; only these tests use it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@st.composite
def boxes(draw):
    """Draw a mask, its place, and the size of its image."""
    height, width = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    top, left = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    bits = draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    size = top + height + draw(st.integers(0, 3)), left + width + draw(st.integers(0, 3))
    return np.array(bits).reshape(height, width), (top, left), size


def decoded(runs, size):
    code = pycoco.frPyObjects({"size": list(size), "counts": runs.tolist()}, *size)
    return pycoco.decode(code)


@given(boxes())
def test_a_mask_is_what_its_code_says(drawn):
    inside, (top, left), size = drawn
    whole = np.zeros(size, np.uint8)
    whole[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    runs = runs_of_window(inside, top, left, size)
    np.testing.assert_array_equal(decoded(runs, size), whole)
    assert runs.sum() == size[0] * size[1]
    assert (runs[1:] > 0).all(), "runs are as long as they can be"


@given(boxes())
def test_runs_along_rows_are_those_of_the_same_mask(drawn):
    inside, (top, left), size = drawn
    flat = inside.ravel()
    ends = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *ends, flat.size])
    runs = np.concatenate([[0], runs]) if flat[0] else runs
    found = runs_of_box(runs, (top, left, *inside.shape), size)
    np.testing.assert_array_equal(found, runs_of_window(inside, top, left, size))


@pytest.mark.parametrize(
    ("box", "said"),
    [((-1, 0, 2, 2), "at -1, 0"), ((0, 0, 0, 2), "0x2"), ((2, 0, 2, 2), "rows 2-4"),
     ((0, 2, 2, 2), "columns 2-4"), ((0, 0, 2, 1), "runs of 4")],
)  # fmt: skip
def test_boxes_that_do_not_fit_are_refused(box, said):
    with pytest.raises(ValueError, match=said):
        runs_of_box(np.array([1, 3]), box, (3, 3))
