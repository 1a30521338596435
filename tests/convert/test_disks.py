"""Disks that are full, folders that cannot be written to, names that are unusual."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorstore
import zarr

from folders import contents
from zarrfeed import open_split
from zarrfeed.errors import SourceError
from zarrfeed_convert import PairedFolders, Source, convert

LAYOUT = {"chunk_samples": 2, "shard_size": 14400}

PACK = """
import resource, sys
from zarrfeed_convert import PairedFolders, convert
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
convert(
    PairedFolders("data/images", "data/masks"), "o.zarr", split="train",
    workers=int(sys.argv[1]), chunk_samples=2, shard_size=14400, codec="raw",
)
"""


@pytest.fixture
def pairs(tmp_path, monkeypatch, write_pairs):
    monkeypatch.chdir(tmp_path)
    write_pairs(100)
    return PairedFolders("data/images", "data/masks")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_an_error_that_names_itself_and_the_next_run_goes_on(
    tmp_path, pairs, workers
):
    # The last shard is the smallest: with two processes it fits while the others do not.
    command = [sys.executable, "-c", PACK, str(workers), "13000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "File too large" in done.stderr.splitlines()[-1] or "kept" in done.stderr
    with pytest.raises(Exception, match=r"unfinished|no such"):
        open_split("o.zarr/train.partial")
    options = {"split": "train", "workers": 1, "codec": "raw", **LAYOUT}
    convert(pairs, "o.zarr", **options)
    convert(pairs, "expected.zarr", **options)
    assert contents(tmp_path / "o.zarr") == contents(tmp_path / "expected.zarr")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_to_is_an_error(tmp_path, pairs):
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(PermissionError, match="closed"):
        convert(pairs, "closed/o.zarr", split="train", workers=1)


def test_a_place_that_is_no_folder_is_an_error_and_left_as_it_is(tmp_path, pairs):
    (tmp_path / "file").write_text("thesis")
    with pytest.raises(OSError, match="file"):
        convert(pairs, "file/o.zarr", split="train", workers=1)
    assert (tmp_path / "file").read_text() == "thesis"


def test_names_that_are_unusual_are_kept(tmp_path, pairs):
    names = ["ünïcödé 雪", "a" * 240, "with space and 'quotes'", "-dash", "new\nline"]
    for kind in ("images", "masks"):
        original = tmp_path / "data" / kind / "s000.png"
        for name in names:
            shutil.copy(original, tmp_path / "data" / kind / f"{name}.png")
    convert(PairedFolders("data/images", "data/masks"), "o.zarr", split="train", workers=1)
    stored = zarr.open_array("o.zarr/train/key", mode="r")[:]
    keys = {bytes(key).rstrip(b"\0").decode() for key in stored}
    assert set(names) < keys


@pytest.mark.parametrize("count", [1, 2, 3, 7, 11])
def test_any_number_of_samples_opens_in_zarr_and_tensorstore(tmp_path, write_pairs, count):
    folders = write_pairs(count)
    source = PairedFolders(*folders)
    convert(source, tmp_path / "o", split="s", workers=1, chunk_samples=3, shard_size=2200)
    for name in ("image", "mask"):
        ours = zarr.open_array(tmp_path / "o/s" / name, mode="r")[:]
        spec = {"driver": "zarr3", "kvstore": f"file://{tmp_path}/o/s/{name}/"}
        theirs = tensorstore.open(spec).result().read().result()
        np.testing.assert_array_equal(ours, theirs)
        assert len(ours) == count


def test_no_samples_are_an_error(tmp_path):
    class Nothing(Source):
        keys = ()

        def describe(self):
            return {"kind": "nothing"}

        def names(self, sample):
            raise IndexError

        probe = read = read_mask = names

    for nothing in (Nothing(), [], iter(())):
        with pytest.raises(SourceError, match=r"samples.*, found none"):
            convert(nothing, tmp_path / "o", split="s", workers=1)
        assert not (tmp_path / "o").exists()


# Every call fails for want of space, and for one of the other reasons.
@pytest.mark.parametrize(
    ("number", "first", "step"),
    [(errno.ENOSPC, 0, 1), (errno.EDQUOT, 0, 3), (errno.EROFS, 1, 3), (errno.EIO, 2, 3)],
)
def test_whatever_cannot_be_written_is_named(
    tmp_path, write_pairs, monkeypatch, number, first, step
):
    """At every call that reaches the disk in turn, until a run gets through."""
    monkeypatch.chdir(tmp_path)
    write_pairs(24)  # in two shards
    pairs = PairedFolders("data/images", "data/masks")
    for failing in range(first, 200, step):
        left = failing

        def fail(call):
            def perform(*arguments, **options):
                nonlocal left
                left -= 1
                if left == -1:
                    raise OSError(number, os.strerror(number))
                return call(*arguments, **options)

            return perform

        with monkeypatch.context() as patched:
            for name in ("fsync", "fdatasync"):
                patched.setattr(os, name, fail(getattr(os, name)))
            patched.setattr(fcntl, "flock", fail(fcntl.flock))
            patched.setattr(np, "savez", fail(np.savez))
            patched.setattr(json, "dump", fail(json.dump))
            patched.setattr(zarr, "create_array", fail(zarr.create_array))
            try:
                convert(pairs, "o.zarr", split="train", workers=1, **LAYOUT)
                break
            except OSError as error:
                assert error.errno == number  # noqa: PT017 (it need not be raised)
                assert "o.zarr" in str(error.filename)  # noqa: PT017
    assert failing > 20
    convert(pairs, "expected.zarr", split="train", workers=1, **LAYOUT)
    assert contents(tmp_path / "o.zarr") == contents(tmp_path / "expected.zarr")
