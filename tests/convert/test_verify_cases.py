"""Whatever of a split of cases is no longer as it was packed is found, and laid to its place."""

from __future__ import annotations

import json
import re
import shutil
import tracemalloc
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import CaseArrays, pair
from packed import change_attributes, flipped, kinds
from stored_samples import texts
from zarrfeed import open_split
from zarrfeed_convert import PairedFolders, convert, repack, verify
from zarrfeed_convert.shards.case_parts import divide_tiles
from zarrfeed_convert.shards.cases import Cases
from zarrfeed_convert.verification.recorded import recorded_of

if TYPE_CHECKING:
    from pathlib import Path

SIZES = [(5, 9), (1, 1), (8, 8), (3, 20), (13, 4)]
CASES = {f"case{place}": pair(size, place) for place, size in enumerate(SIZES)}
AFFINES = {"case1": np.diag([2.0, 0.5, 1]), "case3": np.array([[0, 3.0, 7], [1, 0, 9], [0, 0, 1]])}
OF_TILES = ("digest", "class_pixels", "channel_sums", "shard_files")
OF_CASES = ("case_key", "case_size", "case_first_tile", "case_spacing", "case_affine")
SHARD = 3  # tiles


@dataclass
class PackedCases:
    """A split of 5 cases in 20 tiles of 4×4, three a shard, and its source."""

    split: Path

    @property
    def source(self):
        return CaseArrays(CASES, affines=AFFINES)

    def array(self, name):
        return zarr.open_array(str(self.split / name))

    @property
    def keys(self):
        return texts(self.array("case_key")[:])

    @property
    def tiles(self):
        """The names of all tiles."""
        names = []
        for key, size in zip(self.keys, self.array("case_size")[:].tolist(), strict=True):
            names += [f"{key}#{y},{x}" for y in range(0, size[0], 4) for x in range(0, size[1], 4)]
        return names

    def shard(self, field, number):
        return self.split / field / "c" / str(number) / ("0/0/0" if field == "image" else "0/0")

    @property
    def shards(self):
        return {
            self.shard(field, number): self.tiles[SHARD * number : SHARD * (number + 1)]
            for field in ("image", "mask")
            for number in range(7)
        }

    def verify(self, **options):
        return verify(self.split, workers=1, **options)


def pack(folder, codec="raw"):
    source = CaseArrays(CASES, affines=AFFINES)
    options = {"tile": (4, 4), "shard_size": 48 * SHARD, "classes": 3, "pad_value": 7}
    convert(source, folder / "o.zarr", split="s", codec=codec, workers=1, **options)
    return PackedCases(folder / "o.zarr/s")


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    """The same cases in two codecs; whoever changes one puts it right again."""
    return {codec: pack(tmp_path_factory.mktemp(codec), codec) for codec in ("raw", "lz4")}


@pytest.fixture
def packed(healthy, tmp_path):
    shutil.copytree(healthy["raw"].split.parent, tmp_path / "o.zarr")
    return PackedCases(tmp_path / "o.zarr/s")


# -- What is as it was packed, and any byte --------------------------------------------------------


@pytest.mark.parametrize("codec", ["raw", "lz4"])
def test_what_was_packed_passes(healthy, codec):
    packed = healthy[codec]
    for workers in (1, 2):
        found = verify(packed.split, source=packed.source, workers=workers)
        assert found.problems == ()
        [split] = found.splits
        assert (split.samples, split.decoded, split.files, split.originals) == (20, 20, 14, 20)
    assert packed.verify(quick=True).ok


@pytest.mark.parametrize("codec", ["raw", "lz4"])
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_any_flipped_bit_of_a_shard_is_found_and_laid_to_it(healthy, codec, data):
    packed = healthy[codec]
    path = data.draw(st.sampled_from(sorted(packed.shards)))
    place = data.draw(st.integers(0, path.stat().st_size - 1))
    field = path.relative_to(packed.split).parts[0]
    before = packed.array(field)[:]
    with flipped(path, place, data.draw(st.integers(1, 255))):
        found = packed.verify()
        quick = packed.verify(quick=True)
        same = [same_tile(packed.array(field), row, before[row]) for row in range(20)]
    for damage in (*[one for one in found.problems if one.kind == "file-damaged"], *quick.problems):
        assert damage.files == (str(path),)
    assert len(quick.problems) == 1
    samples = [problem for problem in found.problems if problem.kind.startswith("sample")]
    assert len(samples) == len(found.problems) - 1
    assert {problem.files for problem in samples} <= {(str(path),)}
    assert {problem.key for problem in samples} == {
        name for name, as_packed in zip(packed.tiles, same, strict=True) if not as_packed
    }


def same_tile(array, row, before):
    try:
        return np.array_equal(array[row], before)
    except Exception:
        return False


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_flipped_bit_that_changes_what_is_recorded_is_found(healthy, data):
    packed = healthy["raw"]
    name = data.draw(st.sampled_from((*OF_TILES, *OF_CASES, "dhash")))
    [path] = [path for path in (packed.split / name / "c").rglob("*") if path.is_file()]
    before = packed.array(name)[:]
    place = data.draw(st.integers(0, path.stat().st_size - 1))
    with flipped(path, place, data.draw(st.integers(1, 255))):
        try:
            same = np.array_equal(packed.array(name)[:], before, equal_nan=name.endswith("e"))
        except Exception:
            same = False
        found = packed.verify(source=packed.source)
    if not same:
        assert "array" in kinds(found)
        assert any(str(packed.split / name) in problem.files for problem in found.problems)
    assert not {problem.kind for problem in found.problems} & {"sample-damaged", "sample-changed"}


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_damaged_descriptions_are_problems_not_crashes(healthy, data):
    packed = healthy["lz4"]
    path = data.draw(st.sampled_from(sorted(packed.split.rglob("zarr.json"))))
    place = data.draw(st.integers(0, path.stat().st_size - 1))
    with flipped(path, place, data.draw(st.integers(1, 255))):
        found = packed.verify(source=packed.source)
    for problem in found.problems:
        assert problem.what


# -- Files and arrays ------------------------------------------------------------------------------


def test_a_lost_shard_is_named_with_its_tiles(packed):
    path = packed.shard("image", 6)
    path.unlink()
    found = packed.verify()
    assert [problem.kind for problem in found.problems] == ["file-missing"] + 2 * ["sample-damaged"]
    assert found.splits[0].bad == tuple(packed.tiles[18:])
    assert kinds(packed.verify(quick=True)) == {"file-missing"}


@pytest.mark.parametrize("keep", [0, 5, 40, -1])
def test_a_truncated_shard_is_named_with_its_tiles(packed, keep):
    path = packed.shard("mask", 1)
    path.write_bytes(path.read_bytes()[:keep])
    found = packed.verify()
    assert kinds(found) == {"file-damaged", "sample-damaged"}
    assert found.splits[0].bad == tuple(packed.tiles[3:6])


def test_shards_that_are_no_files_or_swapped_or_too_many_are_found(packed):
    one, other = packed.shard("image", 0), packed.shard("image", 1)
    before = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(before)
    found = packed.verify()
    assert kinds(found) == {"file-damaged", "sample-changed"}
    assert f"it has the content of {other}" in found.problems[0].what
    one.unlink()
    one.mkdir()
    beyond = packed.shard("image", 9)
    beyond.parent.mkdir(parents=True)
    beyond.write_bytes(b"x")
    assert kinds(packed.verify()) >= {"file-damaged", "file-extra"}


def test_a_changed_tile_is_named_also_where_it_is_padded(packed):
    image = packed.array("image")
    row = packed.tiles.index("case1#0,0")
    values = image[row]
    assert values[3, 3].tolist() == [7, 7, 7]
    values[3, 3, 0] = 8
    image[row] = values
    found = packed.verify()
    assert [problem.kind for problem in found.problems] == ["file-damaged", "sample-changed"]
    assert found.splits[0].bad == ("case1#0,0",)


@pytest.mark.parametrize("name", [*OF_TILES, *OF_CASES])
def test_a_missing_array_is_a_problem(packed, name):
    shutil.rmtree(packed.split / name)
    found = packed.verify()
    assert not found.ok
    assert kinds(found) <= {"array", "metadata"}
    assert any(name in problem.what for problem in found.problems)
    assert found.splits[0].decoded == 20


@pytest.mark.parametrize("name", [*OF_TILES, *OF_CASES])
def test_a_missing_file_of_an_array_is_a_problem(packed, name):
    shutil.rmtree(packed.split / name / "c")
    found = packed.verify()
    assert not found.ok
    said = " ".join(f"{problem.what} {problem.files}" for problem in found.problems)
    assert str(packed.split / name) in said
    assert not found.splits[0].bad


@pytest.mark.parametrize("name", ["digest", "case_first_tile", "case_affine"])
def test_arrays_of_other_lengths_are_a_problem(packed, name):
    array = packed.array(name)
    array.resize((3, *array.shape[1:]))
    found = packed.verify()
    assert f"'{name}': 3" in found.problems[0].what
    assert not found.splits[0].bad


# -- What is recorded ------------------------------------------------------------------------------


# Array, place, value → the kind of a problem, and what it says.
WRONG = [
    ("digest", 3, 1, "array", "the recorded digest is damaged"),
    ("class_pixels", (2, 1), 99, "statistics", "pixels of class 1, found 99"),
    ("channel_sums", (5, 0, 0), 1.5, "statistics", "needed the channel sums"),
    ("dhash", 5, 255, "statistics", "needed the dhash .*, found 00000000000000ff"),
    ("shard_files", (1, 0, 1), 5, "file-damaged", "needed bytes of xxh3_64 0000000000000005"),
    ("case_key", 1, 0, "keys", "needed a name of sample 1"),
    ("case_key", (0, 0), 0, "keys", "needed a name of sample 0"),
    ("case_size", (0, 0), 100, "tiles", "needed cases of 20 tiles, found"),
    ("case_size", (0, 0), 0, "tiles", "at least 1 pixel along each axis"),
    ("case_size", (0, 0), -5, "tiles", "at least 1 pixel along each axis"),
    ("case_size", (0, 1), 2**62, "tiles", "found"),
    ("case_size", 0, 2**63 - 1, "tiles", "needed at most .* tiles"),
    ("case_first_tile", 2, 3, "tiles", "after those of the cases before it, found 3"),
    ("case_first_tile", 0, 1, "tiles", "found 1"),
    ("case_first_tile", 4, 2**63 - 1, "tiles", "found 9223372036854775807"),
    ("case_first_tile", 4, -1, "tiles", "found -1"),
    ("case_spacing", 0, 3.0, "metadata", "lengths of the columns of case_affine"),
    ("case_affine", (0, 0, 0), 1e308, "metadata", "lengths of the columns"),
    ("case_affine", (0, 0, 0), np.inf, "metadata", "lengths of the columns"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "place", "value", "kind", "said"), WRONG)
def test_wrong_values_are_found_though_the_tiles_are_right(packed, name, place, value, kind, said):
    if name in ("case_spacing", "case_affine"):  # of a case that has one
        place = (packed.keys.index("case3"), *(place if isinstance(place, tuple) else ()))[:3]
    packed.array(name)[place] = value
    tracemalloc.start()
    found = packed.verify()
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken < 80 << 20  # a buffer of 64 MiB for metadata, of which little is touched
    assert any(
        problem.kind == kind and re.search(said, problem.what) for problem in found.problems
    ), found.problems
    assert not found.splits[0].bad


def test_sizes_that_give_as_many_tiles_are_found_by_their_pixels(packed):
    sizes = packed.array("case_size")
    case = packed.keys.index("case0")  # 5×9 → 6×9
    sizes[case] = [6, 9]
    found = packed.verify()
    assert kinds(found) == {"tiles"}
    assert found.problems[0].files == (str(packed.split / "case_size"),)
    notes = packed.verify(source=packed.source).splits[0].notes
    assert "not compared, because the arrays of its cases are damaged" in notes[0]


def test_sizes_that_are_swapped_are_found_by_the_originals(packed):
    sizes = packed.array("case_size")
    case = packed.keys.index("case0")
    sizes[case] = [9, 5]
    assert not packed.verify().ok
    found = packed.verify(source=packed.source)
    said = [problem.what for problem in found.problems if problem.kind == "original-changed"]
    assert any("needed a case of 9x5, as was packed, found one of 5x9" in what for what in said)


def test_names_given_twice_are_found(packed):
    keys = packed.array("case_key")
    keys[0] = keys[1]
    assert "keys" in kinds(packed.verify())


def test_an_affine_that_is_elsewhere_is_found_by_the_originals(packed):
    packed.array("case_affine")[packed.keys.index("case3"), 0, 2] = 8
    assert packed.verify().ok  # nothing else in the store tells it
    [problem] = packed.verify(source=packed.source).problems
    assert (problem.kind, problem.key) == ("original-changed", "case3")
    assert "needed the affine [[0.0, 3.0, 8.0]" in problem.what


def test_an_affine_that_is_lost_is_found_by_the_originals(packed):
    case = packed.keys.index("case3")
    for name in ("case_affine", "case_spacing"):
        array = packed.array(name)
        array[case] = np.full(array.shape[1:], np.nan)
    assert packed.verify().ok
    [problem] = packed.verify(source=packed.source).problems
    assert (problem.kind, problem.key) == ("original-changed", "case3")
    assert "needed no affine, as case_affine has none, found [[0.0, 3.0, 7.0]" in problem.what
    for name in ("case_affine", "case_spacing"):
        shutil.rmtree(packed.split / name)
    found = packed.verify(source=packed.source).problems
    assert {problem.key for problem in found} == AFFINES.keys()


def test_affines_that_samples_did_not_record_are_a_note_not_a_problem(tmp_path):
    cases = {f"case{place}": pair((6, 6), place) for place in range(3)}
    source = CaseArrays(cases, in_windows=False, affines={"case1": AFFINES["case1"]})
    convert(source, tmp_path / "o.zarr", split="s", classes=3, workers=1)
    repack(tmp_path / "o.zarr/s", tmp_path / "t.zarr", split="s", tile=(4, 4), workers=1)
    repack(tmp_path / "t.zarr/s", tmp_path / "u.zarr", split="s", tile=(3, 5), workers=1)
    for name in ("t.zarr", "u.zarr"):
        found = verify(tmp_path / name, source=source, workers=1)
        assert found.ok, found.problems
        assert any("from splits of samples" in note for note in found.splits[0].notes)


def test_names_of_tiles_are_made_when_they_are_asked_for(packed, monkeypatch):
    asked = []
    of_cases = Cases.rows
    monkeypatch.setattr(Cases, "rows", lambda *a: asked.append(a) or of_cases(*a))
    recorded, _ = recorded_of(open_split(packed.split))
    assert not isinstance(recorded.keys, list)
    assert len(recorded.keys) == recorded.samples == 20
    assert [*recorded.keys] == packed.tiles
    assert [*recorded.keys[3:7]] == packed.tiles[3:7]
    assert recorded.keys[-1] == packed.tiles[-1]
    asked.clear()
    assert packed.verify(source=packed.source).ok
    assert len(asked) == 1


@pytest.mark.parametrize("claimed", [[*OF_CASES], ["case_affine"]])
def test_claims_of_more_cases_than_tiles_take_no_memory(packed, claimed):
    for name in claimed:
        path = packed.split / name / "zarr.json"
        metadata = json.loads(path.read_text())
        metadata["shape"][0] = 1 << 27
        path.write_text(json.dumps(metadata))
    split = open_split(packed.split)
    tracemalloc.start()
    try:
        _, problems = recorded_of(split)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20
    said = [problem.what for problem in problems]
    for name in claimed:
        assert any(f"{name}: needed at most 20 cases" in what for what in said)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("case_affine", (5, 4, 4)), ("case_affine", (5, 3, 4)), ("case_spacing", (5, 3))],
)
def test_affines_of_another_shape_are_a_problem(packed, name, shape):
    shutil.rmtree(packed.split / name)
    zarr.create_array(str(packed.split / name), data=np.full(shape, np.nan), chunks=shape)
    [problem] = packed.verify(source=packed.source).problems
    assert problem.kind == "metadata"
    assert f"{name}: needed the shape" in problem.what


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: a.update(cases=6), "needed 5 cases, as case_key has, found 6"),
        (lambda a: a.pop("cases"), "needed 5 cases, as case_key has, found None"),
        (lambda a: a.update(samples=19), "needed arrays of 19 samples"),
        (lambda a: a["packed"]["settings"].update(pad_value="x"), "x"),
        (lambda a: a["packed"].update(coverage=[]), "restore it"),
        (lambda a: a["channels"]["mean"].__setitem__(0, 1.0), "needed a mean of"),
    ],
)
def test_attributes_that_say_something_else_are_problems(packed, change, said):
    change_attributes(packed.split, change)
    found = packed.verify(source=packed.source)
    assert any(said in problem.what for problem in found.problems), found.problems


# -- Originals -------------------------------------------------------------------------------------


def write(folder, found):
    """Write cases as tiled TIFFs, which are read in windows."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for key, fields in found.items():
        tifffile.imwrite(folder / f"images/{key}.tif", fields["image"], tile=(16, 16),
                         photometric="rgb")  # fmt: skip
        tifffile.imwrite(folder / f"masks/{key}.tif", fields["mask"], tile=(16, 16))


@pytest.fixture
def files(tmp_path):
    """A split of files of cases, and its folder."""
    found = {f"s{n}": pair(size, n) for n, size in enumerate([(20, 33), (7, 40), (48, 17)])}
    write(tmp_path, found)
    source = PairedFolders(tmp_path / "images", tmp_path / "masks")
    options = {"tile": (16, 12), "shard_size": 2000, "classes": 3, "workers": 1}
    convert(source, tmp_path / "o.zarr", split="s", **options)
    return tmp_path


def compared(folder, split="o.zarr/s"):
    return verify(folder / split, source=True, workers=1)


def test_originals_that_are_not_those_that_were_packed_are_told_apart(files):
    assert compared(files).ok
    changed = pair((20, 33), 0)
    changed["image"][19, 32] ^= 1
    write(files, {"s0": changed, "s1": pair((7, 41), 1), "new": pair((3, 3))})
    for place in ("images/s2.tif", "masks/s2.tif"):
        (files / place).unlink()
    found = compared(files)
    said = {(problem.kind, problem.key): problem.what for problem in found.problems}
    assert {*said} == {
        ("original-changed", "s0#16,24"),
        ("original-changed", "s1"),
        ("original-missing", "s2"),
        ("original-new", "new"),
    }
    assert "needed pixels of digest" in said["original-changed", "s0#16,24"]
    assert "needed a case of 7x40, as was packed, found one of 7x41" in said[
        "original-changed", "s1"]  # fmt: skip
    (files / "images/s0.tif").write_bytes(b"no image")
    assert ("original-changed", "s0") in {(p.kind, p.key) for p in compared(files).problems}


def test_originals_are_read_in_windows(files, monkeypatch):
    monkeypatch.setitem(divide_tiles.__kwdefaults__, "most", 2000)
    asked = []
    read = PairedFolders.read_window

    def noted(source, sample, window):
        asked.append(window)
        return read(source, sample, window)

    def whole(source, sample):
        raise AssertionError("read as a whole")

    monkeypatch.setattr(PairedFolders, "read_window", noted)
    monkeypatch.setattr(PairedFolders, "read", whole)
    assert compared(files).ok
    assert len(asked) == 5  # as many tiles together as fit


@pytest.mark.parametrize("tile", [None, (16, 12), (5, 40)])
def test_originals_are_compared_after_repacking_and_merging(files, tile):
    out, store = files / "r.zarr", files / "o.zarr"
    for name, which in (("one", [1]), ("two", [0, 2])):
        repack(store, out, split=name, tile=tile, subset=which, workers=1)
    repack([out / "one", out / "two"], out, split="all", tile=(7, 7), workers=1)
    repack([out / "all", store], out, split="both", tile=(9, 9), prefix_keys=True, workers=1)
    for split in ("one", "two", "all", "both"):
        found = compared(files, f"r.zarr/{split}")
        assert found.problems == ()
        assert found.splits[0].originals == found.splits[0].samples > 0
    notes = compared(files, "r.zarr/one").splits[0].notes
    assert "repacked with only some samples" in notes[0]
    changed = pair((7, 40), 1)
    changed["mask"][6, 39] += 1
    write(files, {"s1": changed})
    for split, keys in (("one", {"s1"}), ("all", {"s1"}), ("both", {"all/s1", "s/s1"})):
        found = compared(files, f"r.zarr/{split}")
        assert kinds(found) == {"original-changed"}
        assert {problem.key.rpartition("#")[0] for problem in found.problems} == keys
