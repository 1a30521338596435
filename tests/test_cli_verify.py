"""``zarrfeed verify`` says what is wrong, and ends with the right status."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from packed import Packed, copy_of, pack
from zarrfeed.errors import StoreError
from zarrfeed_tools.cli import app

COMMAND = [sys.executable, "-c", "from zarrfeed_tools.cli import main; main()"]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    return pack(tmp_path_factory.mktemp("healthy"), "lz4")


@pytest.fixture
def packed(healthy, tmp_path, monkeypatch) -> Packed:
    monkeypatch.setenv("COLUMNS", "200")
    return copy_of(healthy, tmp_path / "copy")


def invoke(*arguments):
    return CliRunner().invoke(app, ["verify", *map(str, arguments)])


def hurt(path):
    data = bytearray(path.read_bytes())
    data[5] ^= 255  # of the first chunk's size
    path.write_bytes(data)


def test_a_whole_dataset_ends_with_0_and_says_what_was_looked_at(packed):
    result = invoke(packed.store, "--source")
    assert result.exit_code == 0, result.output
    assert f"{packed.split}: as it was packed" in result.stdout
    assert (
        "11 samples, decoded, every byte of 6 files, the originals of 11 samples" in result.stdout
    )
    assert "checking train: 11 of 11 samples" in result.stderr
    assert "comparing train with its originals: 11 of 11 samples" in result.stderr


def test_damage_ends_with_1_and_names_files_and_samples(packed):
    path = packed.shard("image", 1)
    hurt(path)
    result = invoke(packed.store)
    assert result.exit_code == 1
    assert "not as it was packed: 1 damaged file, 2 unreadable samples" in result.stdout
    assert f"damaged file: {path}: needed bytes of xxh3_64" in result.stdout
    assert f"unreadable sample: {packed.keys[4]}: {path}: chunk 0" in result.stdout


def test_one_split_is_enough_and_quick_decodes_nothing(packed):
    hurt(packed.shard("image", 1))
    result = invoke(packed.split, "--quick")
    assert result.exit_code == 1
    assert "1 damaged file" in result.stdout
    assert "checked: every byte of 6 files\n" in result.stdout
    assert "sample:" not in result.stdout


def test_of_many_problems_the_first_are_shown(packed):
    shutil.rmtree(packed.split / "image" / "c")
    result = invoke(packed.store)
    assert "3 missing files, 11 unreadable samples" in result.stdout
    assert result.stdout.count("unreadable sample: ") == 10
    assert "… and 1 more; --json lists all" in result.stdout


def test_the_outcome_is_one_json_object_with_all_problems(packed):
    shutil.rmtree(packed.split / "image" / "c")
    result = invoke(packed.store, "--json")
    assert result.exit_code == 1
    [split] = json.loads(result.stdout)["splits"]
    assert split["counts"] == {"file-missing": 3, "sample-damaged": 11}
    assert [problem["key"] for problem in split["problems"] if problem["key"]] == packed.keys
    assert json.loads(invoke(packed.store, "--json").stdout)["ok"] is False


def test_originals_that_have_moved_are_said_where(packed, tmp_path):
    packed.images.rename(tmp_path / "moved")
    result = invoke(packed.store, "--source")
    assert result.exit_code == 1
    assert "source that cannot be opened" in result.stdout
    assert "1 source that cannot be opened" in result.stdout
    result = invoke(packed.store, "--images", tmp_path / "moved")
    assert result.exit_code == 0, result.output
    assert "the originals of 11 samples" in result.stdout
    (tmp_path / "moved" / f"{packed.keys[0]}.png").write_bytes(b"")
    result = invoke(packed.split, "--images", tmp_path / "moved")
    assert result.exit_code == 1
    assert "as it was packed, its originals are not: 1 changed original" in result.stdout
    assert f"changed original: {tmp_path / 'moved' / packed.keys[0]}.png" in result.stdout


def test_originals_of_several_splits_are_wrong_usage(packed):
    shutil.copytree(packed.split, packed.store / "val")
    result = invoke(packed.store, "--images", packed.images, "--masks", packed.masks)
    assert result.exit_code == 2
    assert "needed the split to which these originals belong, like" in result.output


def test_wrong_numbers_of_workers_are_wrong_usage(packed):
    assert invoke(packed.store, "--workers", "0").exit_code == 2


def test_what_is_no_dataset_is_an_error(packed):
    assert isinstance(invoke(packed.folder / "nothing").exception, StoreError)


def test_keys_that_are_no_utf8_are_shown(packed):
    key = packed.array("key")
    key[0] = [255, 0, 0]
    result = invoke(packed.store, "--source")
    assert result.exit_code == 1
    assert "\\udcff: needed the original of this sample" in result.stdout


def test_the_real_command_ends_with_its_status(packed):
    def run(*arguments):
        return subprocess.run(
            [*COMMAND, "verify", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    assert run(packed.store).returncode == 0
    hurt(packed.shard("mask", 0))
    result = run(packed.store, "--workers", "2")
    assert result.returncode == 1
    assert "damaged file" in result.stdout
    assert "Traceback" not in result.stderr
    result = run(packed.folder / "nothing")
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")


def test_the_help_teaches(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    said = invoke("--help").stdout
    assert "zarrfeed verify camvid.zarr/train --source" in said
    assert "the exit status" in said
