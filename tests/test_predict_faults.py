"""Predictions after errors and kills: the same call again gives what an uninterrupted one gives."""

from __future__ import annotations

import errno
import fcntl
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

from case_stores import random_case, write_cases
from zarrfeed import GridPatches, StoreError, predict
from zarrfeed.store import prediction_split, shard_writer
from zarrfeed.store.plane_tiles import PlaneTiles
from zarrfeed.store.shard_file import ShardFile

PATCHES = GridPatches((16, 16), 0.5)


class Bright:
    """A model whose scores are a pixel's brightness; it may stop before some batch."""

    def __init__(self, stop_before: int | None = None) -> None:
        self._left = stop_before

    def predict_on_batch(self, x):
        if self._left is not None:
            if not self._left:
                raise RuntimeError("stopped")
            self._left -= 1
        found = x[..., 0].astype(np.float32) / 255
        return np.stack([1 - found, found], -1)


def tree_of(folder):
    """Return the bytes of all files of a folder, by their paths in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def write_store(root, seed=0):
    zarr.open_group(str(root), mode="a").attrs["zarrfeed"] = {
        "format": 1, "classes": ["dark", "bright"], "ignore": None,
    }  # fmt: skip
    cases = {key: random_case((40, 44), "uint8", 1, seed + n) for n, key in enumerate("abcd")}
    return write_cases(
        root / "val", cases, (16, 16), attributes={"format": 1, "fields": ["image", "mask"]}
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("store") / "s.zarr")


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(shard_writer, "SHARD_NBYTES", 1024)  # of 4 tiles


@pytest.fixture(scope="module")
def whole(store, tmp_path_factory):
    """The files of an uninterrupted run."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(shard_writer, "SHARD_NBYTES", 1024)
        return tree_of(predict(Bright(), store, tmp_path_factory.mktemp("whole"), PATCHES))


@pytest.mark.parametrize(
    ("kind", "calls"),
    [(ShardFile, (1, 2, 4, 5, 17, 36)), (PlaneTiles, (1, 2, 3, 8)), ("finish", (1, 3, 9))],
)
def test_after_a_failed_write_nothing_wrong_is_kept(
    store, whole, tmp_path, monkeypatch, kind, calls
):
    kind, name = (ShardFile, kind) if isinstance(kind, str) else (kind, "append")
    write = getattr(kind, name)
    for fails in calls:
        left = [fails]

        def failing(*arguments, left=left):
            left[0] -= 1
            if left[0] == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(*arguments)

        out = tmp_path / str(fails)
        with monkeypatch.context() as patched:
            patched.setattr(kind, name, failing)
            with pytest.raises(OSError, match="No space left"):
                predict(Bright(), store, out, PATCHES)
        assert not list(out.rglob("*.tmp"))
        assert left[0] <= 0
        assert tree_of(predict(Bright(), store, out, PATCHES)) == whole


@pytest.mark.parametrize(
    "files",
    [
        ("val.partial/image/c/0/0/0/0",),
        ("val~journal.partial/run.json", "val.partial/image/c/0/0/0/0"),
        ("val~journal.partial/run.json",),
        ("val.partial/zarr.json",),
        ("val.partial/mine",),
    ],
    ids=", ".join,
)
def test_an_unfinished_conversion_is_left_unchanged(store, tmp_path, files):
    for name in files:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {}}))
    before = tree_of(tmp_path)
    for overwrite in (False, True):
        with pytest.raises(StoreError, match="found an unfinished conversion"):
            predict(Bright(), store, tmp_path, PATCHES, overwrite=overwrite)
        assert tree_of(tmp_path) == before
    assert list(before) == sorted(files)


def test_a_run_that_begins_while_another_one_ends_leaves_it_alone(
    store, whole, tmp_path, monkeypatch
):
    """Between opening the folder and locking it, the other run renames it."""
    done = predict(Bright(), store, tmp_path, PATCHES)
    unfinished = done.with_name("val.partial")
    for overwrite in (False, True):
        shutil.rmtree(unfinished, ignore_errors=True)
        done.rename(unfinished)
        flock = fcntl.flock

        def late(*arguments, flock=flock):
            if not done.exists():
                unfinished.rename(done)
            flock(*arguments)

        with monkeypatch.context() as patched:
            patched.setattr(prediction_split.fcntl, "flock", late)
            if overwrite:
                predict(Bright(), store, tmp_path, PATCHES, overwrite=True)
            else:
                with pytest.raises(StoreError, match="predictions already"):
                    predict(Bright(), store, tmp_path, PATCHES)
        assert tree_of(done) == whole
        assert sorted(each.name for each in tmp_path.iterdir()) == ["val", "zarr.json"]


def test_a_dataset_that_another_run_finishes_meanwhile_is_checked_again(store, tmp_path):
    class Meanwhile(Bright):
        def predict_on_batch(self, x):
            zarr.open_group(str(tmp_path), mode="a").attrs["zarrfeed"] = {
                "format": 1, "classes": ["other"], "ignore": None,
            }  # fmt: skip
            return super().predict_on_batch(x)

    with pytest.raises(StoreError, match="needed a dataset with the classes"):
        predict(Meanwhile(), store, tmp_path, PATCHES)
    assert not (tmp_path / "val").exists()


def test_a_kill_while_an_unfinished_run_is_removed_leaves_no_settings(
    store, whole, tmp_path, monkeypatch
):
    for removed in range(4):
        out = tmp_path / str(removed)
        with pytest.raises(RuntimeError, match="stopped"):
            predict(Bright(12), store, out, PATCHES)
        left, rmtree = [removed], shutil.rmtree

        def killed(*arguments, left=left, rmtree=rmtree):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            rmtree(*arguments)

        def settings_last(folder, iterdir=Path.iterdir):
            return iter(sorted(iterdir(folder), key=lambda each: (each.name == "zarr.json", each)))

        with monkeypatch.context() as patched:
            patched.setattr(prediction_split.shutil, "rmtree", killed)
            patched.setattr(Path, "iterdir", settings_last)  # the order of a file system
            with pytest.raises(KeyboardInterrupt):
                predict(Bright(), store, out, PATCHES, window="constant", overwrite=True)
        assert tree_of(predict(Bright(), store, out, PATCHES)) == whole
