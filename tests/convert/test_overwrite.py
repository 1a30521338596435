"""A split is replaced when it is asked for, as a whole, and only by one that is complete."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import zarr

from zarrfeed import open_split
from zarrfeed.errors import SourceError
from zarrfeed_convert import PairedFolders, convert
from zarrfeed_convert.sources.arrays.npz import NpzArrays
from zarrfeed_convert.splits.existing_split import differences, differences_text


def snapshot(folder):
    return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


def contents(taken):
    return {path: data for path, (data, _) in taken.items()}


def pack(out, folders, split="train", **options):
    return convert(PairedFolders(*folders), out, split=split, workers=1, **options)


@pytest.fixture
def folders(write_pairs):
    return write_pairs(4)


@pytest.fixture
def dataset(tmp_path, folders):
    pack(tmp_path / "o.zarr", folders)
    return tmp_path / "o.zarr"


def test_a_forgotten_class_list_is_repaired_by_overwriting_the_only_split(dataset, folders):
    assert open_split(dataset / "train").classes == ("0", "1", "2")
    report = pack(dataset, folders, classes="a,b", ignore=2, overwrite=True)
    assert report.status == "packed"
    split = open_split(dataset / "train")
    assert (split.classes, split.ignore) == (("a", "b"), 2)
    assert sorted(path.name for path in dataset.iterdir()) == ["train", "zarr.json"]


def test_a_dataset_whose_splits_were_removed_binds_nothing(dataset, folders):
    (dataset / "train").rename(dataset.parent / "elsewhere")
    pack(dataset, folders, split="val", classes="a,b,c")
    assert open_split(dataset / "val").classes == ("a", "b", "c")


def test_a_root_that_is_rewritten_is_what_zarr_writes(tmp_path, dataset, folders):
    pack(dataset, folders, classes="a,b,c", overwrite=True)
    attributes = json.loads((dataset / "zarr.json").read_text())["attributes"]
    zarr.create_group(str(tmp_path / "expected"), attributes=attributes)
    assert (dataset / "zarr.json").read_bytes() == (tmp_path / "expected/zarr.json").read_bytes()


def test_other_splits_bind_a_replacement_and_are_named(dataset, folders):
    pack(dataset, folders, split="val")
    before = snapshot(dataset)
    with pytest.raises(SourceError, match="must be the same in all splits: needed those of val, 3"):
        pack(dataset, folders, classes="a,b,c", overwrite=True)
    assert snapshot(dataset) == before


def test_what_differs_is_said_with_both_values_and_the_way_out(dataset, folders):
    with pytest.raises(
        SourceError, match=r"size: none there, 6x5 asked for; --fit: none there, crop"
    ):
        pack(dataset, folders, size=(6, 5), fit="crop")
    with pytest.raises(
        SourceError, match=r"classes: 3 \(0, 1, 2\) there, 2 \(a, b\) asked for; --i"
    ):
        pack(dataset, folders, classes="a,b", ignore=2)
    with pytest.raises(SourceError, match=r"ignore: none there, 9 asked for\); use --overwrite"):
        pack(dataset, folders, ignore=9)
    other = (f"{folders[0]}/*.png", folders[1])
    with pytest.raises(SourceError, match=r"images: \S+images there, \S+\*\.png asked for\)"):
        pack(dataset, other)


def test_another_format_is_all_that_is_said_of_another_source(dataset, folders, tmp_path):
    np.savez(
        tmp_path / "a.npz", x=np.zeros((3, 8, 8, 3), np.uint8), y=np.zeros((3, 8, 8), np.uint8)
    )
    arrays = NpzArrays(f"{tmp_path}/a.npz:x", f"{tmp_path}/a.npz:y")
    said = r"packed otherwise \(--format: paired there, npz asked for\); use --overwrite"
    with pytest.raises(SourceError, match=said):
        convert(arrays, dataset, split="train", seed=3, workers=1)


def test_differences_are_few_short_and_spelt_as_options():
    facts = {"classes_from": "a" * 900, "left_aside": {"images": 0}}
    old = {"source": {"kind": "nifti", "as_": "slices", "axis": 2, "facts": facts}, "seed": 0}
    new = {"source": {"kind": "nifti", "as_": "volumes", "axis": 1, "facts": {}}, "seed": 1}
    old |= {"pad_value": None, "chunk_samples": 1, "tile": [4, 4]}
    new |= {"pad_value": -1.0, "chunk_samples": 2, "tile": None, "images": "i" * 900}
    differ = differences(old, new)
    assert differ[:3] == [
        "--as: slices there, volumes asked for",
        "-o axis: 2 there, 1 asked for",
        "other contents of the source: classes from, left aside",
    ]
    assert max(map(len, differ)) < 250
    assert differences_text(differ).endswith("; --pad-value: none there, -1.0 asked for and 3 more")


def test_a_replacement_that_fails_leaves_the_old_split(dataset, folders):
    before = snapshot(dataset)
    with pytest.raises(SourceError, match="found the value 2"):
        pack(dataset, folders, classes="a,b", overwrite=True)
    assert snapshot(dataset) == before


@pytest.mark.parametrize("failing", ["train", "train.partial", "root.json"])
def test_a_failure_in_the_last_moment_leaves_the_old_split(dataset, folders, monkeypatch, failing):
    before = snapshot(dataset)
    originals = {name: getattr(Path, name) for name in ("rename", "replace")}
    done = []

    def fail_once(name):
        def move(path, target):
            if path.name == failing and not done:
                done.append(path)
                raise OSError("the disk is gone")
            return originals[name](path, target)

        return move

    for name in originals:
        monkeypatch.setattr(Path, name, fail_once(name))
    with pytest.raises(OSError, match="disk"):
        pack(dataset, folders, classes="a,b,c", overwrite=True)
    assert done
    assert contents(snapshot(dataset / "train")) == {
        path: data for path, data in contents(before).items() if dataset / "train" in path.parents
    }
    assert (dataset / "zarr.json").read_bytes() == before[dataset / "zarr.json"][0]
    pack(dataset, folders, classes="a,b,c", overwrite=True)
    assert sorted(path.name for path in dataset.iterdir()) == ["train", "zarr.json"]


def test_what_is_no_split_is_not_replaced(dataset, folders):
    (dataset / "val").mkdir()
    (dataset / "val/thesis.txt").touch()
    with pytest.raises(SourceError, match=r"val: needed a split .*left unchanged"):
        pack(dataset, folders, split="val", overwrite=True)
    assert (dataset / "val/thesis.txt").exists()


def test_an_array_that_somebody_added_is_not_lost_with_the_split(dataset, folders):
    added = zarr.open_group(str(dataset / "train")).create_array("more", data=np.zeros(4, "c8"))
    assert pack(dataset, folders).status == "already packed"
    with pytest.raises(SourceError, match=r"needed only arrays .*found more, too, which would"):
        pack(dataset, folders, classes="a,b,c", overwrite=True)
    assert np.array_equal(added[:], np.zeros(4, "c8"))
    (dataset / "train/more").rename(dataset.parent / "more")
    pack(dataset, folders, classes="a,b,c", overwrite=True)


def test_what_a_killed_replacement_left_is_no_obstacle(dataset, folders):
    (dataset / "train").rename(dataset / "train~old.partial")
    pack(dataset, folders)
    assert sorted(path.name for path in dataset.iterdir()) == ["train", "zarr.json"]


def test_a_split_of_before_there_was_an_overlap_is_the_same(dataset, folders):
    metadata = dataset / "train/zarr.json"
    found = json.loads(metadata.read_text())
    del found["attributes"]["zarrfeed"]["packed"]["settings"]["overlap"]
    metadata.write_text(json.dumps(found))
    assert pack(dataset, folders).status == "already packed"
