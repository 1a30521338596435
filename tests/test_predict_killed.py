"""Runs of ``zarrfeed.predict`` that are killed: the same call then ends the work."""

from __future__ import annotations

import itertools
import shutil

import pytest

from case_stores import random_case, write_cases
from killed import killed_until_done
from prediction_models import Bright
from zarrfeed import GridPatches, list_splits, predict
from zarrfeed.store import shard_writer

_PATCHES = GridPatches((16, 16), 0.5)
_SHARD_NBYTES = 1024  # of 4 tiles
_SETUP = """
import itertools
from prediction_models import Bright
from zarrfeed import GridPatches, predict
from zarrfeed.store import shard_writer
shard_writer.SHARD_NBYTES = 1024
"""
# Every run has a folder of its own: a copy of what was there before, by its number.
_WORK = """
out = f"{sys.argv[2]}/{left}"
if sys.argv[3]:
    os.system(f"cp -r {sys.argv[3]} {out}")
predict(Bright(3), sys.argv[1], out, GridPatches((16, 16), 0.5), workers=0, overwrite=True)
"""


def tree_of(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    cases = {key: random_case((24, 24), "uint8", 1, n) for n, key in enumerate("abc")}
    return write_cases(tmp_path_factory.mktemp("store") / "s.zarr" / "val", cases, (16, 16))


@pytest.fixture(scope="module", autouse=True)
def small_shards():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(shard_writer, "SHARD_NBYTES", _SHARD_NBYTES)
        yield


def run(model, store, out, **options):
    return predict(model, store, out, _PATCHES, workers=0, **options)


@pytest.fixture(scope="module")
def whole(store, tmp_path_factory):
    """The files of uninterrupted runs of two models."""
    return {
        level: tree_of(run(Bright(level), store, tmp_path_factory.mktemp("whole")))
        for level in (2, 3)
    }


@pytest.mark.parametrize(
    ("before", "first"),
    [
        pytest.param("nothing", 0, marks=pytest.mark.soak),
        ("unfinished", 1),
        pytest.param("finished", 2, marks=pytest.mark.soak),
    ],
)
def test_after_a_kill_the_same_call_ends_the_work(store, whole, tmp_path, before, first):
    """Before it, there may be predictions of another model, finished or not."""
    there = tmp_path / "before"
    if before == "unfinished":
        with pytest.raises(RuntimeError, match="stopped"):
            run(Bright(2, stop_before=2), store, there)
    elif before == "finished":
        run(Bright(2), store, there)
    runs = tmp_path / "runs"
    runs.mkdir()
    arguments = [str(store), str(runs), str(there) if there.exists() else ""]
    kills = stop = 0
    for stop in killed_until_done(_SETUP, _WORK, arguments, itertools.count(first, 3)):
        kills += 1
        out = runs / str(stop)
        if before == "unfinished":
            # That of before, if nothing was removed of it: else it begins anew, and never mixes.
            other = shutil.copytree(out, tmp_path / f"other{stop}") if out.exists() else None
            if other is not None and not (other / "val").exists():
                again = run(Bright(2), store, other, overwrite=True)
                assert tree_of(again) == whole[2]
        assert tree_of(run(Bright(3), store, out, overwrite=True)) == whole[3]
        assert list_splits(out) == ("val",)
        assert {each.name for each in out.iterdir()} == {"val", "zarr.json"}
    assert kills > 10
    assert tree_of(runs / str(stop + 3) / "val") == whole[3]
