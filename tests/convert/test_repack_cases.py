"""Cases are chosen, merged and cut into other tiles, and nothing of them is lost or added."""

from __future__ import annotations

import itertools
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import CaseArrays, padding, pair, put_together, stored_arrays
from folders import contents
from former_tiles import pack_former_tiles
from packed import flipped
from stored_samples import arrays, attributes, texts
from zarrfeed.errors import SourceError
from zarrfeed_convert import convert, repack, verify
from zarrfeed_convert.repacking import stored_cases
from zarrfeed_convert.shards.case_parts import divide_tiles
from zarrfeed_convert.shards.shard_record import ShardRecord

EXTENT = st.integers(1, 18)
DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64"]
SIZES = [(5, 9), (1, 1), (8, 8), (3, 20), (13, 4)]
CASES = {f"case{place}": pair(size, place) for place, size in enumerate(SIZES)}
AFFINES = {"case1": np.diag([2.0, 0.5, 1]), "case3": np.array([[0, 3.0, 7], [1, 0, 9], [0, 0, 1]])}
# Codecs and layouts that do not depend on the pixels, so that all that is compared is bytes.
FIXED = {"codec": "lz4", "shard_size": 48 * 3}


def pack(folder, found=CASES, tile=(4, 4), **options):
    """Pack cases; return the path of the split."""
    source = CaseArrays(found, affines=options.pop("affines", AFFINES))
    options = {"workers": 1, "classes": 3, **FIXED, **options}
    convert(source, folder, split="s", tile=tile, **options)
    return Path(folder) / "s"


def again(inputs, out, **options):
    """Repack; return the path of the split."""
    repack(inputs, out, split="s", **{"workers": 1, **options})
    return Path(out) / "s"


def keys(split):
    return texts(zarr.open_array(str(split / "case_key"))[:])


def require_cases(split, found):
    assert sorted(keys(split)) == sorted(found)
    stored = stored_arrays(split)
    for key, fields in found.items():
        for name, values in fields.items():
            assert np.array_equal(put_together(stored, key, name), values, equal_nan=True)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    return pack(tmp_path_factory.mktemp("packed") / "o.zarr")


@pytest.fixture(scope="module")
def eights(tmp_path_factory):
    """Other cases, in tiles of 8×6, without affines."""
    found = {f"other{n}": pair(size, 9 + n) for n, size in enumerate([(7, 7), (16, 2), (9, 13)])}
    split = pack(tmp_path_factory.mktemp("eights") / "o.zarr", found, (8, 6), affines={})
    return split, found


# -- Other tiles -----------------------------------------------------------------------------------


@st.composite
def cases(draw):
    """Draw cases with as many axes, and two tiles."""
    axes = draw(st.sampled_from([2, 3]))
    sizes = draw(st.lists(st.tuples(*[EXTENT] * axes), min_size=1, max_size=4))
    tiles = [draw(st.tuples(*[st.integers(1, 12)] * axes)) for _ in range(2)]
    channels, dtype = draw(st.integers(1, 3)), draw(st.sampled_from(DTYPES))
    found = {
        f"case{place}": pair(size, place, channels=channels, dtype=dtype)
        for place, size in enumerate(sizes)
    }
    return found, tiles


@settings(max_examples=6)
@given(
    cases(),
    st.booleans(),
    st.sampled_from(["keep", "raw", "zstd", "auto"]),
    st.sampled_from([64, 1000, 10**6]),
    st.sampled_from([1, 200, 10**6]),
)
def test_a_case_of_other_tiles_and_back_is_that_of_the_source(drawn, masks, codec, most, read):
    found, (one, other) = drawn
    if not masks:
        found = {key: {"image": fields["image"]} for key, fields in found.items()}
    options = {} if masks else {"classes": None}
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        # `divide_tiles` has it as a default, which is bound when it is defined.
        patch.setitem(divide_tiles.__kwdefaults__, "most", most)
        patch.setattr(stored_cases, "READ_NBYTES", read)
        first = pack(f"{folder}/a", found, one, affines={}, shard_size=2000, **options)
        second = again(first, f"{folder}/b", tile=other, codec=codec, shard_size=1000)
        third = again(second, f"{folder}/c", tile=one, codec="lz4", shard_size=2000)
        source = CaseArrays(found)
        for split, tile in ((second, other), (third, one)):
            require_cases(split, found)
            assert zarr.open_array(str(split / "image")).shape[1:-1] == tile
            verified = verify(split, source=source, workers=1)
            assert verified.ok, verified.problems
            assert verified.splits[0].originals == verified.splits[0].samples
        assert arrays(third) == arrays(first)


@pytest.mark.parametrize("pad_value", [None, 77])
@pytest.mark.parametrize("ignore", [None, 2, 255, 300])
def test_it_is_what_a_conversion_would_have_packed(tmp_path, ignore, pad_value):
    """Byte for byte, also its statistics and its padding."""
    how = {"ignore": ignore, "pad_value": pad_value, "order": "source"}
    first = pack(tmp_path / "a", **how)
    new = again(first, tmp_path / "b", tile=(5, 3), shard_size=200)
    wanted = pack(tmp_path / "c", tile=(5, 3), shard_size=200, **how)
    assert arrays(new) == arrays(wanted)
    one, other = attributes(new), attributes(wanted)
    for what in ("channels", "cases", "samples", "source", "fields"):
        assert one[what] == other[what]
    for what in ("coverage", "found", "digest", "codecs", "shard_rows"):
        assert one["packed"][what] == other["packed"][what]
    assert one["packed"]["settings"] == other["packed"]["settings"] | {"order": "source"}
    assert {*padding(new, "case0", "image").ravel().tolist()} <= {pad_value or 0}


def test_tiles_are_chosen_as_in_a_conversion(packed, tmp_path):
    new = again(packed, tmp_path / "a", tile="auto")
    wanted = pack(tmp_path / "b", tile="auto")
    assert zarr.open_array(str(new / "image")).shape == zarr.open_array(str(wanted / "image")).shape
    assert attributes(new)["packed"]["settings"]["tile"] == "auto"
    assert verify(new, source=CaseArrays(CASES, affines=AFFINES), workers=1).ok


def test_the_number_of_workers_changes_nothing(packed, tmp_path):
    for workers in (1, 2):
        again(packed, tmp_path / f"{workers}", tile=(3, 7), shard_size=100, workers=workers)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_tiles_of_the_same_size_are_copied_as_they_are(packed, tmp_path):
    assert arrays(again(packed, tmp_path / "o", tile=(4, 4))) == arrays(packed)


def test_whole_images_become_cases(tmp_path):
    found = {f"k{n}": pair((9, 7), n) for n in range(4)}
    source = CaseArrays(found)
    convert(source, tmp_path / "a", split="s", classes=3, workers=1)
    for tile, tiles in (((4, 4), 24), ((9, 7), 4), ("auto", 4)):
        new = again(
            tmp_path / "a/s", tmp_path / f"b{tiles}", tile=tile, restart=True, overwrite=True
        )
        require_cases(new, found)
        assert attributes(new)["samples"] == tiles
        assert verify(new, source=source, workers=1).ok
    assert zarr.open_array(str(tmp_path / "b24/s/image")).chunks[0] == 1


@pytest.mark.parametrize("fit", ["tile", "crop", "resize", "pad"])
def test_what_was_made_of_images_of_other_sizes_does_not_become_cases(tmp_path, fit):
    source = CaseArrays({f"k{n}": pair((9, 7), n) for n in range(4)})
    options = {"split": "s", "size": (3, 3), "classes": 3, "workers": 1}
    if fit == "tile":
        pack_former_tiles(source, tmp_path / "a", **options)
    else:
        options |= {"size": (12, 12) if fit == "pad" else (3, 3), "fit": fit, "ignore": 255}
        convert(source, tmp_path / "a", **options)
    with pytest.raises(SourceError, match=f"a/s: tile: needed cases, .* found .* --fit {fit}"):
        again(tmp_path / "a", tmp_path / "b", tile=(4, 4))
    assert not (tmp_path / "b").exists()


# -- Which cases -----------------------------------------------------------------------------------


@given(
    codec=st.sampled_from(["keep", "raw", "zstd"]),
    shard_tiles=st.none() | st.integers(1, 30),
    order=st.sampled_from([None, "stored", "source", "shuffled"]),
    seed=st.integers(0, 3),
    chosen=st.none() | st.sets(st.integers(0, 4), min_size=1),
    tile=st.sampled_from([None, (4, 4), (6, 5)]),
    by_name=st.booleans(),
)
@settings(max_examples=8)
def test_cases_are_chosen_and_ordered_as_a_whole(
    packed, codec, shard_tiles, order, seed, chosen, tile, by_name
):
    stored = keys(packed)
    names = stored if chosen is None else [stored[case] for case in sorted(chosen)]
    which = {"keys": names} if by_name else {"subset": None if chosen is None else [*chosen]}
    with tempfile.TemporaryDirectory() as folder:
        report = repack(
            packed,
            folder,
            split="s",
            codec=codec,
            shard_size=None if shard_tiles is None else shard_tiles * 48,
            order=order,
            seed=seed,
            tile=tile,
            workers=1,
            **which,
        )
        new = Path(folder, "s")
        require_cases(new, {key: CASES[key] for key in names})
        assert (report.found, report.cases) == (5, len(names))
        if order in (None, "stored"):
            assert keys(new) == names
        elif order == "source":
            assert keys(new) == sorted(names)
        assert verify(new, workers=1).ok
        assert verify(new, source=CaseArrays(CASES, affines=AFFINES), workers=1).ok
        group, before = zarr.open_group(folder + "/s"), zarr.open_group(str(packed))
        if {*names} & {*AFFINES}:
            for key in names:
                for what in ("case_affine", "case_spacing"):
                    one, other = group[what][keys(new).index(key)], before[what][stored.index(key)]
                    assert np.array_equal(one, other, equal_nan=True)
        else:
            assert "case_affine" not in group


def test_statistics_are_of_the_chosen_cases_without_padding(tmp_path):
    packed = pack(tmp_path / "a", pad_value=77, ignore=255)
    names = ["case0", "case3"]
    new = again(packed, tmp_path / "b", keys=names)
    pixels = np.concatenate([CASES[key]["image"].reshape(-1, 3) for key in names])
    masks = np.concatenate([CASES[key]["mask"].ravel() for key in names])
    channels = attributes(new)["channels"]
    assert np.allclose(channels["mean"], pixels.mean(axis=0), rtol=1e-12)
    assert np.allclose(channels["std"], pixels.std(axis=0), rtol=1e-12)
    counted = zarr.open_array(str(new / "class_pixels"))[:].sum(axis=0)
    assert counted.tolist() == np.bincount(masks).tolist()


def test_padding_does_not_count_where_a_tile_has_only_zeros(tmp_path):
    """Counts of zeros are computed anew, because their file may be lost."""
    found = {key: {"image": 0 * one["image"], "mask": 0 * one["mask"] + 255}
             for key, one in CASES.items()}  # fmt: skip
    packed = pack(tmp_path / "a", found, pad_value=77, ignore=255)
    new = again(packed, tmp_path / "b", codec="raw")
    assert not zarr.open_array(str(new / "channel_sums"))[:].any()
    assert not zarr.open_array(str(new / "class_pixels"))[:].any()
    assert attributes(new)["channels"] == {"mean": [0.0] * 3, "std": [0.0] * 3}


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"keys": ["case1", "x"]}, r"the 5 cases, such as 'case\d', found 'x'"),
        ({"keys": ["case1#0,0"]}, r"the 5 cases, such as 'case\d', found 'case1#0,0'"),
        ({"keys": ["case1", "case1"]}, "every case at most once, found 'case1' twice"),
        ({"subset": [5]}, "below 5, found 5"),
        ({"subset": [1, -4]}, "found case 1 twice"),
        ({"subset": [True] * 20}, "5 booleans, found 20"),
        ({"subset": slice(5, 9)}, "at least one case, .* choose none of 5"),
        ({"chunk_samples": 2}, "needed 1 tile of a case per chunk, found 2"),
        ({"tile": (4, 4, 4)}, r"needed as many axes as 4x4x4 has, found \d+x\d+; use --tile"),
        ({"tile": (4, 0)}, "tile: needed at least 1, found 0"),
        ({"tile": "all"}, "tile: needed .height, width."),
        ({"tile": (10**9, 10**9)}, "a quarter of the memory, found 1000000000x1000000000"),
        ({"tile": (2, 2), "chunk_samples": 2}, "needed 1 tile of a case per chunk, found 2"),
    ],
)
def test_a_wish_that_means_nothing_is_refused(packed, tmp_path, wish, said):
    with pytest.raises(SourceError, match=said):
        again(packed, tmp_path / "o", **wish)
    assert not (tmp_path / "o").exists()


# -- Several splits --------------------------------------------------------------------------------


def test_splits_of_cases_become_one(packed, tmp_path):
    for name, which in (("one", slice(0, 2)), ("two", slice(2, 5))):
        repack(packed, tmp_path / "h", split=name, subset=which, workers=1)
    halves = [tmp_path / "h/two", tmp_path / "h/one"]
    new = again(halves, tmp_path / "o", order="source")
    assert arrays(new) == arrays(again(packed, tmp_path / "w", order="source"))
    assert (
        verify(new, source=CaseArrays(CASES, affines=AFFINES), workers=1).problems[0].kind
        == "source"
    )
    found = attributes(new)
    assert (found["cases"], found["samples"], found["packed"]["found"]) == (5, 20, 10)
    assert [part["samples"] for part in found["source"]["inputs"]] == [
        attributes(half)["samples"] for half in halves
    ]


def test_affines_of_cases_without_any_are_unknown(packed, eights, tmp_path):
    split, found = eights
    new = again([split, packed], tmp_path / "o", tile=(4, 5))
    require_cases(new, CASES | found)
    group = zarr.open_group(str(new))
    for key, affine, spacing in zip(
        keys(new), group["case_affine"][:], group["case_spacing"][:], strict=True
    ):
        if key in AFFINES:
            assert np.array_equal(affine, AFFINES[key])
            assert spacing.tolist() == np.linalg.norm(AFFINES[key][:2, :2], axis=0).tolist()
        else:
            assert np.isnan(affine).all()
            assert np.isnan(spacing).all()
    assert verify(new, workers=1).ok


@pytest.mark.parametrize("tile", [(4, 4), (8, 6), (3, 3), "auto"])
def test_cases_of_several_tiles_become_one_split(packed, eights, tmp_path, tile):
    split, found = eights
    new = again([packed, split], tmp_path / "o", tile=tile)
    require_cases(new, CASES | found)
    assert verify(new, workers=1).ok
    assert keys(new) not in (keys(packed) + keys(split), sorted(keys(new)))
    once_more = again(new, tmp_path / "p", tile=(5, 5), order="source")
    require_cases(once_more, CASES | found)


def test_cases_of_the_same_name_are_told_apart_by_their_split(packed, tmp_path):
    other = again(packed, tmp_path / "b", tile=(3, 3))
    with pytest.raises(SourceError, match=r"names of cases that no other split has.*prefix-keys"):
        again([packed, other], tmp_path / "o", tile=(4, 4))
    new = again([packed, other], tmp_path / "o", tile=(4, 4), prefix_keys=True)
    found = {f"{place}/s/{key}": fields for (key, fields), place in
             itertools.product(CASES.items(), ("o", "b"))}  # fmt: skip
    require_cases(new, found)
    assert verify(new, workers=1).ok


def test_splits_that_are_not_alike_are_refused_naming_both(packed, eights, tmp_path):
    whole = {f"w{n}": pair((4, 4), n) for n in range(4)}
    convert(CaseArrays(whole), tmp_path / "w", split="s", classes=3, workers=1)
    former = {"size": (4, 4), "classes": 3, "workers": 1}
    pack_former_tiles(CaseArrays(whole), tmp_path / "t", split="s", **former)
    volumes = pack(tmp_path / "v", {"v": pair((4, 4, 4))}, (4, 4, 4), affines={})
    others = {
        tmp_path / "w/s": "samples: needed cases, as in .*, found whole images; merge only",
        tmp_path / "t/s": "samples: needed cases, as in .*, found tiles of images; merge only",
        volumes: "the size of tiles: needed 4×4, as in .*, found 4×4×4; merge only",
        eights[0]: "the size of tiles: needed 4×4, as in .*, found 8×6; use --tile",
        pack(tmp_path / "g", {"g": pair((4, 4), channels=1)}, affines={}):
            "the shape of each image: needed H×W×3, as in .*, found H×W×1",
        pack(tmp_path / "f", {"g": pair((4, 4), dtype="int16")}, affines={}):
            "the data type of each image: needed uint8, as in .*, found int16",
    }  # fmt: skip
    for other, said in others.items():
        with pytest.raises(SourceError, match=f"^{re.escape(str(other))}: {said}"):
            again([packed, other], tmp_path / "o")
    with pytest.raises(SourceError, match=r"shape of each image: needed H×W×3, .* found D×H×W×3"):
        again([packed, volumes], tmp_path / "o", tile=(4, 4))
    with pytest.raises(SourceError, match=r"needed cases, as in .*, found whole images"):
        again([packed, tmp_path / "w/s"], tmp_path / "o", tile=(4, 4))
    assert not (tmp_path / "o").exists()


def test_cases_of_other_padding_are_merged_as_they_are_but_not_cut_anew(packed, tmp_path):
    found = {"p": pair((5, 5))}
    other = pack(tmp_path / "p", found, affines={}, pad_value=9)
    both = again([packed, other], tmp_path / "o")
    require_cases(both, CASES | found)
    assert verify(both, workers=1).ok
    for inputs in ([packed, other], both):
        with pytest.raises(SourceError, match=r"padded with one value, 0 as in .*, found 9; cut"):
            again(inputs, tmp_path / "n", tile=(3, 3))
    again([again(packed, tmp_path / "1", tile=(3, 3)), again(other, tmp_path / "2", tile=(3, 3))],
          tmp_path / "n")  # fmt: skip
    require_cases(tmp_path / "n/s", CASES | found)


def test_coordinate_reference_systems_follow_their_cases(tmp_path):
    systems = {"one": {"case0": "A", "case1": "B"}, "two": {"case2": "A"}, "three": {}}
    for name, of_case in systems.items():
        which = {key: CASES[key] for key in of_case or ["case3"]}
        source = CaseArrays(which, systems=of_case)
        convert(source, tmp_path / name, split="s", tile=(4, 4), classes=3, workers=1)
    for tile in (None, (3, 3)):
        new = again([tmp_path / name / "s" for name in systems], tmp_path / f"o{tile}", tile=tile)
        said = attributes(new)["crs"]
        found = dict(zip(keys(new), said["case"], strict=True))
        assert said["wkt"] == ["A", "B"]
        assert found == {"case0": 0, "case1": 1, "case2": 0, "case3": -1}
        some = again(new, tmp_path / f"p{tile}", keys=["case0", "case2"])
        assert attributes(some)["crs"] == {"wkt": ["A"]}
        none = again(new, tmp_path / f"q{tile}", keys=["case3"])
        assert "crs" not in attributes(none)


# -- Damage, and being stopped ---------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("tile", [None, (3, 7)])
@pytest.mark.parametrize("field", ["image", "mask"])
def test_a_damaged_tile_ends_the_run_and_is_named(tmp_path, field, tile, workers):
    packed = pack(tmp_path / "a", codec="raw")
    shard = packed / field / "c/2" / ("0/0/0" if field == "image" else "0/0")
    second = 48 if field == "image" else 16  # where the shard's second tile begins
    with flipped(shard, second + 3, 1), pytest.raises(SourceError) as error:
        again(packed, tmp_path / "o", tile=tile, codec="zstd", workers=workers)
    row = 2 * 3 + 1
    assert str(error.value).startswith(f"{shard}: tile {tile_name(packed, row)!r} of {packed}: ")
    other = packed / ("mask" if field == "image" else "image")
    assert str(other) not in str(error.value)
    assert not any("--on-error" in note for note in getattr(error.value, "__notes__", ()))
    assert not (tmp_path / "o/s").exists()


def tile_name(split, row):
    group = zarr.open_group(str(split), mode="r")
    case = int(np.searchsorted(group["case_first_tile"][:], row, side="right")) - 1
    grid = -(-group["case_size"][case] // 4)
    place = np.unravel_index(row - int(group["case_first_tile"][case]), grid)
    return f"{keys(split)[case]}#{place[0] * 4},{place[1] * 4}"


@pytest.mark.parametrize("tile", [None, (3, 7)])
def test_a_lost_shard_and_a_damaged_digest_are_named(tmp_path, tile):
    packed = pack(tmp_path / "a")
    digest = zarr.open_array(str(packed / "digest"))
    before, digest[3] = digest[3], 1
    with pytest.raises(SourceError, match="the recorded digest is damaged") as error:
        again(packed, tmp_path / "o", tile=tile)
    said = str(error.value)
    assert said.startswith(f"{packed / 'digest'}: tile {tile_name(packed, 3)!r} of {packed}: ")
    digest[3] = before
    lost = packed / "mask/c/1/0/0"
    lost.unlink()
    with pytest.raises(SourceError, match="the shard is missing") as error:
        again(packed, tmp_path / "o", tile=tile, restart=True)
    assert str(lost) in str(error.value)
    assert f"tile {tile_name(packed, 3)!r} of {packed}" in str(error.value)


@pytest.mark.parametrize("tile", [None, (3, 7)])
def test_a_run_that_is_stopped_ends_as_if_it_had_not_been(packed, tmp_path, monkeypatch, tile):
    options = {"tile": tile, "shard_size": 200, "codec": "zstd"}
    whole = again(packed, tmp_path / "w", **options)
    save, left = ShardRecord.save, [1]

    def stop(record, path):
        save(record, path)
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    stops = 0
    while True:
        left[0] = 1
        with monkeypatch.context() as patch:
            patch.setattr(ShardRecord, "save", stop)
            try:
                again(packed, tmp_path / "o", **options)
            except KeyboardInterrupt:
                stops += 1
                continue
        break
    assert stops > 3
    assert contents(tmp_path / "o") == contents(whole.parent)
    with pytest.raises(SourceError, match=r"tile: .* there, 2x2 asked for.*--overwrite"):
        again(packed, tmp_path / "o", **options | {"tile": (2, 2)})
    assert repack(packed, tmp_path / "o", split="s", **options).status == "already packed"


def test_a_split_is_replaced_by_its_cases_of_other_tiles(tmp_path):
    packed = pack(tmp_path / "a")
    for status in ("packed", "already packed"):
        report = repack(packed, packed.parent, split="s", tile=(6, 6), overwrite=True, workers=1)
        assert report.status == status
        require_cases(packed, CASES)
    assert verify(packed, source=CaseArrays(CASES, affines=AFFINES), workers=1).ok


def test_every_stored_tile_is_read_once_where_bands_allow(packed, tmp_path, monkeypatch):
    read = []
    checked = stored_cases.StoredCases._read

    def noted(cases, rows):
        read.extend(rows.tolist())
        return checked(cases, rows)

    monkeypatch.setattr(stored_cases.StoredCases, "_read", noted)
    again(packed, tmp_path / "o", tile=(2, 3), codec="raw")
    assert sorted(read) == [*range(20)]
