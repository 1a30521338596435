"""``zarrfeed report`` says what is wrong with a dataset, to people, to programs and to checks."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import zarr
from typer.testing import CliRunner

from case_stores import random_case, write_cases
from odd_samples import pack_cases, pack_samples, striped, textured
from packed import change_attributes
from stores import traced_pixels, write_split
from zarrfeed_tools.cli import app
from zarrfeed_tools.report.checks import CHECKS

HOSTILE = "\x1b[31m<script>alert(1)</script>[red]\u202e"


def run(*arguments, columns="300"):
    return CliRunner().invoke(app, ["report", *map(str, arguments)], env={"COLUMNS": columns})


def facts_of(store, *options):
    result = run(store, "--json", *options)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module", name="bad")
def _bad(tmp_path_factory):
    """A dataset with one fault of each kind."""
    store = tmp_path_factory.mktemp("bad") / "o.zarr"
    image, mask = textured(0), striped([0, 1, 2])
    broken = textured(5).astype(np.float32)
    broken[0, 0] = np.nan
    train = {
        "p07_1": (image, mask),
        "p08_1": (image, mask),
        "flat": (np.full((24, 20, 3), 9, np.uint8), mask),
        "bare": (textured(2), striped([0])),
        "lone": (textured(3), striped([2])),
        "once": (textured(4, (24, 20)), mask),
        "nan": (broken, mask),
    }
    train = {key: (values.astype(np.float32), ids) for key, (values, ids) in train.items()}
    pack_samples(store, "train", train)
    val = {"p07_2": (textured(6), mask), "once": (textured(7), mask)}
    pack_samples(
        store, "val", {key: (values.astype(np.float32), ids) for key, (values, ids) in val.items()}
    )
    return store


@pytest.mark.parametrize(
    ("check", "says"),
    [
        ("duplicates", "found 1 group of exact duplicates: train/p0?_1 and train/p0?_1"),
        ("leakage", "found 2 names or subjects in several splits: train/once and val/once; "),
        ("empty-masks", "found 1 empty mask: train/bare"),
        ("one-class-masks", "found 1 mask of one class: train/lone"),
        ("constant", "found 1 constant image: train/flat"),
        ("not-finite", "found 1 image with NaN or infinite values: train/nan"),
    ],
)
def test_a_check_that_finds_something_fails_and_says_what(bad, check, says):
    result = run(bad, "--fail-on", check)
    assert result.exit_code == 1
    [line] = result.stderr.splitlines()
    assert line.startswith(f"failed: {check}: ")
    line = line.replace("p07_1", "p0?_1").replace("p08_1", "p0?_1")
    assert says in line


def test_several_checks_are_separated_by_commas_or_repeated(bad):
    result = run(bad, "--fail-on", "constant, Empty_Masks,constant", "--fail-on", "skipped")
    assert result.exit_code == 1
    assert [line.split(": ")[1] for line in result.stderr.splitlines()] == [
        "constant", "empty-masks"
    ]  # fmt: skip


def test_checks_that_find_nothing_pass(tmp_path):
    pixels = {f"{n}": (textured(n), striped([0, 1, 2])) for n in range(3)}
    store = pack_samples(tmp_path / "o.zarr", "train", pixels)
    pack_samples(store, "val", {"a": (textured(9), striped([0, 1]))})
    known = [check for check in CHECKS if check != "near-duplicates"]
    result = run(store, "--fail-on", ",".join(known))
    assert (result.exit_code, result.stderr) == (0, "")
    assert "nothing suspicious was found" in result.stdout


def test_the_json_comes_although_a_check_fails(bad):
    result = run(bad, "--json", "--fail-on", "leakage")
    assert result.exit_code == 1
    facts = json.loads(result.stdout)
    assert [split["name"] for split in facts["splits"]] == ["train", "val"]
    assert facts["leakage"]["same_prefixes"]["groups"][0]["what"] == "p07"
    assert facts["splits"][0]["constant"]["units"][0]["key"] == "flat"


def test_the_json_has_what_was_seen_of_samples_if_there_is_a_page(bad, tmp_path):
    assert facts_of(bad)["sampled"] is None
    sampled = facts_of(bad, tmp_path / "o.html")["sampled"]
    assert sampled["samples"] == 9
    assert [(each["split"], each["channel"]) for each in sampled["intensities"]] == [
        (split, channel) for channel in range(3) for split in ("train", "val")
    ]
    for each in sampled["intensities"]:
        low, middle, high = each["percentiles"].values()
        assert 0 <= low <= middle <= high <= 255
        assert sum(each["shares"]) == pytest.approx(1)
    assert sampled["unreadable"] == []
    assert (tmp_path / "o.html").stat().st_size > 10_000


def test_an_unknown_check_is_told_what_was_meant(bad):
    result = run(bad, "--fail-on", "leakage,dupicates")
    assert result.exit_code == 2
    assert "did you mean 'duplicates'?" in result.stderr
    result = run(bad, "--fail-on", "zzz")
    assert "near-duplicates" in result.stderr


def test_every_check_is_in_the_help():
    text = run("--help", columns="120").output
    assert all(f"{name}: " in text for name in CHECKS)


def test_a_check_that_cannot_be_made_fails_and_says_why(tmp_path):
    store = write_split(tmp_path / "o.zarr", traced_pixels(5))
    result = run(store, "--fail-on", "duplicates")
    assert result.exit_code == 1
    assert "duplicates: cannot be checked in o.zarr: it has no digest" in result.stderr
    assert run(store, "--fail-on", "skipped").exit_code == 0
    assert "not looked for" in run(store).stdout


def test_leakage_of_one_split_is_no_question(bad):
    assert run(bad / "train", "--fail-on", "leakage").exit_code == 0
    [split] = facts_of(bad / "train")["splits"]
    assert split["name"] == "train"


def test_people_get_a_line_for_each_kind(bad):
    lines = run(bad).stdout.splitlines()
    assert lines[:2] == ["train: 7 samples", "val: 2 samples"]
    assert "1 constant image: train/flat" in lines
    assert any(line.startswith("1 group of exact duplicates: ") for line in lines)


def test_names_may_hold_anything(tmp_path):
    pixels = {f"{HOSTILE}{n}": (textured(0), striped([0])) for n in range(2)}
    store = pack_samples(tmp_path / "o.zarr", "a", pixels, classes=[HOSTILE, "[bold]b", "c"])
    result = run(store, "--fail-on", "empty-masks,duplicates")
    for text in (result.stdout, result.stderr):
        assert "\\x1b[31m<script>alert(1)</script>[red]\\u202e" in text
        assert "\x1b" not in text
        assert "\u202e" not in text
    facts = facts_of(store)
    assert facts["splits"][0]["classes"]["rows"][0]["name"] == HOSTILE
    assert facts["duplicates"]["groups"][0]["units"][0]["key"].startswith(HOSTILE)


def test_names_of_any_bytes_are_json(tmp_path):
    pixels = {f"\udcff{n}": (textured(n), striped([0])) for n in range(2)}
    store = pack_samples(tmp_path / "o.zarr", "a", pixels)
    units = facts_of(store)["splits"][0]["masks"]["background"]["units"]
    assert sorted(unit["key"] for unit in units) == ["\udcff0", "\udcff1"]


def test_numbers_that_json_lacks_are_null(tmp_path):
    store = pack_samples(tmp_path / "o.zarr", "a", {"x": (textured(0), striped([0, 1]))})

    def change(attributes):
        attributes["packed"]["settings"]["size"] = float("nan")

    change_attributes(store / "a", change)
    assert facts_of(store)["splits"][0]["facts"]["packed"]["settings"]["size"] is None


def test_cases_have_facts(tmp_path):
    image, mask = textured(0, (20, 30)), striped([0, 1], (20, 30))
    cases = {"p1_a": (image, mask), "p1_b": (textured(1, (40, 10)), striped([0], (40, 10)))}
    store = pack_cases(tmp_path / "o.zarr", "train", cases, (16, 16))
    pack_cases(store, "val", {"other": (image, mask)}, (16, 16))
    facts = facts_of(store)
    train = facts["splits"][0]
    assert (train["unit"], train["units"], train["facts"]["samples"]) == ("case", 2, 7)
    assert train["masks"]["background"]["units"][0]["key"] == "p1_b"
    assert train["spread"]["sizes"][0] == {"edges": [20.0, 30.0, 40.0], "counts": [1, 1]}
    [group] = facts["duplicates"]["groups"]
    assert group["splits"] == {"train": 1, "val": 1}


def test_cases_of_others_have_facts(tmp_path):
    cases = {f"c{n}": random_case((9, 7 + n), "uint8", 1, n) for n in range(3)}
    write_cases(tmp_path / "o.zarr", cases, (4, 4))
    [split] = facts_of(tmp_path / "o.zarr")["splits"]
    assert (split["unit"], split["units"]) == ("case", 3)
    assert sum(split["spread"]["sizes"][1]["counts"]) == 3


def test_a_group_without_fields_for_models_has_facts(tmp_path):
    group = zarr.open_group(str(tmp_path / "o.zarr"), mode="w")
    group.create_array("a", data=np.zeros((3, 2)))
    group.create_array("b", data=np.zeros((4, 2)))
    [split] = facts_of(tmp_path / "o.zarr")["splits"]
    assert split["units"] == 0
    assert "different lengths" in split["unknown"]["duplicates"]


# -- damaged stores -------------------------------------------------------------------------------


def short(path):
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize("name", ["key", "digest", "class_pixels", "channel_sums"])
@pytest.mark.parametrize("hurt", [short, lambda path: path.unlink()], ids=["short", "missing"])
def test_a_damaged_array_is_an_error_that_names_it(tmp_path, name, hurt):
    pixels = {f"s{n}": (textured(n), striped([0, 1])) for n in range(2)}
    store = pack_samples(tmp_path / "o.zarr", "a", pixels)
    pack_samples(store, "b", {"x": (textured(9), striped([0, 1]))})
    [chunk] = [path for path in (store / "a" / name / "c").rglob("*") if path.is_file()]
    hurt(chunk)
    result = run(store, "--json")
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit | ValueError | OSError)
    assert str(store / "a" / name) in str(result.exception)


def test_errors_of_the_command_are_no_tracebacks(tmp_path):
    store = pack_samples(tmp_path / "o.zarr", "a", {"x": (textured(0), striped([0, 1]))})
    [chunk] = [path for path in (store / "a/digest/c").rglob("*") if path.is_file()]
    short(chunk)
    command = [sys.executable, "-m", "zarrfeed_tools", "report", str(store)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert f"{store / 'a/digest'}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_store_is_an_error(tmp_path):
    assert "no such store" in str(run(tmp_path / "none.zarr").exception)


def test_arrays_of_another_length_are_not_used(tmp_path):
    store = pack_samples(tmp_path / "o.zarr", "a", {"x": (textured(0), striped([0, 1]))})
    for name, values in (
        ("digest", np.ones(3, np.uint64)), ("channel_sums", np.ones((2, 3, 2))),
        ("class_pixels", np.ones((9, 3), np.uint32)), ("key", np.ones((5, 2), np.uint8)),
    ):  # fmt: skip
        shutil.rmtree(store / "a" / name)
        zarr.open_group(str(store / "a")).create_array(name, data=values)
    [split] = facts_of(store)["splits"]
    assert "describes 3 samples, found 1" in split["unknown"]["duplicates"]
    assert split["units"] == 1


def test_a_claim_of_very_many_samples_is_refused(tmp_path):
    group = zarr.open_group(str(tmp_path / "o.zarr"), mode="w")
    for name in ("image", "digest"):
        shape = (10**15,) if name == "digest" else (10**15, 2, 2, 1)
        group.create_array(name, shape=shape, dtype="uint64", chunks=(1, *shape[1:]))
    result = run(tmp_path / "o.zarr")
    assert result.exit_code == 1
    assert "of memory" in str(result.exception)
