"""``zarrfeed inspect`` tells how many cases a split has, and of which sizes and spacings."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from cases import CaseArrays, pair
from odd_samples import pack_samples, striped, textured
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
    assert "3 cases of 4…7 × 9…12 pixels, median 5 × 9, in tiles of 4 × 4, 35% padding\n" in text
    assert line is None or line in text
    [facts] = json.loads(inspected(tmp_path / "o.zarr", "--json"))
    assert facts["cases"]["size"] == [[4, 5, 7], [9, 9, 12]]
    assert facts["cases"]["unplaced"] == 3 - len(spacings)


def test_what_was_done_to_cases_and_where_they_lie_is_told(tmp_path):
    cases = {"a": pair(SIZES[0]), "b": pair(SIZES[1])}
    affines = {"a": np.diag([0.1 + 0.2, 0.5, 1]), "b": np.diag([0.3, 0.5, 1])}
    systems = {"a": 'PROJCRS["ETRS89 / UTM zone 32N",BASEGEOGCRS["ETRS89"]]'}
    source = CaseArrays(cases, affines=affines, systems=systems)
    convert(source, tmp_path / "o.zarr", split="s", tile=(4, 4), workers=1)
    text = inspected(tmp_path / "o.zarr")
    assert "spacing 0.3 × 0.5; in ETRS89 / UTM zone 32N\n" in text


def test_volumes_that_were_turned_and_resampled_are_told(tmp_path):
    source = CaseArrays({"a": pair((6, 8, 9))}, affines={"a": -np.eye(4)[[2, 1, 0, 3]]})
    source.affines["a"][3, 3] = 1
    convert(source, tmp_path / "o.zarr", split="s", tile=(4, 4, 4), workers=1, orient="RAS",
            spacing=(2, 1, 1))  # fmt: skip
    text = inspected(tmp_path / "o.zarr")
    assert ": 6 tiles\n" in text
    assert "1 case of 3 × 8 × 9 voxels, in tiles of 4 × 4 × 4, 44% padding\n" in text
    assert "spacing 2 × 1 × 1 mm; resampled to 2 × 1 × 1 mm; turned to RAS\n" in text


def test_what_was_skipped_is_counted(tmp_path):
    source = CaseArrays({"a": pair(SIZES[0]), "b": pair(SIZES[1])}, bad=frozenset({"b"}))
    convert(source, tmp_path / "o.zarr", split="s", tile=(8, 16), workers=1, on_error="skip",
            classes=3)  # fmt: skip
    text = inspected(tmp_path / "o.zarr")
    assert ": 1 tile\n" in text
    assert "1 input was skipped when packing; --json lists them" in text


def test_splits_of_samples_have_no_cases(tmp_path):
    rng = np.random.default_rng(0)
    samples = [(rng.integers(0, 9, (4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8))] * 3
    convert(samples, tmp_path / "o.zarr", split="s", workers=1)
    assert " 3 samples" in inspected(tmp_path / "o.zarr")
    assert json.loads(inspected(tmp_path / "o.zarr", "--json"))[0]["cases"] is None


def faulty(store):
    """Pack two splits with some faults."""
    image, mask = textured(0), striped([0, 1, 2])
    flat = np.full((24, 20, 3), 9, np.uint8)
    train = {"a": (image, mask), "b": (image, mask), "c": (flat, mask), "d": (textured(1), mask)}
    pack_samples(store, "train", train)
    pack_samples(store, "val", {"d": (textured(2), mask), "e": (textured(3), striped([0]))})
    return store


def test_what_is_suspicious_is_counted_in_a_line_each(tmp_path):
    lines = inspected(faulty(tmp_path / "o.zarr")).splitlines()
    at = lines.index("Suspicious")
    assert sorted(lines[at + 1 :]) == [
        "  1 constant image: train/c",
        "  1 empty mask: val/e",
        "  1 group of exact duplicates: train/a and train/b",
        "  1 name or subject in several splits: train/d and val/d",
    ]
    train, val = json.loads(inspected(tmp_path / "o.zarr", "--json"))
    assert train["suspicious"] == {
        "empty-masks": 0, "one-class-masks": 0, "constant": 1, "not-finite": 0, "skipped": 0
    }  # fmt: skip
    assert val["suspicious"]["empty-masks"] == 1


def test_nothing_is_said_of_what_is_not_suspicious(tmp_path):
    pack_samples(tmp_path / "o.zarr", "a", {"x": (textured(0), striped([0, 1, 2]))})
    assert "Suspicious" not in inspected(tmp_path / "o.zarr")


def test_a_store_with_a_damaged_array_of_names_can_be_inspected(tmp_path):
    store = faulty(tmp_path / "o.zarr")
    [chunk] = [path for path in (store / "train/key/c").rglob("*") if path.is_file()]
    chunk.write_bytes(b"")
    text = inspected(store)
    assert "train: 4 samples" in text
    assert f"suspicious samples were not looked for: {store / 'train/key'}" in text
    assert json.loads(inspected(store, "--json"))[0]["suspicious"] is None
