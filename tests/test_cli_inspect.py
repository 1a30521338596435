"""``zarrfeed inspect`` tells how many cases a split has, and of which sizes and spacings."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from cases import CaseArrays, pair
from zarrfeed_convert import convert
from zarrfeed_tools.cli import app

SIZES = [(5, 9), (4, 12), (7, 9)]


def inspected(store, *options):
    result = CliRunner().invoke(app, ["inspect", str(store), *options], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(
    ("spacings", "line"),
    [
        ([], None),
        ([(2, 1), (2, 1), (2, 1)], "spacing 2 × 1\n"),
        ([(2, 1), (3, 1)], "spacing 2…3 × 1, median 2.5 × 1; unknown of 1\n"),
    ],
)
def test_cases_are_summed_up_in_a_line(tmp_path, spacings, line):
    cases = {f"case{place}": pair(size, place) for place, size in enumerate(SIZES)}
    affines = {f"case{place}": np.diag([*pair_, 1]) for place, pair_ in enumerate(spacings)}
    source = CaseArrays(cases, affines=affines)
    convert(source, tmp_path / "o.zarr", split="s", tile=(4, 4), workers=1)
    text = inspected(tmp_path / "o.zarr")
    assert ": 15 tiles\n" in text
    assert "3 cases of 4…7 × 9…12 pixels, median 5 × 9, in tiles of 4 × 4\n" in text
    assert line is None or line in text
    [facts] = json.loads(inspected(tmp_path / "o.zarr", "--json"))
    assert facts["cases"]["size"] == [[4, 5, 7], [9, 9, 12]]
    assert facts["cases"]["unplaced"] == 3 - len(spacings)


def test_splits_of_samples_have_no_cases(tmp_path):
    rng = np.random.default_rng(0)
    samples = [(rng.integers(0, 9, (4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8))] * 3
    convert(samples, tmp_path / "o.zarr", split="s", workers=1)
    assert " 3 samples" in inspected(tmp_path / "o.zarr")
    assert json.loads(inspected(tmp_path / "o.zarr", "--json"))[0]["cases"] is None
