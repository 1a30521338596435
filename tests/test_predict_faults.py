"""Predictions after errors and kills: the same call again gives what an uninterrupted one gives."""

from __future__ import annotations

import errno

import numpy as np
import pytest
import zarr

from case_stores import random_case, write_cases
from zarrfeed import GridPatches, predict
from zarrfeed.store import shard_writer
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
