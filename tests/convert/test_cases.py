"""Cases of any size are packed as tiles, and nothing of them is lost or added."""

from __future__ import annotations

import itertools
import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import CaseArrays, padding, pair, put_together
from folders import contents
from zarrfeed import open_split
from zarrfeed.errors import SourceError
from zarrfeed_convert import convert, verify
from zarrfeed_convert.geometry import GRID, Geometry
from zarrfeed_convert.planning.field_layouts import neighbours
from zarrfeed_convert.shards import case_parts
from zarrfeed_convert.shards.case_parts import divide_case, divide_tiles
from zarrfeed_convert.source import Field

EXTENT = st.integers(1, 20)
DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64"]


@st.composite
def cases(draw):
    """Draw cases with as many axes, and a tile."""
    axes = draw(st.sampled_from([2, 3]))
    sizes = draw(st.lists(st.tuples(*[EXTENT] * axes), min_size=1, max_size=4))
    tile = draw(st.tuples(*[st.integers(1, 12)] * axes))
    channels, dtype = draw(st.integers(1, 3)), draw(st.sampled_from(DTYPES))
    found = {
        f"case{place}": pair(size, place, channels=channels, dtype=dtype)
        for place, size in enumerate(sizes)
    }
    return found, tile


@settings(deadline=None, max_examples=10)
@given(
    cases(),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["raw", "lz4", "zstd", "auto"]),
    st.sampled_from([64, 1000, 10**6]),
)
def test_a_case_is_stored_voxel_by_voxel(drawn, in_windows, masks, codec, most):
    found, tile = drawn
    if not masks:
        found = {key: {"image": arrays["image"]} for key, arrays in found.items()}
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        # `divide_tiles` has it as a default, which is bound when it is defined.
        patch.setitem(divide_tiles.__kwdefaults__, "most", most)
        source = CaseArrays(found, in_windows)
        out = Path(folder) / "o.zarr"
        report = convert(source, out, split="s", tile=tile, codec=codec, shard_size=2000, workers=1)
        for key, arrays in found.items():
            for name, values in arrays.items():
                assert np.array_equal(put_together(out / "s", key, name), values, equal_nan=True)
        tiles = sum(
            math.prod(-(-old // new) for old, new in zip(one["image"].shape, tile, strict=False))
            for one in found.values()
        )
        assert (report.cases, report.packed) == (len(found), tiles)
        assert verify(out).ok
        assert verify(out, source=source, workers=1).ok


@settings(deadline=None)
@given(
    st.integers(2, 3).flatmap(lambda axes: st.tuples(*[st.tuples(EXTENT, EXTENT)] * axes)),
    st.integers(1, 400),
    st.data(),
)
def test_parts_cover_every_tile_once_within_their_bytes(extents, most, data):
    size, tile = zip(*extents, strict=True)
    origins = Geometry(tile, GRID).origins(size)
    start = data.draw(st.integers(0, len(origins) - 1))
    stop = data.draw(st.integers(start + 1, len(origins)))
    rows = range(100, 100 + stop - start)
    found = [
        *divide_tiles(rows, origins[start:stop], size=size, tile=tile, pixel_nbytes=3, most=most)
    ]
    assert [row for part in found for row in part.rows] == [*rows]
    for part in found:
        pixels = math.prod(along.stop - along.start for along in part.window)
        assert len(part.rows) == 1 or pixels * 3 <= most
        for row in part.rows:
            origin = origins[start + row - 100]
            for at, step, extent, along in zip(origin, tile, size, part.window, strict=True):
                assert along.start <= at
                assert min(at + step, extent) <= along.stop <= extent


@settings(deadline=None)
@given(st.lists(EXTENT, min_size=2, max_size=3), st.integers(1, 5), st.integers(1, 300))
def test_windows_cover_a_case_once_within_their_bytes(extents, pixel_nbytes, most):
    covered = np.zeros(extents, int)
    for window in divide_case(tuple(extents), pixel_nbytes, most=most):
        covered[window] += 1
        pixels = math.prod(along.stop - along.start for along in window)
        assert pixels == 1 or pixels * pixel_nbytes <= most
    assert (covered == 1).all()


SIZES = [(5, 9), (1, 1), (8, 8), (3, 20), (13, 4)]
CASES = {f"case{place}": pair(size, place) for place, size in enumerate(SIZES)}
SMALL = {"tile": (4, 4), "shard_size": 48 * 3, "workers": 1, "classes": 3}


def test_arrays_and_attributes_describe_the_cases(tmp_path):
    affine = np.diag([2.0, 0.5, 1])
    source = CaseArrays(CASES, affines={"case1": affine})
    convert(source, tmp_path / "o", split="s", order="source", **SMALL)
    group = zarr.open_group(str(tmp_path / "o/s"))
    assert sorted(group) == [
        "case_affine", "case_first_tile", "case_key", "case_size", "case_spacing",
        "channel_sums", "class_pixels", "dhash", "digest", "image", "mask", "shard_files",
    ]  # fmt: skip
    assert group["case_size"][:].tolist() == [*map(list, SIZES)]
    assert group["case_first_tile"][:].tolist() == [0, 6, 7, 11, 16]
    assert group["image"].shape == (20, 4, 4, 3)
    assert group["image"].chunks == (1, 4, 4, 3)
    assert np.array_equal(group["case_affine"][1], affine)
    assert group["case_spacing"][1].tolist() == [2.0, 0.5]
    assert np.isnan(group["case_affine"][0]).all()
    assert np.isnan(group["case_spacing"][2]).all()
    said = group.attrs["zarrfeed"]
    assert (said["samples"], said["cases"], said["packed"]["found"]) == (20, 5, 5)
    assert said["packed"]["settings"]["tile"] == [4, 4]
    assert said["packed"]["coverage"] == {"lost": 0, "repeated": 0, "padded": 20 * 16 - 222}


def test_cases_without_an_affine_have_no_spacing(tmp_path):
    convert(CaseArrays(CASES), tmp_path / "o", split="s", **SMALL)
    assert not {"case_affine", "case_spacing"} & {*zarr.open_group(str(tmp_path / "o/s"))}


def test_cases_are_shuffled_and_their_tiles_stay_together(tmp_path):
    orders = set()
    for seed in range(6):
        convert(CaseArrays(CASES), tmp_path / f"{seed}", split="s", seed=seed, **SMALL)
        group = zarr.open_group(str(tmp_path / f"{seed}/s"))
        orders.add(tuple(bytes(row) for row in group["case_key"][:]))
        for key, arrays in CASES.items():
            assert np.array_equal(put_together(tmp_path / f"{seed}/s", key), arrays["image"])
    assert len(orders) > 3


@pytest.mark.parametrize("ignore", [None, 2, 255, 300])
def test_statistics_leave_padding_out(tmp_path, ignore):
    source = CaseArrays(CASES)
    options = SMALL | {"classes": 3, "pad_value": 77}
    convert(source, tmp_path / "o", split="s", ignore=ignore, **options)
    group = zarr.open_group(str(tmp_path / "o/s"))
    masks = np.concatenate([arrays["mask"].ravel() for arrays in CASES.values()])
    pixels = np.concatenate([arrays["image"].reshape(-1, 3) for arrays in CASES.values()])
    assert group["class_pixels"][:].sum(axis=0).tolist() == np.bincount(masks).tolist()
    channels = group.attrs["zarrfeed"]["channels"]
    assert np.allclose(channels["mean"], pixels.mean(axis=0), rtol=1e-12)
    assert np.allclose(channels["std"], pixels.std(axis=0), rtol=1e-12)
    for key in CASES:
        assert {*padding(tmp_path / "o/s", key, "image").ravel().tolist()} <= {77}
        assert {*padding(tmp_path / "o/s", key, "mask").tolist()} <= {ignore or 0}
    assert verify(tmp_path / "o").ok


def test_further_fields_and_overlapping_classes_are_tiled_alike(tmp_path):
    rng = np.random.default_rng(0)
    found = {
        key: {
            **arrays,
            "mask": rng.integers(0, 2, (*arrays["mask"].shape, 3), np.uint8),
            "depth": rng.normal(size=arrays["mask"].shape).astype("f4"),
        }
        for key, arrays in CASES.items()
    }
    roles = (Field("image", "image"), Field("mask", "mask"), Field("depth", "target"))
    convert(CaseArrays(found, roles=roles), tmp_path / "o", split="s", **SMALL)
    for (key, arrays), name in itertools.product(found.items(), ["image", "mask", "depth"]):
        assert np.array_equal(put_together(tmp_path / "o/s", key, name), arrays[name])
    counted = zarr.open_array(str(tmp_path / "o/s/class_pixels"))[:].sum(axis=0)
    assert counted.tolist() == sum(one["mask"].sum(axis=(0, 1), dtype=int) for one in
                                   found.values()).tolist()  # fmt: skip
    assert verify(tmp_path / "o").ok


def test_classes_are_found_in_parts_of_large_masks(tmp_path, monkeypatch):
    from zarrfeed_convert.planning import classes

    monkeypatch.setattr(classes, "PART_NBYTES", 100)
    monkeypatch.setitem(divide_case.__kwdefaults__, "most", 100)
    asked = []

    class Watched(CaseArrays):
        def read_mask_window(self, sample, window):
            asked.append(window)
            return super().read_mask_window(sample, window)

    options = {**SMALL, "classes": None}
    convert(Watched(CASES), tmp_path / "o", split="s", **options)
    assert open_split(tmp_path / "o/s").classes == ("0", "1", "2")
    assert len(asked) > 5


def test_workers_and_ways_of_reading_write_the_same_bytes(tmp_path):
    for name, in_windows, workers in [("a", True, 1), ("b", False, 1), ("c", True, 2)]:
        options = SMALL | {"workers": workers}
        convert(CaseArrays(CASES, in_windows), tmp_path / name, split="s", **options)
    assert contents(tmp_path / "a") == contents(tmp_path / "b") == contents(tmp_path / "c")


def test_skipped_cases_leave_no_gap(tmp_path):
    source = CaseArrays(CASES, bad=frozenset({"case0", "case3"}))
    report = convert(source, tmp_path / "o", split="s", on_error="skip", **SMALL)
    assert (report.found, report.cases) == (5, 3)
    assert [name for name, _ in report.skipped] in (["case0", "case3"], ["case3", "case0"])
    for key in ("case1", "case2", "case4"):
        assert np.array_equal(put_together(tmp_path / "o/s", key), CASES[key]["image"])
    assert verify(tmp_path / "o").ok
    without = {key: CASES[key] for key in ("case1", "case2", "case4")}
    assert verify(tmp_path / "o", source=CaseArrays(without), workers=1).ok


def test_a_case_that_has_another_size_than_its_header_is_named(tmp_path):
    class Changed(CaseArrays):
        def read(self, sample):
            return tuple(values[:-1] for values in super().read(sample))

    found = {"case": pair((8, 8))}
    for in_windows in (True, False):
        with pytest.raises(SourceError, match=r"case: needed .* as its header says, found [37]x"):
            convert(Changed(found, in_windows), tmp_path / "o", split="s", **SMALL)


def test_a_case_that_changes_after_it_was_measured_is_named(tmp_path):
    class Changing(CaseArrays):
        probed = 0

        def probe(self, sample):
            self.probed += 1
            if self.probed == 2:
                self.cases = {"case": pair((9, 8))}
            return super().probe(sample)

    with pytest.raises(SourceError, match=r"case: needed 8x8, as when it was measured, found 9x8"):
        convert(Changing({"case": pair((8, 8))}), tmp_path / "o", split="s",
                **SMALL | {"codec": "raw"})  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": (4,)}, r"tile: needed \(height, width\) or"),
        ({"tile": (0, 4)}, "tile: needed at least 1, found 0"),
        ({"tile": "automatic"}, "tile: needed .*, found str 'automatic'"),
        ({"size": (4, 4)}, "tile: cases keep their sizes"),
        ({"fit": "pad", "size": (4, 4)}, "tile: cases keep their sizes"),
        ({"chunk_samples": 2}, "chunk_samples: needed 1 tile per chunk, found 2"),
        ({"tile": (4, 4, 4)}, "case0: needed as many axes as 4x4x4 has, found 5x9; use --tile HxW"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(tmp_path, options, message):
    with pytest.raises(SourceError, match=message):
        convert(CaseArrays(CASES), tmp_path / "o", split="s", **SMALL | options)
    assert not (tmp_path / "o").exists()


def test_a_dry_run_tells_of_cases_that_are_decoded_as_a_whole(tmp_path, monkeypatch):
    from zarrfeed_convert.planning import planner

    monkeypatch.setattr(planner, "PART_NBYTES", 500)
    for in_windows, told in ((True, []), (False, ["case0", "case3"])):
        source = CaseArrays(CASES | {"case0": pair((30, 30))}, in_windows)
        report = convert(source, tmp_path / "o", split="s", dry_run=True, **SMALL)
        reasons = [each.reason for each in report.decisions if each.what == "decoding"]
        assert len(reasons) == bool(told)
        assert all("case0, takes 4.39 KiB" in reason for reason in reasons)
        assert report.cases == 5
        assert report.headline.startswith("Would pack 5 cases as ")
    assert case_parts.PART_NBYTES == 64 << 20


@given(st.integers(1, 300))
def test_tiles_to_try_are_neighbours(tiles):
    picked = neighbours(tiles)
    assert len({*picked.tolist()}) == len(picked) >= min(tiles, 9)
    assert (np.diff(picked) > 0).all()
    assert picked[-1] < tiles
    assert np.count_nonzero(np.diff(picked) > 1) <= 1


def test_few_parts_are_decoded_to_try_codecs(tmp_path):
    read = []

    class Watched(CaseArrays):
        def read_window(self, sample, window):
            read.append((sample, window))
            return super().read_window(sample, window)

    source = Watched({f"case{place}": pair((40, 40), place) for place in range(9)})
    convert(source, tmp_path / "o", split="s", dry_run=True, **SMALL)
    assert len(read) <= 8


@settings(deadline=None)
@given(
    st.integers(2, 3).flatmap(lambda axes: st.tuples(*[st.tuples(EXTENT, EXTENT, EXTENT)] * axes)),
    st.integers(1, 400),
    st.data(),
)
def test_parts_are_large_and_keep_chunks_whole(extents, most, data):
    size, tile, chunk = zip(*extents, strict=True)
    origins = Geometry(tile, GRID).origins(size)
    start = data.draw(st.integers(0, len(origins) - 1))
    rows = range(start, len(origins))
    options = {"size": size, "tile": tile, "pixel_nbytes": 1}
    found = [*divide_tiles(rows, origins[start:], chunk=chunk, most=most, **options)]
    assert [row for part in found for row in part.rows] == [*rows]
    for part in found:
        for row in part.rows:
            for at, step, extent, along in zip(origins[row], tile, size, part.window, strict=True):
                assert along.start <= at
                assert min(at + step, extent) <= along.stop <= extent
    without = [*divide_tiles(rows, origins[start:], most=most, **options)]
    assert len(found) <= len(without)


def test_tiles_of_a_long_row_are_decoded_together():
    origins = [(y, x) for y in (0, 4) for x in range(0, 100, 4)]
    parts = divide_tiles(range(50), origins, size=(8, 100), tile=(4, 4), pixel_nbytes=1, most=200)
    assert [len(part.rows) for part in parts] == [12, 12, 1, 12, 12, 1]


def test_slices_and_strips_are_decoded_once():
    size, tile = (20, 64, 64), (8, 16, 16)
    origins = Geometry(tile, GRID).origins(size)
    parts = divide_tiles(range(len(origins)), origins, size=size, tile=tile, pixel_nbytes=1,
                         chunk=(1, 64, 64), most=8 * 16 * 64)  # fmt: skip
    assert [part.window[0] for part in parts] == [slice(0, 8), slice(8, 16), slice(16, 20)]
    origins = Geometry((8, 8), GRID).origins((16, 99))
    parts = divide_tiles(range(len(origins)), origins, size=(16, 99), tile=(8, 8), pixel_nbytes=1,
                         chunk=(3, 99), most=100)  # fmt: skip
    assert [part.window for part in parts] == [
        (slice(0, 8), slice(0, 99)), (slice(8, 16), slice(0, 99)),
    ]  # fmt: skip


def test_chunks_of_two_tiles_are_decoded_once_where_memory_allows():
    origins = Geometry((4, 8), GRID).origins((16, 16))
    parts = [*divide_tiles(range(8), origins, size=(16, 16), tile=(4, 8), pixel_nbytes=1,
                           chunk=(8, 16), most=64)]  # fmt: skip
    assert [part.window[0] for part in parts] == [slice(0, 8), slice(8, 16)]


def test_a_case_that_cannot_be_measured_is_skipped(tmp_path, monkeypatch):
    from zarrfeed_convert.planning import planner

    monkeypatch.setattr(planner, "PART_NBYTES", 100)

    class Truncated(CaseArrays):
        def reads_windows(self, sample):
            if self.keys[sample] == "case3":
                raise SourceError("case3: its pixels end at byte 10, the file at byte 9")
            return True

    report = convert(Truncated(CASES), tmp_path / "o", split="s", on_error="skip", **SMALL)
    assert [name for name, _ in report.skipped] == ["case3"]
    assert verify(tmp_path / "o").ok
