"""What a conversion does with a dataset that is there already."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from zarrfeed.errors import SourceError
from zarrfeed_convert import PairedFolders, convert


def snapshot(folder):
    return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def dataset(tmp_path, write_pairs):
    out = tmp_path / "o.zarr"
    convert(PairedFolders(*write_pairs(4)), out, split="train", classes="a,b,c", workers=1)
    return out


def test_a_second_split_joins_and_takes_the_classes_over(dataset, write_pairs):
    folders = write_pairs(2, name="val", ids=(0, 1), shape=(5, 5, 1))
    report = convert(PairedFolders(*folders), dataset, split="val", workers=1)
    assert [row.name for row in report.classes] == ["a", "b", "c"]
    assert sorted(name for name, _ in zarr.open_group(str(dataset)).groups()) == ["train", "val"]


def test_a_second_split_of_other_classes_is_refused(dataset, write_pairs):
    pairs = PairedFolders(*write_pairs(2, name="val"))
    before = snapshot(dataset)
    with pytest.raises(
        SourceError,
        match=r"same in all splits: needed those of train, 3 \(a, b, c\); found 2 \(x, y\)",
    ):
        convert(pairs, dataset, split="val", classes="x,y", workers=1)
    with pytest.raises(SourceError, match=r"needed that of train, none; found 255; leave --ig"):
        convert(pairs, dataset, split="val", ignore=255, workers=1)
    assert snapshot(dataset) == before


def test_a_second_split_that_fails_leaves_the_first(dataset, write_pairs):
    folders = write_pairs(2, name="val", ids=(0, 9))
    before = snapshot(dataset)
    with pytest.raises(SourceError, match="found the value 9"):
        convert(PairedFolders(*folders), dataset, split="val", workers=1)
    assert snapshot(dataset) == before
    assert not (dataset / "val.partial").exists()


def test_a_binary_second_split_of_a_binary_dataset_is_read_alike(tmp_path, write_pairs):
    for split in ("train", "val"):
        pairs = PairedFolders(*write_pairs(2, name=split, ids=(0, 255)))
        report = convert(pairs, tmp_path / "o", split=split, workers=1)
        assert [row.name for row in report.classes] == ["background", "foreground"]
        assert "255 means 1" in report.decisions[0].reason
        assert set(np.unique(zarr.open_array(str(tmp_path / "o" / split / "mask"))[:])) == {0, 1}


def test_packing_again_changes_nothing_and_says_so(dataset, write_pairs):
    before = snapshot(dataset)
    report = convert(PairedFolders(*write_pairs(4)), dataset, split="train", workers=1)
    assert report.status == "already packed"
    assert report.packed == 4
    assert sum(row.share for row in report.classes) == pytest.approx(1)
    assert snapshot(dataset) == before


def test_packing_again_otherwise_is_refused(dataset, write_pairs):
    pairs = PairedFolders(*write_pairs(4))
    with pytest.raises(
        SourceError,
        match=r"train: exists already, .*\(--codec: auto there, raw asked for; --seed: 0 there",
    ):
        convert(pairs, dataset, split="train", codec="raw", seed=3, workers=1)
    more = PairedFolders(*write_pairs(5))
    with pytest.raises(SourceError, match=r"number of samples: 4 there, 5 asked for.*--overwrite"):
        convert(more, dataset, split="train", workers=1)


def test_a_half_written_split_is_replaced(dataset, write_pairs):
    (dataset / "val.partial" / "image").mkdir(parents=True)
    (dataset / "val.partial" / "image" / "junk").touch()
    convert(PairedFolders(*write_pairs(2, name="val")), dataset, split="val", workers=1)
    assert not (dataset / "val.partial").exists()
    assert not list((dataset / "val").rglob("junk"))


def test_what_a_killed_first_run_left_is_no_obstacle(tmp_path, write_pairs):
    (tmp_path / "o" / "train.partial").mkdir(parents=True)
    convert(PairedFolders(*write_pairs(2)), tmp_path / "o", split="train", workers=1)
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == ["train", "zarr.json"]


def test_a_dry_run_decides_and_writes_nothing(tmp_path, write_pairs):
    report = convert(
        PairedFolders(*write_pairs(3)), tmp_path / "o", split="s", workers=1, dry_run=True
    )
    assert report.status == "dry run"
    assert all(decision.reason for decision in report.decisions)
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("together", [1, 3])
def test_samples_that_share_a_chunk_are_not_compressed(tmp_path, write_pairs, together):
    """A shuffled batch would decode all of a chunk to take one."""
    report = convert(
        PairedFolders(*write_pairs(6, shape=(64, 64, 3))),
        tmp_path / "o",
        split="s",
        workers=1,
        chunk_samples=together,
    )
    mask = {decision.what: decision for decision in report.decisions}["mask codec"]
    assert (mask.value == "raw") == (together == 3)
    assert ("3 samples of a chunk" in mask.reason) == (together == 3)
