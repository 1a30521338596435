"""Whatever is no longer as it was packed is found, named, and laid to the right file."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from zarrfeed.errors import SourceError, StoreError
from zarrfeed_convert import Header, PairedFolders, convert, file_check, verify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CODECS = ("raw", "lz4", "zstd")
DESCRIPTIVE = ("digest", "class_pixels", "channel_sums", "shard_files", "key")


@dataclass
class Packed:
    """A small dataset of 11 samples, two a chunk and four a shard, and its originals."""

    folder: Path
    images: Path
    masks: Path

    @property
    def store(self) -> Path:
        return self.folder / "o.zarr"

    @property
    def split(self) -> Path:
        return self.store / "train"

    def array(self, name):
        return zarr.open_array(str(self.split / name))

    @property
    def keys(self):
        return [bytes(row).rstrip(b"\0").decode() for row in self.array("key")[:]]

    def shard(self, field, number):
        return self.split / field / "c" / str(number) / ("0/0/0" if field == "image" else "0/0")

    @property
    def shards(self):
        return {
            self.shard(field, number): self.keys[4 * number : 4 * number + 4]
            for field in ("image", "mask")
            for number in range(3)
        }

    def verify(self, **options):
        return verify(self.split, workers=1, **options)


def write_originals(folder, count=11, shape=(7, 6, 3), seed=0):
    rng = np.random.default_rng(seed)
    for sample in range(count):
        mask = np.sort(rng.integers(0, 3, shape[:2], np.uint8), axis=0)
        mask.flat[:3] = [0, 1, 2]
        image = np.cumsum(rng.integers(0, 5, shape, np.uint8), axis=0, dtype=np.uint8)
        for name, values in (("images", image), ("masks", mask)):
            (folder / name).mkdir(exist_ok=True, parents=True)
            path = folder / name / f"s{sample:02}.png"
            path.write_bytes(imagecodecs.png_encode(values))


def pack(folder, codec="raw", **options):
    write_originals(folder)
    packed = Packed(folder, folder / "images", folder / "masks")
    pairs = PairedFolders(packed.images, packed.masks)
    options = {"chunk_samples": 2, "shard_size": 4 * 7 * 6 * 3, "classes": 3, **options}
    convert(pairs, packed.store, split="train", workers=1, codec=codec, **options)
    return packed


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    """A dataset for every codec, which nobody may change but for a moment."""
    return {codec: pack(tmp_path_factory.mktemp(codec), codec) for codec in CODECS}


@pytest.fixture
def packed(healthy, tmp_path):
    """A copy of one, to be hurt."""
    shutil.copytree(healthy["lz4"].folder, tmp_path / "copy")
    copy = Packed(tmp_path / "copy", tmp_path / "copy/images", tmp_path / "copy/masks")
    metadata = copy.split / "zarr.json"
    text = metadata.read_text().replace(str(healthy["lz4"].folder), str(copy.folder))
    metadata.write_text(text)
    return copy


@contextmanager
def flipped(path: Path, place: int, bits: int) -> Iterator[None]:
    before = path.read_bytes()
    hurt = bytearray(before)
    hurt[place] ^= bits
    path.write_bytes(hurt)
    try:
        yield
    finally:
        path.write_bytes(before)


def kinds(found):
    return {problem.kind for problem in found.problems}


def change_attributes(split, change):
    path = split / "zarr.json"
    metadata = json.loads(path.read_text())
    change(metadata["attributes"]["zarrfeed"])
    path.write_text(json.dumps(metadata))


def make_older(packed):
    """Take away what an older zarrfeed didn't write."""
    for name in ("channel_sums", "shard_files"):
        shutil.rmtree(packed.split / name)
    change_attributes(packed.split, lambda attributes: attributes.pop("channels"))


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
        {"size": (4, 4), "fit": "tile", "overlap": 1, "shard_size": 100},
        {"size": (9, 9), "fit": "tile", "ignore": 255},
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
    class Black:
        keys = ("k0", "k1", "k2")

        def describe(self):
            return {"kind": "black"}

        def names(self, sample):
            return f"image {sample}", f"mask {sample}"

        def probe(self, sample):
            return Header(4, 4, 3, "uint8", 4, 4)

        def read(self, sample):
            return np.zeros((4, 4, 3), np.uint8), self.read_mask(sample)

        def read_mask(self, sample):
            return np.zeros((4, 4), np.uint8)

    convert(Black(), tmp_path / "o.zarr", split="s", classes=1, workers=1)
    found = verify(tmp_path / "o.zarr", source=Black())
    assert found.problems == ()
    assert found.splits[0].originals == 3


# -- any byte ---------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", CODECS)
@settings(max_examples=40)
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
    assert ("all its samples are as they were packed" in damage.what) == (not bad)


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


@settings(max_examples=60)
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


@settings(max_examples=60)
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
    assert "all its samples are as they were packed" in problem.what


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
        assert f"it holds what {holds} must hold" in problem.what
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
    assert "needed as many samples in the shards of every field" in found.problems[0].what
    assert found.splits[0].decoded == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: a.update(fields=["image"]), "fields"),
        (lambda a: a["packed"].update(digest="crc32"), "digests that are"),
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
    assert "test.partial: an unfinished conversion" in found.notes[0]
    with pytest.raises(SourceError, match="found train, val; name one"):
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


# -- originals ----------------------------------------------------------------------------------


def repaint(path):
    values = imagecodecs.png_decode(path.read_bytes())
    path.write_bytes(imagecodecs.png_encode((values + 1) % 3))


def problems_of(found):
    return sorted((problem.kind, problem.key or "") for problem in found.problems)


def test_originals_that_changed_are_named(packed):
    repaint(packed.images / "s03.png")
    repaint(packed.masks / "s05.png")
    (packed.masks / "s07.png").write_bytes(b"no picture")
    (packed.images / "s08.png").write_bytes(imagecodecs.png_encode(np.zeros((3, 3, 3), np.uint8)))
    (packed.masks / "s09.png").write_bytes(imagecodecs.png_encode(np.full((7, 6), 77, np.uint8)))
    found = packed.verify(source=True)
    assert problems_of(found) == [
        ("original-changed", f"s{sample:02}") for sample in (3, 5, 7, 8, 9)
    ]
    by_key = {problem.key: problem for problem in found.problems}
    assert by_key["s03"].files == (str(packed.images / "s03.png"), str(packed.masks / "s03.png"))
    assert by_key["s07"].files == (str(packed.masks / "s07.png"),)
    assert "found the value 77" in by_key["s09"].what
    assert found.splits[0].originals == 11
    assert not found.splits[0].bad


def test_originals_that_are_gone_and_new_ones_are_named(packed):
    for folder in (packed.images, packed.masks):
        (folder / "s04.png").unlink()
        (folder / "new.png").write_bytes((folder / "s00.png").read_bytes())
    (packed.masks / "s06.png").unlink()
    found = packed.verify(source=True)
    assert problems_of(found) == [
        ("original-missing", "s04"),
        ("original-missing", "s06"),
        ("original-new", ""),  # an image without its mask
        ("original-new", "new"),
    ]
    assert found.splits[0].originals == 9


def test_originals_that_have_moved_are_found_again(packed, tmp_path):
    packed.images.rename(tmp_path / "elsewhere")
    [problem] = packed.verify(source=True).problems
    assert problem.kind == "source"
    assert "--images and --masks" in problem.what
    found = packed.verify(source={"images": str(tmp_path / "elsewhere")})
    assert found.problems == ()
    assert found.splits[0].originals == 11


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("pattern", ["", "/*.png"])
def test_what_was_skipped_is_not_new(tmp_path, moved, pattern):
    write_originals(tmp_path)
    (tmp_path / "images/s02.png").write_bytes(b"no picture")
    (tmp_path / "masks/s03.png").unlink()
    images, masks = f"{tmp_path / 'images'}{pattern}", f"{tmp_path / 'masks'}{pattern}"
    pairs = PairedFolders(images, masks)
    convert(pairs, tmp_path / "o", split="s", classes=3, on_error="skip", workers=1)
    source = True
    if moved:
        (tmp_path / "images").rename(tmp_path / "other")
        source = {"images": f"{tmp_path / 'other'}{pattern}"}
    found = verify(tmp_path / "o", source=source)
    assert found.problems == ()
    assert found.splits[0].originals == 9


def test_a_source_can_be_given(packed):
    change_attributes(packed.split, lambda attributes: attributes.update(source={"kind": "mine"}))
    [problem] = packed.verify(source=True).problems
    assert "'mine' cannot be opened again" in problem.what
    assert packed.verify(source=PairedFolders(packed.images, packed.masks)).problems == ()


def test_a_source_whose_decoder_breaks_down_is_a_problem(packed, monkeypatch):
    def read(self, sample):
        raise ZeroDivisionError("boom")

    monkeypatch.setattr(PairedFolders, "read", read)
    found = packed.verify(source=True)
    assert len(found.problems) == 11
    assert "ZeroDivisionError('boom')" in found.problems[0].what


def test_without_digests_there_is_nothing_to_compare_originals_with(packed):
    shutil.rmtree(packed.split / "digest")
    found = packed.verify(source=True)
    assert found.splits[0].originals == 0
    assert "originals were not compared" in found.splits[0].notes[0]


# -- tiles --------------------------------------------------------------------------------------


@pytest.fixture
def tiled(tmp_path):
    return pack(tmp_path, size=(4, 4), fit="tile", shard_size=8 * 48)


@pytest.mark.parametrize("older", [False, True])
def test_tiles_of_changed_originals_are_named(tiled, older):
    if older:
        make_older(tiled)
        for name in ("tile", "tile_source", "tile_size"):
            shutil.rmtree(tiled.split / name)
    path = tiled.images / "s03.png"
    values = imagecodecs.png_decode(path.read_bytes())
    values[6, 5] ^= 1  # in the last tile alone
    path.write_bytes(imagecodecs.png_encode(values))
    larger = np.zeros((7, 9, 3), np.uint8)
    (tiled.images / "s04.png").write_bytes(imagecodecs.png_encode(larger))
    (tiled.masks / "s04.png").write_bytes(imagecodecs.png_encode(larger[..., 0]))
    (tiled.masks / "s05.png").unlink()
    found = tiled.verify(source=True)
    assert problems_of(found) == [
        ("original-changed", "s03#3,2"),
        ("original-changed", "s04"),
        ("original-missing", "s05"),
        ("original-new", ""),
    ]
    assert "needed an image of 4 tiles" in next(
        problem.what for problem in found.problems if problem.key == "s04"
    )


def test_tiles_in_the_wrong_place_are_found(tiled):
    tile = tiled.array("tile")
    tile[3, 1] += 1
    found = tiled.verify()
    assert kinds(found) == {"tiles"}
    assert found.problems[0].key == tiled.keys[3]
    assert "needed tiles that cover" in found.problems[-1].what


@pytest.mark.parametrize("name", ["tile", "tile_source", "tile_size"])
def test_missing_places_of_tiles_are_a_problem(tiled, name):
    shutil.rmtree(tiled.split / name)
    [problem] = tiled.verify(source=True).problems
    assert problem.files == (str(tiled.split / name),)
