"""A conversion that is stopped, however and whenever, goes on and ends as if it had not been."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time

import pytest

from chaos import chances
from folders import contents
from killed import killed_until_done
from scripts import gone, running, wait_until
from zarrfeed import open_split
from zarrfeed.errors import SourceError, StoreError, WorkerError
from zarrfeed_convert import PairedFolders, conversion_plan, convert, verify
from zarrfeed_convert.executors.executor import TaskRun
from zarrfeed_convert.shards.packing import ShardTask, pack_shard

# Many small shards, so that there is much between which a run can be stopped.
LAYOUT = {"chunk_samples": 2, "shard_size": 1440}

PACK = """
import sys
from zarrfeed_convert import PairedFolders, convert
convert(
    PairedFolders("data/images", "data/masks"), "o.zarr", split="train", workers=int(sys.argv[1]),
    chunk_samples=2, shard_size=1440, overwrite=len(sys.argv) > 3, on_error="skip",
)
"""

# The same, for :func:`killed_until_done`.
SETUP = """
import zarrfeed_convert.conversion
from zarrfeed_convert import PairedFolders, convert
"""
WORK = """
convert(
    PairedFolders("data/images", "data/masks"), "o.zarr", split="train", workers=1,
    chunk_samples=2, shard_size=1440, overwrite=len(sys.argv) > 1, on_error="skip",
)
"""

GOES_ON = """
import os, signal
from zarrfeed_convert import PairedFolders, convert

def kill(what, done, total):
    if what == "packing":
        os.kill(os.getpid(), signal.SIGKILL)

convert(
    PairedFolders("data/images", "data/masks"), "o.zarr", split="train", workers=1,
    chunk_samples=2, shard_size=1440, order="source", classes="a,b,c", progress=kill,
)
"""


def pack(pairs, out="o.zarr", **options):
    return convert(pairs, out, split="train", **{"workers": 1, **LAYOUT, **options})


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def pairs(here, write_pairs):
    write_pairs(40)
    return PairedFolders("data/images", "data/masks")


@pytest.fixture
def expected(pairs, here):
    pack(pairs, "expected.zarr")
    return contents(here / "expected.zarr")


def kill_again_and_again(here, expected, chance):
    kills, deadline = 0, time.monotonic() + 60
    while time.monotonic() < deadline:
        with running(PACK, chance.choice((1, 2, 3))) as process:
            wait_until(lambda: (here / "o.zarr").exists() or process.poll() is not None)
            try:
                process.wait(chance.uniform(0.0, 0.15 * 1.3**kills))  # it comes to an end
            except subprocess.TimeoutExpired:
                process.kill()  # its processes end with it
                kills += 1
                process.wait()
                with pytest.raises(StoreError):
                    open_split("o.zarr/train.partial")
                continue
        assert process.returncode == 0
        break
    assert kills
    assert contents(here / "o.zarr") == expected


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.soak)])
def test_a_run_that_is_killed_again_and_again_ends_as_if_it_had_not_been(
    pairs, expected, here, seed
):
    kill_again_and_again(here, expected, random.Random(seed))


@pytest.mark.chaos
def test_conversions_are_killed_for_minutes(pairs, expected, here):
    for chance in chances("killed conversions"):
        kill_again_and_again(here, expected, chance)
        shutil.rmtree(here / "o.zarr")


@pytest.mark.parametrize(
    "overwrite",
    [pytest.param((), marks=pytest.mark.soak, id="first"), pytest.param(("overwrite",), id="over")],
)
def test_a_kill_at_any_step_leaves_what_the_next_run_completes(
    pairs, expected, here, write_pairs, overwrite
):
    if overwrite:
        write_pairs(6, name="old")
        pack(PairedFolders("old/images", "old/masks"), classes="a,b,c,d")
    old = contents(here / "o.zarr") if overwrite else None
    killed_last = 0
    for step in killed_until_done(SETUP, WORK, overwrite, range(5 * len(overwrite), 400, 17)):
        killed_last = step
        if overwrite and (here / "o.zarr" / "train").exists():
            now = contents(here / "o.zarr" / "train")
            assert now in (
                {name.removeprefix("train/"): data for name, data in store.items()
                 if name.startswith("train/")} for store in (old, expected)
            )  # fmt: skip
    assert killed_last > 20
    assert contents(here / "o.zarr") == expected


def test_shards_that_are_packed_are_not_packed_again(pairs, expected, here):
    with pytest.raises(KeyboardInterrupt):
        pack(pairs, progress=interrupt_at(30))
    assert sorted(path.name for path in (here / "o.zarr").iterdir()) == [
        "train.partial",
        "train~journal.partial",
    ]
    told = []
    pack(pairs, progress=lambda *step: told.append(step))
    assert min(done for what, done, _ in told if what == "packing") >= 28
    assert contents(here / "o.zarr") == expected


def interrupt_at(sample):
    def progress(what, done, total):
        if what == "packing" and done == sample:
            raise KeyboardInterrupt

    return progress


def test_what_is_kept_is_said(pairs):
    with pytest.raises(KeyboardInterrupt) as stopped:
        pack(pairs, progress=interrupt_at(30))
    assert stopped.value.__notes__ == [
        "7 shards are packed and kept: the same command resumes from there, --restart starts anew"
    ]


def test_other_settings_are_refused_and_named_until_restart_is_asked_for(pairs, here):
    with pytest.raises(KeyboardInterrupt):
        pack(pairs, progress=interrupt_at(30))
    kept = contents(here / "o.zarr")
    with pytest.raises(
        SourceError, match=r"7 of its shards were packed.*seed: 0 there, 3 asked for"
    ):
        pack(pairs, seed=3)
    with pytest.raises(SourceError, match=r"ignore: none there, 9 asked for.*--restart"):
        pack(pairs, ignore=9)
    kept.pop("train~journal.partial/failed-run", None)
    now = contents(here / "o.zarr")
    now.pop("train~journal.partial/failed-run", None)
    assert now == kept
    pack(pairs, seed=3, restart=True)
    assert sorted(path.name for path in (here / "o.zarr").iterdir()) == ["train", "zarr.json"]


def test_a_source_that_has_changed_is_refused(pairs, write_pairs, save, here):
    with pytest.raises(KeyboardInterrupt):
        pack(pairs, progress=interrupt_at(30))
    for name in ("images", "masks"):
        (here / "data" / name / "new.png").write_bytes(
            next((here / "data" / name).iterdir()).read_bytes()
        )
    with pytest.raises(SourceError, match="number of samples: 40 there, 41 asked for"):
        pack(PairedFolders("data/images", "data/masks"))


def test_names_that_have_changed_are_refused(pairs, here):
    """Else shards that are packed would go by the names of other samples."""
    with pytest.raises(KeyboardInterrupt):
        pack(pairs, progress=interrupt_at(30))
    for name in ("images", "masks"):
        (here / "data" / name / "s000.png").rename(here / "data" / name / "z000.png")
    for _ in range(2):
        with pytest.raises(SourceError, match=r"digest of the names of samples: .*--restart"):
            pack(PairedFolders("data/images", "data/masks"))
    renamed = pack(PairedFolders("data/images", "data/masks"), restart=True)
    assert renamed.packed == 40
    assert verify("o.zarr", source=True, workers=1).ok


def test_a_run_that_went_on_after_an_error_is_not_given_up(pairs, here, expected):
    bad = sorted((here / "data" / "masks").iterdir())[-1]
    good = bad.read_bytes()
    bad.write_bytes(good[:-20])
    with pytest.raises(SourceError, match=bad.name):
        pack(pairs, order="source", classes="a,b,c")
    bad.write_bytes(good)
    with running(GOES_ON) as process:
        assert process.wait(60) == -signal.SIGKILL
    with pytest.raises(SourceError, match="order: source there, shuffled asked for"):
        pack(pairs, classes="a,b,c")


def test_after_an_error_in_the_data_other_settings_begin_anew(pairs, here, save):
    bad = sorted((here / "data" / "masks").iterdir())[0]
    good = bad.read_bytes()
    with pytest.raises(SourceError, match="value 2"):
        pack(pairs, classes="a,b", order="source", shard_size=720)
    assert not (here / "o.zarr").exists()  # the very first sample: nothing was packed
    bad.write_bytes(b"no image")
    order = {"order": "source", "classes": "a,b,c"}
    pack_all_but = pytest.raises(SourceError, match=bad.name)
    with pack_all_but:
        pack(pairs, **order)
    bad.write_bytes(good)
    last = sorted((here / "data" / "masks").iterdir())[-1]
    kept, last_good = last, last.read_bytes()
    kept.write_bytes(last_good[:-20])
    with pytest.raises(SourceError, match=kept.name) as stopped:
        pack(pairs, **order)
    assert "kept" in stopped.value.__notes__[-1]
    kept.write_bytes(last_good)
    pack(pairs, classes="a,b,c")  # another order: no --restart needed
    assert len(open_split("o.zarr/train").layouts["image"].shape) == 4


def test_a_task_of_what_was_before_writes_nothing(pairs, here, monkeypatch):
    """A lost cluster may begin its tasks when the split has been begun anew."""
    tasks = []

    def noted(*arguments):
        tasks.append(ShardTask(*arguments))
        return tasks[-1]

    def begin_late(what, done, total):
        if what == "packing" and done == 30:
            for task in before:
                with pytest.raises(WorkerError, match="was begun anew"):
                    pack_shard(TaskRun(pairs), task)

    pack(pairs, "expected.zarr", seed=3)
    monkeypatch.setattr(conversion_plan, "ShardTask", noted)
    with pytest.raises(KeyboardInterrupt):
        pack(pairs, progress=interrupt_at(30))
    before = tasks[0], tasks[-1]
    pack(pairs, seed=3, restart=True, progress=begin_late)
    assert contents(here / "o.zarr") == contents(here / "expected.zarr")


def test_a_second_run_at_the_same_time_says_so_and_stops(pairs, here, expected):
    with running(PACK, 1) as process:
        wait_until(lambda: (here / "o.zarr" / "train~journal.partial" / "run.json").exists())
        os.kill(process.pid, signal.SIGSTOP)
        with pytest.raises(SourceError, match="another run is packing this split"):
            pack(pairs)
        os.kill(process.pid, signal.SIGCONT)
        assert process.wait(60) == 0
    assert contents(here / "o.zarr") == expected


def test_processes_end_with_a_run_that_is_killed(pairs, here):
    import psutil

    with running(PACK, 2) as process:
        wait_until(lambda: (here / "o.zarr").exists())
        children = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
        process.kill()
        process.wait()
        wait_until(lambda: gone(children), 10)
    pack(pairs)


def test_two_splits_that_are_packed_at_the_same_time_agree_on_their_classes(here, write_pairs):
    for name, ids in (("a", (0, 1)), ("b", (0, 1, 2))):
        write_pairs(4, name=name, ids=ids)

    def other(what, done, total):
        if what == "packing" and done == 1:
            source = PairedFolders("b/images", "b/masks")
            convert(source, "o.zarr", split="val", workers=1)

    with pytest.raises(SourceError, match="classes must be the same in all splits"):
        pack(PairedFolders("a/images", "a/masks"), progress=other)
    assert open_split("o.zarr/val").classes == ("0", "1", "2")
    assert not (here / "o.zarr" / "train").exists()
