"""What is recorded of samples is verified itself, and damage to it is not laid to the shards."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
import zarr

from packed import change_attributes, flipped, kinds
from zarrfeed.errors import SourceError, StoreError
from zarrfeed_convert import repack, verify

# -- what is recorded -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["digest", "key", "class_pixels", "channel_sums", "shard_files"])
def test_a_missing_array_is_a_problem(packed, name):
    shutil.rmtree(packed.split / name)
    found = packed.verify()
    assert [(problem.kind, problem.files) for problem in found.problems] == [
        ("array", (str(packed.split / name),))
    ]
    assert found.splits[0].decoded == 11


@pytest.mark.parametrize("name", ["digest", "key", "class_pixels", "channel_sums", "shard_files"])
def test_a_missing_file_of_an_array_is_a_problem(packed, name):
    shutil.rmtree(packed.split / name / "c")
    found = packed.verify()
    assert str(packed.split / name) in found.problems[0].what + "".join(found.problems[-1].files)
    assert [problem.kind for problem in found.problems].count("array") == 1
    assert not found.splits[0].bad


@pytest.mark.parametrize("field", ["image", "mask"])
def test_without_a_field_the_other_is_still_compared(packed, field):
    shutil.rmtree(packed.split / field)
    other = {"image": "mask", "mask": "image"}[field]
    with flipped(packed.shard(other, 0), 0, 1):
        found = packed.verify()
    assert kinds(found) == {"array", "file-damaged"}
    assert found.splits[0].decoded == 0
    assert "no sample was decoded" in found.splits[0].notes[0]


@pytest.mark.parametrize("name", ["image", "mask", "digest", "key"])
def test_arrays_of_other_lengths_are_a_problem_and_the_rest_is_compared(packed, name):
    path = packed.split / name / "zarr.json"
    metadata = json.loads(path.read_text())
    metadata["shape"][0] = 9
    path.write_text(json.dumps(metadata))
    mask = packed.array("mask")
    mask[3] = 0
    found = packed.verify()
    assert found.problems[0].kind == "metadata"
    assert f"'{name}': 9" in found.problems[0].what
    assert found.splits[0].bad == (packed.keys[3],)
    assert found.splits[0].decoded == 9


def test_keys_given_twice_are_found(packed):
    keys = packed.array("key")
    keys[4] = keys[7]
    [problem] = packed.verify().problems
    assert problem.kind == "keys"
    assert f"found {packed.keys[7]!r} 2 times" in problem.what


def test_no_name_and_names_with_gaps_are_found(packed):
    keys = packed.array("key")
    keys[2] = 0
    keys[3] = [115, 0, 115]
    assert [problem.kind for problem in packed.verify().problems] == ["keys", "keys"]


def test_wrong_statistics_are_found_though_the_pixels_are_right(packed):
    counts, sums = packed.array("class_pixels"), packed.array("channel_sums")
    counts[1, 2] += 1
    sums[8, 0, 1] += 1
    found = packed.verify()
    assert [(problem.kind, problem.key) for problem in found.problems] == [
        ("statistics", None),  # the deviation that follows from the sums
        ("statistics", packed.keys[1]),
        ("statistics", packed.keys[8]),
    ]
    assert found.problems[1].files == (str(packed.split / "class_pixels"),)
    assert not found.splits[0].bad


def test_a_wrong_dhash_is_found_and_not_laid_to_the_shards(packed):
    hashes = packed.array("dhash")
    hashes[6] ^= 1
    [problem] = packed.verify().problems
    assert (problem.kind, problem.key) == ("statistics", packed.keys[6])
    assert problem.files == (str(packed.split / "dhash"),)
    assert f"found {int(hashes[6]):016x}" in problem.what


def test_a_lost_file_of_dhashes_is_found(packed):
    shutil.rmtree(packed.split / "dhash" / "c")
    assert [problem.kind for problem in packed.verify().problems] == ["array"]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("dhash", np.zeros((11, 2), np.uint64)),
        ("dhash", np.zeros(11)),
        ("digest", np.zeros((11, 1), np.uint64)),
        ("class_pixels", np.zeros((11, 3))),
        ("channel_sums", np.zeros((11, 3), np.uint64)),
        ("key", np.zeros(11, np.uint8)),
        ("shard_files", np.zeros((3, 4), np.uint64)),
    ],
)
def test_an_array_of_another_kind_is_a_problem(packed, name, values):
    shutil.rmtree(packed.split / name)
    zarr.create_array(str(packed.split / name), data=values)
    found = packed.verify()
    said = [problem.what for problem in found.problems if problem.kind == "array"]
    assert any(f"found {values.dtype} of the shape {values.shape}" in what for what in said)
    assert found.splits[0].decoded == 11
    assert not found.splits[0].bad
    with pytest.raises(SourceError, match="cannot be repacked"):
        repack(packed.split, packed.folder / "new.zarr", split="s", workers=1)


def test_a_wrong_mean_is_found(packed):
    def change(attributes):
        attributes["channels"]["mean"][0] += 0.001

    change_attributes(packed.split, change)
    [problem] = packed.verify().problems
    assert problem.kind == "statistics"
    assert "needed a mean of" in problem.what


def test_a_damaged_digest_is_not_laid_to_the_shards(packed):
    digest = packed.array("digest")
    digest[6] = 5
    [problem] = packed.verify().problems
    assert (problem.kind, problem.key) == ("array", packed.keys[6])
    assert problem.files == (str(packed.split / "digest"),)


def test_shards_of_different_samples_are_not_decoded(packed):
    path = packed.split / "mask" / "zarr.json"
    metadata = json.loads(path.read_text())
    metadata["chunk_grid"]["configuration"]["chunk_shape"][0] = 6
    path.write_text(json.dumps(metadata))
    found = packed.verify()
    assert "needed shards of equally many samples in all fields" in found.problems[0].what
    assert found.splits[0].decoded == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: a.update(fields=["image"]), "fields"),
        (lambda a: a["packed"].update(digest="crc32"), "needed digests by"),
        (lambda a: a.pop("packed"), "a split that zarrfeed packed"),
        (lambda a: a.update(samples="many"), "restore it"),
    ],
)
def test_descriptions_that_say_something_else_are_problems(packed, change, said):
    change_attributes(packed.split, change)
    found = packed.verify()
    assert "metadata" in kinds(found)
    assert said in found.problems[0].what


# -- datasets -----------------------------------------------------------------------------------


def test_all_splits_of_a_dataset_are_verified(packed):
    shutil.copytree(packed.split, packed.store / "val")
    (packed.store / "test.partial").mkdir()
    packed.shard("image", 1).unlink()
    found = verify(packed.store)
    assert [(split.path.name, bool(split.problems)) for split in found.splits] == [
        ("train", True),
        ("val", False),
    ]
    assert "test.partial: an unfinished split" in found.notes[0]
    with pytest.raises(SourceError, match="found train, val; give the path of one"):
        verify(packed.store, source={"images": "x"})


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_a_split_that_lost_its_metadata_is_not_overlooked(packed, text):
    shutil.copytree(packed.split, packed.store / "val")
    metadata = packed.split / "zarr.json"
    metadata.unlink()
    if text is not None:
        metadata.write_text(text)
    found = verify(packed.store, source=True)
    assert [split.path.name for split in found.splits] == ["train", "val"]
    assert kinds(found) == {"metadata"}
    assert found.problems[0].files == (str(metadata),)


@pytest.mark.parametrize("text", [None, "{"])
def test_a_dataset_that_lost_its_metadata_has_a_problem(packed, text):
    (packed.store / "zarr.json").unlink()
    if text is not None:
        (packed.store / "zarr.json").write_text(text)
    found = verify(packed.store)
    assert kinds(found) == {"metadata"}
    assert str(packed.store / "zarr.json") in found.problems[0].what


def test_what_is_no_dataset_is_refused(packed, split):
    for path, said in (
        (packed.folder / "nothing", "no such store"),
        (packed.images, "found no zarr.json"),
        (packed.store / "train.partial", "unfinished"),
    ):
        with pytest.raises(StoreError, match=said):
            verify(path)
    [problem] = verify(split).problems
    assert "needed a split that zarrfeed packed" in problem.what
    with pytest.raises(SourceError, match="needed at least 1, found 0"):
        verify(packed.store, workers=0)


def test_the_outcome_is_plain_data(packed):
    packed.shard("image", 1).unlink()
    found = json.loads(json.dumps(packed.verify(source=True).to_json()))
    [split] = found["splits"]
    assert not found["ok"]
    assert split["counts"] == {"file-missing": 1, "sample-damaged": 4}
    assert split["bad"] == packed.keys[4:8]
    assert split["problems"][1]["key"] == packed.keys[4]


@pytest.mark.parametrize("place", ["zarr.json", "train/zarr.json", "train/key/zarr.json"])
@pytest.mark.parametrize(
    "content",
    [None, b'{"a":' * 100_000, b"\xff", b"[]"],
    ids=["missing", "nested", "no UTF-8", "a list"],
)
def test_metadata_that_is_none_is_a_problem_and_no_hang(packed, place, content):
    path = packed.split.parent / place
    path.unlink()
    if content is None:
        os.mkfifo(path)
    else:
        path.write_bytes(content)
    try:
        said = [problem.what for problem in packed.verify().problems]
    except StoreError as error:
        said = [str(error)]
    assert said
    assert all(str(packed.split.parent) in what for what in said)
