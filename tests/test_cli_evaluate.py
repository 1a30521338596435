"""``zarrfeed evaluate`` prints the scores of classes and cases, or all of them as JSON."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from prediction_stores import NAMES, mistaken, write_dataset
from zarrfeed import evaluate
from zarrfeed.errors import StoreError
from zarrfeed_tools.cli import app

CLASSES = NAMES[:3]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Thirteen cases, of which each is predicted worse than the one before."""
    folder = tmp_path_factory.mktemp("stores")
    rng = np.random.default_rng(0)
    masks = {f"case{number:02}": rng.integers(0, 2, (9, 14), np.uint8) for number in range(13)}
    masks["case00"][:3] = 2
    found = {
        key: mistaken(mask, 3 if key == "case00" else 2, number, share=number / 20)
        for number, (key, mask) in enumerate(masks.items())
    }
    write_dataset(folder / "p.zarr", found, field="prediction", tile=(5, 5))
    return write_dataset(folder / "t.zarr", masks, tile=(4, 8), classes=CLASSES)


def run(store, *arguments, predictions="p.zarr"):
    paths = str(store), str(store.parent / predictions)
    return CliRunner().invoke(app, ["evaluate", *paths, *map(str, arguments)])


def rows(text):
    """First word of each line → the others; of lines that begin alike, the first."""
    lines = [line.split() for line in reversed(text.splitlines()) if line.strip()]
    return {words[0]: words[1:] for words in lines}


def test_scores_of_classes_and_of_the_worst_cases_are_shown(store):
    result = run(store)
    assert result.exit_code == 0, result.output
    assert "evaluating: 13 of 13 cases" in result.stderr
    found, table = evaluate(store, store.parent / "p.zarr"), rows(result.stdout)
    assert result.stdout.startswith(str(found))
    for number, name in enumerate(CLASSES):
        scores = [found.class_dice, found.class_iou, found.pooled_dice, found.pooled_iou]
        right = [f"{values[number]:.3f}" for values in scores]
        assert table[name] == [str(found.class_cases[number]), *right]
    assert table["tumour"][0] == "1"
    worst = [key for _, key in sorted(zip(found.case_dice, found.keys, strict=True))]
    shown = [line.split()[0] for line in result.stdout.splitlines() if line.startswith(" case")]
    assert [name for name in shown if name != "case"] == worst[:10]
    case = found.keys.index(worst[0])
    both = zip(found.dice[case, :2], found.iou[case, :2], strict=True)
    right = [f"{score:.3f}" for scores in both for score in scores]
    means = [f"{values[case]:.3f}" for values in (found.case_dice, found.case_iou)]
    assert table[worst[0]] == [*means, *right, "–", "–"]
    assert "the worst of 13 cases by Dice; --cases shows more" in result.stdout


def test_how_many_cases_are_shown_may_be_chosen(store):
    text = run(store, "--cases", 20).stdout
    assert all(f"case{number:02}" in text for number in range(13))
    assert "the worst of" not in text
    assert "case0" not in run(store, "--cases", 0).stdout


def test_where_classes_do_not_fit_the_lowest_is_named(store):
    many = {key: np.zeros((2, 3), np.uint8) for key in ("one", "two")}
    many["one"][0, 0] = many["two"][0, 1] = 7
    names = [f"class_{number:02}" for number in range(12)]
    truth = write_dataset(store.parent / "many.zarr", many, classes=names)
    other = {key: np.where(mask == 7, np.uint8(0), mask) for key, mask in many.items()}
    write_dataset(store.parent / "q.zarr", other)
    table = rows(run(truth, predictions="q.zarr").stdout)
    assert table["one"] == ["class_07", "0.000", "0.455", "0.417"]


def test_json_has_the_scores_of_all_cases(store):
    result = run(store, "--json", "--exclude", "background")
    facts = json.loads(result.stdout)
    found = evaluate(store, store.parent / "p.zarr", exclude=["background"])
    assert facts["dice"] == found.mean_dice
    assert [one["name"] for one in facts["classes"]] == ["liver", "tumour"]
    assert [one["id"] for one in facts["classes"]] == [1, 2]
    assert [one["pooled_iou"] for one in facts["classes"]] == found.pooled_iou.tolist()
    assert [one["key"] for one in facts["cases"]] == list(found.keys)
    assert facts["cases"][5]["classes"]["tumour"]["dice"] is None
    liver = facts["cases"][5]["classes"]["liver"]
    assert liver["iou"] == found.iou[5, 0]
    counts = ["true_positives", "false_positives", "false_negatives"]
    assert [liver[name] for name in counts] == found.counts[5, 0].tolist()


def test_predictions_may_be_a_folder_of_masks_that_is_packed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    for folder, seed in (("images", 0), ("masks", 1), ("predicted", 2)):
        (tmp_path / folder).mkdir()
        for name in ("x", "y"):
            size = (8, 9) if name == "x" else (11, 5)
            pixels = np.random.default_rng(seed).integers(0, 3, size, np.uint8)
            pixels = pixels if folder != "images" else rng.integers(0, 255, (*size, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{name}.png")
    for out, masks, tile in (("t.zarr", "masks", "8x8"), ("p.zarr", "predicted", "4x4")):
        options = ["--split", "val", "--images", "images", "--masks", masks, "--tile", tile]
        done = CliRunner().invoke(app, ["convert", out, *options, "--workers", "1"])
        assert done.exit_code == 0, done.output
    result = CliRunner().invoke(app, ["evaluate", "t.zarr/val", "p.zarr", "--json"])
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert sorted(case["key"] for case in facts["cases"]) == ["x", "y"]
    x = next(case for case in facts["cases"] if case["key"] == "x")
    one, other = (np.random.default_rng(seed).integers(0, 3, (8, 9), np.uint8) for seed in (1, 2))
    both = int(((one == 2) & (other == 2)).sum())
    assert x["classes"]["2"]["dice"] == 2 * both / ((one == 2).sum() + (other == 2).sum())


def test_missing_cases_end_with_1_or_are_named(store):
    few = {"case03": np.zeros((9, 14), np.uint8), "new": np.zeros((9, 14), np.uint8)}
    write_dataset(store.parent / "few.zarr", few, tile=(5, 5))
    result = run(store, predictions="few.zarr")
    assert isinstance(result.exception, StoreError)
    assert "needed a prediction of every case" in str(result.exception)
    text = run(store, "--allow-missing", predictions="few.zarr").stdout
    listed = "case00, case01, case02, case04, case05 and 7 more"
    assert f"left out: 12 cases without a prediction: {listed}\n" in text
    assert "left out: 1 case that the store does not have: new\n" in text
    assert "case03" not in text, "of a single case, the table of classes says all"


def test_a_class_that_is_not_there_is_wrong_usage(store):
    result = run(store, "--exclude", "tumor")
    assert result.exit_code == 2
    words = " ".join(result.stderr.replace("│", " ").split())
    assert "Invalid value for --exclude: needed names of classes, found 'tumor'" in words
    assert "did you mean 'tumour'?" in words


def test_the_command_ends_with_1_and_one_error(store):
    command = [sys.executable, "-m", "zarrfeed_tools", "evaluate", str(store), "nowhere.zarr"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert "nowhere.zarr: no such store" in done.stderr
    assert done.stderr.count("\n") == 1
