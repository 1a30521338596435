"""``zarrfeed repack`` makes a split of packed ones, explains itself, and ends with its status."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import zarr
from typer.testing import CliRunner

from cases import CaseArrays, pair, put_together
from folders import contents
from packed import flipped, pack
from stored_samples import attributes, by_key, require_same, texts
from zarrfeed_convert import convert
from zarrfeed_tools.cli import app

COMMAND = [sys.executable, "-c", "from zarrfeed_tools.cli import main; main()"]


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    return pack(tmp_path_factory.mktemp("packed"), "raw")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def invoke(*arguments):
    return CliRunner().invoke(app, ["repack", *map(str, arguments)])


def run(*arguments):
    return subprocess.run(
        [*COMMAND, "repack", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_it_repacks_and_shows_what(packed, here):
    options = ("--codec", "zstd", "--chunk-samples", 1, "--shard-size", "378B", "--workers", 1)
    result = invoke(packed.store, "o.zarr", "--split", "new", *options)
    assert result.exit_code == 0, result.output
    assert "Repacked 11 samples into o.zarr/new in" in result.stdout
    assert re.search(r"image +11×7×6×3 +uint8 +zstd-1 +1 +3 ", result.stdout)
    assert "repacking: 11 of 11 samples" in result.stderr
    require_same(by_key(here / "o.zarr/new"), by_key(packed.split))
    assert "is already packed: nothing was changed" in invoke(
        packed.store, "o.zarr", "--split", "new", *options
    ).stdout  # fmt: skip


def test_a_part_is_chosen_by_number_or_by_name(packed, here):
    result = invoke(packed.split, "o.zarr", "--split", "a", "--subset", "1::4", "--workers", 1)
    assert "Repacked 3 of 11 samples into o.zarr/a" in result.stdout
    names = [packed.keys[row] for row in (1, 5, 9)]
    assert list(by_key(here / "o.zarr/a")) == names
    (here / "keys.txt").write_text("\n".join(["", *reversed(names), ""]) + "\r\n")
    invoke(packed.split, "o.zarr", "--split", "b", "--keys", "keys.txt", "--workers", 1)
    require_same(by_key(here / "o.zarr/b"), by_key(here / "o.zarr/a"))


def test_splits_become_one(packed, here):
    for split, subset in (("one", ":5"), ("two", "5:")):
        invoke(packed.split, "o.zarr", "--split", split, "--subset", subset, "--workers", 1)
    result = invoke("o.zarr/one", "o.zarr/two", "o.zarr", "--split", "all", "--workers", 1)
    assert result.exit_code == 0, result.output
    require_same(by_key(here / "o.zarr/all"), by_key(packed.split))
    result = run("o.zarr/one", "o.zarr/all", "x.zarr", "--split", "s")
    assert result.returncode == 1
    assert "o.zarr/all: needed names of samples that no other" in result.stderr
    result = invoke(
        "o.zarr/one", "o.zarr/all", "x.zarr", "--split", "s", "--prefix-keys", "--workers", 1
    )
    assert "Repacked 16 samples" in result.stdout


def test_a_report_for_machines(packed):
    result = invoke(packed.split, "o.zarr", "--split", "s", "--dry-run", "--json", "--codec", "lz4")
    report = json.loads(result.stdout)
    assert (report["status"], report["found"], report["packed"]) == ("dry run", 11, 11)
    assert [field["codec"] for field in report["fields"]] == ["blosc-lz4", "blosc-lz4hc"]


def test_a_dry_run_says_why(packed, here):
    result = invoke(packed.split, "o.zarr", "--split", "s", "--dry-run", "--order", "source")
    assert "Would repack 11 samples into o.zarr/s; nothing was written" in result.stdout
    assert re.search(r"order +source +sorted by name", result.stdout)
    assert re.search(r"image codec +raw +as it was", result.stdout)
    assert not (here / "o.zarr").exists()


def test_cases_are_chosen_and_cut_into_other_tiles(here):
    found = {f"case{n}": pair((5 + 3 * n, 9), n) for n in range(5)}
    convert(CaseArrays(found), "c.zarr", split="train", tile=(4, 4), workers=1, classes=3)
    options = ("--split", "train", "--workers", 1, "--subset", ":3", "--order", "source")
    result = invoke("c.zarr", "a.zarr", *options)
    assert result.exit_code == 0, result.output
    tiles = attributes(here / "a.zarr/train")["samples"]
    assert f"Repacked 3 of 5 cases as {tiles} tiles into a.zarr/train in" in result.stdout
    result = invoke("a.zarr", "b.zarr", "--split", "train", "--tile", "3x6", "--dry-run")
    assert re.search(r"Would repack 3 cases as \d+ tiles into b.zarr/train; nothing", result.stdout)
    assert re.search(r"tile +3x6 +asked for", result.stdout)
    assert f"casesallof{here}/a.zarr/train" in "".join(result.stdout.split())  # it is folded
    result = invoke("a.zarr", "b.zarr", "--split", "train", "--tile", "3x6", "--workers", 1)
    assert result.exit_code == 0, result.output
    names = texts(zarr.open_array("b.zarr/train/case_key")[:])
    assert names == texts(zarr.open_array("a.zarr/train/case_key")[:])
    for key in names:
        assert np.array_equal(put_together(here / "b.zarr/train", key), found[key]["image"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--tile", "4"], "needed HEIGHTxWIDTH like 256x512"),
        (["--subset", "5"], "needed START:STOP"),
        (["--subset", "::0"], "needed START:STOP"),
        (["--keys", "missing.txt"], "no such file: missing.txt"),
        (["--subset", ":5", "--keys", "missing.txt"], "cannot be combined with --subset"),
        (["--shard-size", "big"], "needed a size like"),
        (["--codec", "lzma"], "'lzma' is not one of"),
    ],
)
def test_wrong_usage_is_status_2(packed, options, said):
    result = invoke(packed.split, "o.zarr", "--split", "s", *options)
    assert result.exit_code == 2
    assert said in result.stderr


def test_damage_is_status_1_and_named(packed, here):
    with flipped(packed.shard("mask", 2), 5, 1):
        result = run(packed.split, "o.zarr", "--split", "s", "--workers", 2)
    assert result.returncode == 1
    assert result.stderr.count("error: ") == 1
    assert (
        f"{packed.shard('mask', 2)}: sample {packed.keys[8]!r} of {packed.split}" in result.stderr
    )
    assert "Traceback" not in result.stderr
    assert not (here / "o.zarr/s").exists()


def test_ctrl_c_leaves_what_is_done_to_be_gone_on_with(packed, here):
    arguments = [packed.split, "o.zarr", "--split", "s", "--workers", 2, "--codec", "lz4"]
    script = f"""
import sys, time
from zarrfeed_convert.repacking import copy_task
write = copy_task.ShardRecord.save
def slowly(record, path):
    write(record, path)
    print("packed a shard", file=sys.stderr, flush=True)
    time.sleep(60)
copy_task.ShardRecord.save = slowly
sys.argv = ["zarrfeed", "repack", *{list(map(str, arguments[:-3]))}, "1", "--codec", "lz4"]
from zarrfeed_tools.application import run
run(sys.argv[1:])
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        for line in process.stderr:
            if "packed a shard" in line:
                break
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "interrupted: 1 shard is packed and kept: the same command resumes from there" in said
    began = time.monotonic()
    result = run(*arguments)
    assert result.returncode == 0, result.stderr
    assert time.monotonic() - began < 60
    invoke(packed.split, "expected.zarr", "--split", "s", "--workers", 1, "--codec", "lz4")
    assert contents(here / "o.zarr") == contents(here / "expected.zarr")


def test_help_teaches():
    result = invoke("--help")
    assert result.exit_code == 0
    for said in (
        "zarrfeed repack city.zarr/train",
        "--prefix-keys",
        "--subset",
        "OUT.zarr",
        "--tile 32x128x128",
    ):
        assert said in result.stdout
