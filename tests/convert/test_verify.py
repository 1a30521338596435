"""What is no longer as it was packed is found, and laid to the right file and samples."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packed import CODECS, flipped, kinds, make_older, pack
from zarrfeed_convert import Header, PairedFolders, Source, convert, verify
from zarrfeed_convert.verification import file_check

DESCRIPTIVE = ("digest", "class_pixels", "channel_sums", "dhash", "shard_files", "key")


# -- what is as it was packed -------------------------------------------------------------------


@pytest.mark.parametrize("codec", CODECS)
def test_what_was_packed_passes(healthy, codec):
    found = healthy[codec].verify(source=True)
    assert found.ok
    assert found.problems == ()
    [split] = found.splits
    assert (split.samples, split.decoded, split.files, split.originals) == (11, 11, 6, 11)
    assert split.nbytes == sum(path.stat().st_size for path in healthy[codec].shards)
    assert split.notes == ()


@pytest.mark.parametrize(
    "options",
    [
        {"tile": (4, 4), "chunk_samples": 1, "shard_size": 100},
        {"tile": (9, 9), "chunk_samples": 1, "ignore": 255},
        {"former_tiles": (4, 4), "overlap": 1, "shard_size": 100},
        {"former_tiles": (9, 9), "ignore": 255},
        {"size": (5, 4), "fit": "resize"},
        {"size": (5, 4), "fit": "crop"},
        {"size": (9, 8), "fit": "pad", "ignore": 255},
        {"order": "source", "chunk_samples": 1, "shard_size": 1},
    ],
    ids=str,
)
def test_what_was_packed_passes_whatever_was_done_to_it(tmp_path, options):
    found = pack(tmp_path, **options).verify(source=True)
    assert found.problems == ()
    assert found.splits[0].originals == found.splits[0].samples >= 11


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_images_of_other_numbers_pass_for_any_workers(tmp_path, write_pairs, dtype):
    pairs = PairedFolders(*write_pairs(5, dtype=dtype, extension=".tif", ids=(0, 255)))
    convert(pairs, tmp_path / "o.zarr", split="train", shard_size=1, workers=1)
    told = []
    found = verify(
        tmp_path / "o.zarr", source=True, workers=2, progress=lambda *said: told.append(said)
    )
    assert found.problems == ()
    assert found.splits[0].originals == 5
    assert ("checking train", 5, 5) in told
    assert ("comparing train with its originals", 5, 5) in told


def test_arrays_of_zeros_have_no_files_and_pass(tmp_path):
    class Black(Source):
        keys = ("k0", "k1", "k2")

        def describe(self):
            return {"kind": "black"}

        def names(self, sample):
            return f"image {sample}", f"mask {sample}"

        def probe(self, sample):
            return Header.of_pair((4, 4, 3), "uint8", (4, 4))

        def read(self, sample):
            return np.zeros((4, 4, 3), np.uint8), self.read_mask(sample)

        def read_mask(self, sample):
            return np.zeros((4, 4), np.uint8)

    convert(Black(), tmp_path / "o.zarr", split="s", classes=1, workers=1)
    found = verify(tmp_path / "o.zarr", source=Black(), workers=1)
    assert found.problems == ()
    assert found.splits[0].originals == 3


# -- any byte ---------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", CODECS)
@settings(max_examples=12)
@given(data=st.data())
def test_any_flipped_bit_of_a_shard_is_found_and_laid_to_it(healthy, codec, data):
    packed = healthy[codec]
    path = data.draw(st.sampled_from(sorted(packed.shards)))
    place = data.draw(st.integers(0, path.stat().st_size - 1))
    with flipped(path, place, data.draw(st.integers(1, 255))):
        found = packed.verify()
        same = decoded(packed, packed.shards[path])
    [damage] = [problem for problem in found.problems if problem.kind == "file-damaged"]
    assert damage.files == (str(path),)
    assert str(path) in damage.what
    samples = [problem for problem in found.problems if problem is not damage]
    assert {problem.kind for problem in samples} <= {"sample-damaged", "sample-changed"}
    assert {problem.files for problem in samples} <= {(str(path),)}
    bad = {problem.key for problem in samples}
    assert bad <= set(packed.shards[path])
    assert bad == {key for key, as_packed in same.items() if not as_packed}
    assert ("all its samples are unchanged" in damage.what) == (not bad)


def decoded(packed, keys):
    """Tell of some samples whether zarr-python reads what was packed of them."""
    same = {}
    arrays = [packed.array("image"), packed.array("mask")]
    for key in keys:
        row = packed.keys.index(key)
        originals = (packed.images / f"{key}.png", packed.masks / f"{key}.png")
        try:
            same[key] = all(
                np.array_equal(array[row], imagecodecs.png_decode(path.read_bytes()))
                for array, path in zip(arrays, originals, strict=True)
            )
        except Exception:
            same[key] = False
    return same


@settings(max_examples=30)
@given(data=st.data())
def test_any_flipped_bit_that_changes_what_is_recorded_is_found(healthy, data):
    packed = healthy["raw"]
    name = data.draw(st.sampled_from(DESCRIPTIVE))
    [path] = [path for path in (packed.split / name / "c").rglob("*") if path.is_file()]
    before = packed.array(name)[:]
    place = data.draw(st.integers(0, path.stat().st_size - 1))
    with flipped(path, place, data.draw(st.integers(1, 255))):
        try:
            same = np.array_equal(packed.array(name)[:], before)
        except Exception:
            same = False
        found = packed.verify(source=True)
    assert found.ok == same
    assert not {problem.kind for problem in found.problems} & {"sample-damaged", "sample-changed"}
    assert same or any(
        str(packed.split / name) in " ".join((problem.what, *problem.files))
        or (name, problem.kind) in {("key", "original-missing"), ("shard_files", "file-damaged")}
        for problem in found.problems
    )


@settings(max_examples=30)
@given(data=st.data())
def test_damaged_descriptions_are_problems_not_crashes(healthy, data):
    packed = healthy["zstd"]
    path = data.draw(st.sampled_from(sorted(packed.split.rglob("zarr.json"))))
    place = data.draw(st.integers(0, path.stat().st_size - 1))
    with flipped(path, place, data.draw(st.integers(1, 255))):
        found = packed.verify(source=True)
    for problem in found.problems:
        assert problem.what


# -- files --------------------------------------------------------------------------------------


def test_a_byte_that_no_pixel_depends_on_is_found(healthy):
    packed = healthy["raw"]
    path = packed.shard("image", 2)  # the last chunk is half padding
    with flipped(path, 4 * 7 * 6 * 3 - 1, 1):
        [problem] = packed.verify().problems
        assert packed.verify(quick=True).problems[0].files == (str(path),)
    assert problem.kind == "file-damaged"
    assert problem.key is None
    assert "all its samples are unchanged" in problem.what


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_truncated_shard_is_named_with_its_samples(packed, keep):
    path = packed.shard("mask", 1)
    whole = path.read_bytes()
    path.write_bytes(whole[:keep])
    found = packed.verify()
    [damage] = [problem for problem in found.problems if problem.kind == "file-damaged"]
    assert f"needed {len(whole)} bytes, found {len(whole[:keep])}: it is truncated" in damage.what
    assert damage.files == (str(path),)
    assert found.splits[0].bad == tuple(packed.shards[path])


def test_a_shard_that_has_grown_is_found(packed):
    path = packed.shard("image", 0)
    path.write_bytes(path.read_bytes() + b"\0")
    found = packed.verify(quick=True)
    assert [problem.kind for problem in found.problems] == ["file-damaged"]
    assert "has grown" in found.problems[0].what


def test_a_missing_shard_is_named_with_its_samples(packed):
    path = packed.shard("image", 2)
    path.unlink()
    found = packed.verify()
    assert [problem.kind for problem in found.problems] == ["file-missing"] + 3 * ["sample-damaged"]
    assert {problem.files for problem in found.problems} == {(str(path),)}
    assert found.splits[0].bad == tuple(packed.shards[path])
    assert [problem.kind for problem in packed.verify(quick=True).problems] == ["file-missing"]


def test_a_folder_in_the_place_of_a_shard_is_no_shard(packed):
    path = packed.shard("image", 2)
    path.unlink()
    path.mkdir()
    assert kinds(packed.verify()) == {"file-damaged", "sample-damaged"}


def test_swapped_shards_are_found_and_told_apart(packed):
    one, other = packed.shard("mask", 0), packed.shard("mask", 1)
    before = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(before)
    found = packed.verify()
    for problem, holds in zip(
        [problem for problem in found.problems if problem.kind == "file-damaged"],
        [other, one],
        strict=True,
    ):
        assert f"it has the content of {holds}" in problem.what
    assert set(found.splits[0].bad) <= {*packed.shards[one], *packed.shards[other]}
    assert found.splits[0].bad


def test_files_too_many_are_found(packed):
    stray = packed.shard("image", 0).with_name("0.abc.tmp")
    stray.write_bytes(b"")
    beyond = packed.shard("mask", 3)
    beyond.parent.mkdir(parents=True)
    beyond.write_bytes(b"x")
    found = packed.verify()
    assert {(problem.kind, problem.files) for problem in found.problems} == {
        ("file-extra", (str(stray),)),
        ("file-extra", (str(beyond),)),
    }


def test_what_an_operating_system_left_is_no_problem(packed):
    for name in (".DS_Store", "._0", "Thumbs.db", "@eaDir/0"):
        left = packed.shard("image", 0).parent / name
        left.parent.mkdir(exist_ok=True)
        left.write_bytes(b"x")
    found = packed.verify()
    assert found.ok
    assert any("ignored 4 files" in note for note in found.splits[0].notes)


def test_a_mask_edited_by_zarr_python_is_found(packed):
    mask = packed.array("mask")
    values = mask[5]
    values[0, 0] = 2 if values[0, 0] != 2 else 1
    mask[5] = values
    found = packed.verify()
    assert found.splits[0].bad == (packed.keys[5],)
    path = packed.shard("mask", 1)
    assert [(problem.kind, problem.files) for problem in found.problems] == [
        ("file-damaged", (str(path),)),
        ("sample-changed", (str(path),)),
    ]


def test_a_shard_that_cannot_be_read_is_a_problem(packed, monkeypatch):
    path = packed.shard("image", 1)

    def digest_file(wanted):
        if wanted == path:
            raise OSError(5, "Input/output error")
        return original(wanted)

    original = file_check.digest_file
    monkeypatch.setattr(file_check, "digest_file", digest_file)
    found = packed.verify()
    assert found.splits[0].bad == tuple(packed.shards[path])
    assert all("Input/output error" in problem.what for problem in found.problems)


# -- older splits ---------------------------------------------------------------------------------


def test_older_splits_are_verified_by_their_pixels_and_it_says_so(packed):
    make_older(packed)
    found = packed.verify(quick=True)
    assert found.ok
    [split] = found.splits
    assert (split.decoded, split.files) == (11, 0)
    assert "older zarrfeed" in split.notes[0]


@pytest.mark.parametrize(("field", "row"), [("image", 0), ("mask", 6)])
def test_in_older_splits_the_counts_tell_which_file_it_is(packed, field, row):
    make_older(packed)
    array = packed.array(field)
    values = array[row]
    values[1] = (values[1] + 1) % 3
    array[row] = values
    blamed = {
        "image": (str(packed.shard("image", 0)), str(packed.shard("mask", 0))),  # nobody knows
        "mask": (str(packed.shard("mask", 1)),),
    }
    [problem] = packed.verify().problems
    assert (problem.kind, problem.key) == ("sample-changed", packed.keys[row])
    assert problem.files == blamed[field]
    packed.shard(field, 2).unlink()
    assert kinds(packed.verify()) == {"sample-changed", "file-missing", "sample-damaged"}
