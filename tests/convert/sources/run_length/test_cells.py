"""Starts and lengths cover the pixels that they are meant to, or are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zarrfeed.errors import SourceError
from zarrfeed_convert.sources.instances.runs import paint, runs_of_pixels
from zarrfeed_convert.sources.run_length.cells import RunRules, is_empty
from zarrfeed_convert.sources.run_length.evidence import Spans, doubts_of

MASKS = arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)))
RULES = st.builds(
    RunRules,
    st.sampled_from(["columns", "rows"]),
    st.sampled_from([0, 1]),
    st.sampled_from(["absolute", "relative"]),
)


def written(mask, rules):
    """Write a mask as a cell, by counting pixels one by one."""
    numbers, last, inside = [], 0, False
    flat = (mask.T if rules.order == "columns" else mask).ravel().tolist()
    for place, value in enumerate([*flat, False]):
        if value and not inside:
            before = last if rules.starts == "relative" else 0
            numbers += [place - before + rules.base, 0]
        if inside and not value:
            last = place
        if value:
            numbers[-1] += 1
        inside = value
    return " ".join(map(str, numbers))


def painted(runs, size):
    flat = np.zeros(size[0] * size[1], np.uint8)
    paint(flat, runs, 1, None)
    return flat.reshape(size[::-1]).T.astype(bool)


@given(MASKS, RULES)
def test_cells_cover_what_was_written(mask, rules):
    runs = rules.runs(written(mask, rules), mask.shape)
    assert runs.sum() == mask.size
    np.testing.assert_array_equal(painted(runs, mask.shape), mask)


@given(MASKS)
def test_pixels_are_encoded_as_pycocotools_does(mask):
    pycoco = pytest.importorskip("pycocotools.mask")
    code = pycoco.encode(np.asfortranarray(mask.astype(np.uint8)))
    (uncompressed,) = pycoco.frPyObjects(
        [{"size": list(mask.shape), "counts": runs_of_pixels(mask).tolist()}], *mask.shape
    )
    assert uncompressed["counts"] == code["counts"]


def test_a_cell_can_be_checked_on_paper():
    """Pixels 3 and 4 of 2 rows: the second column; along rows of 3: the last and the first."""
    columns = painted(RunRules().runs("3 2", (2, 3)), (2, 3)).tolist()
    assert columns == [[False, True, False]] * 2
    rows = painted(RunRules("rows").runs("3 2", (2, 3)), (2, 3)).tolist()
    assert rows == [[False, False, True], [True, False, False]]


def test_runs_need_not_be_sorted_and_may_be_empty():
    assert painted(RunRules().runs("5 1 2 0 1 2", (2, 3)), (2, 3)).sum() == 3
    assert is_empty(" ")
    assert not painted(RunRules().runs("", (2, 3)), (2, 3)).any()


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("1 2 3", "3 numbers, which are no pairs of start and length"),
        ("1 x", "'1 x', which is no list of whole numbers"),
        ("1.0 2", "which is no list of whole numbers"),
        (f"1 {10**30}", "which is no list of whole numbers"),
        ("1 -2", "a run of -2 pixels"),
        ("0 2", "a run that begins at 0; use -o base=0 if 0 is the first pixel"),
        ("6 2", "a run of 2 pixels from 6 on, beyond the 6 pixels; are the runs of an image of a"),
        (f"1 {2**63 - 1}", "beyond the 6 pixels"),
        (f"{2**63 - 1} 1", "beyond the 6 pixels"),
        ("1 3 2 1", "runs that overlap, at pixel 2; was the file written otherwise, such as -o st"),
    ],
)
def test_runs_that_do_not_fit_are_refused(cell, message):
    with pytest.raises(ValueError, match=message):
        RunRules().runs(cell, (2, 3))


@pytest.mark.parametrize("options", [("column",), ("rows", 2), ("rows", 1, "relativ")])
def test_rules_that_do_not_exist_are_refused(options):
    with pytest.raises(SourceError, match="needed one of"):
        RunRules(*options)


def spans(masks, written_by, read_by):
    return [
        Spans(*read_by.spans(written(mask, written_by)), mask.shape) for mask in masks if mask.any()
    ]


def discs(size, count, seed=0):
    rng = np.random.default_rng(seed)
    y, x = np.ogrid[: size[0], : size[1]]
    for _ in range(count):
        centre, radius = rng.uniform(0, size), rng.uniform(3, 9)
        yield (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2


@pytest.mark.parametrize("order", ["columns", "rows"])
@pytest.mark.parametrize("base", [0, 1])
def test_runs_tell_how_they_were_counted(order, base):
    shapes = [*discs((40, 60), 60)]
    truth = RunRules(order, base)
    assert doubts_of(spans(shapes, truth, truth), truth) == ""
    other = "rows" if order == "columns" else "columns"
    found = doubts_of(spans(shapes, truth, RunRules(other, base)), RunRules(other, base))
    assert found.endswith(f"use -o order={order}")
    if base == 1:
        wrong = RunRules(order, 0)
        assert doubts_of(spans(shapes, truth, wrong), wrong).endswith("use -o base=1")
    else:
        wrong = RunRules(order, 1)
        inner = [shape for shape in shapes if not shape[0, 0]]
        assert doubts_of(spans(inner, truth, wrong), wrong).endswith("use -o base=0")


@given(st.lists(MASKS, max_size=4), RULES)
def test_few_runs_raise_no_doubts(masks, rules):
    assert doubts_of(spans([m[:4, :4] for m in masks], rules, rules), rules) == ""
