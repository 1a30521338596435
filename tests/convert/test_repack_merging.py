"""Packed splits become one, or are refused, and both of two that do not fit are named."""

from __future__ import annotations

import resource
import shutil

import numpy as np
import pytest
import zarr

from former_tiles import pack_former_tiles
from packed import pack, write_originals
from stored_samples import attributes, by_key, require_same, texts
from zarrfeed.errors import SourceError, StoreError
from zarrfeed_convert import PairedFolders, convert, repack, verify

SAMPLES = 11


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    return {codec: pack(tmp_path_factory.mktemp(codec), codec).split for codec in ("raw", "lz4")}


@pytest.fixture(scope="module")
def tiled(tmp_path_factory):
    return pack(
        tmp_path_factory.mktemp("tiled"), "lz4", former_tiles=(3, 4), ignore=255, shard_size=200
    )


@pytest.fixture(scope="module")
def halves(stores, tmp_path_factory):
    """The samples in two splits, of other codecs and layouts."""
    out = tmp_path_factory.mktemp("halves") / "h.zarr"
    repack(stores["raw"], out, split="one", subset=slice(0, 11, 2), workers=1)
    repack(stores["raw"], out, split="two", subset=slice(1, 11, 2), codec="zstd", chunk_samples=1,
           workers=1)  # fmt: skip
    return out / "one", out / "two"


def test_splits_become_one(stores, halves, tmp_path):
    report = repack(halves, tmp_path / "o.zarr", split="all", workers=1)
    new = tmp_path / "o.zarr/all"
    require_same(by_key(new), by_key(stores["raw"]))
    assert report.packed == SAMPLES
    found = attributes(new)
    assert found["source"]["kind"] == "merged"
    described = found["source"]["inputs"]
    assert [part["path"] for part in described] == [str(half) for half in halves]
    for part, half in zip(described, halves, strict=True):
        assert part["source"] == attributes(half)["source"]
        assert part["settings"] == attributes(half)["packed"]["settings"]
    np.testing.assert_allclose(
        found["channels"]["mean"], attributes(stores["raw"])["channels"]["mean"]
    )
    assert verify(new, workers=1).ok


def test_parts_of_tiled_images_become_one_again(tiled, tmp_path):
    out = tmp_path / "o.zarr"
    repack(tiled.split, out, split="one", subset=slice(0, 30), workers=1)
    repack(tiled.split, out, split="two", subset=slice(30, None), workers=1)
    repack([out / "two", out / "one"], out, split="all", order="source", codec="lz4", workers=1)
    repack(tiled.split, out, split="same", order="source", workers=1)
    require_same(by_key(out / "all"), by_key(tiled.split))
    places = {}
    for name in ("all", "same"):
        group = zarr.open_group(str(out / name), mode="r")
        sources = texts(group["tile_source"][:])
        assert group["tile_size"].shape == (11, 2)
        places[name] = [(sources[image], y, x) for image, y, x in group["tile"][:].tolist()]
    assert places["all"] == places["same"]


def test_several_are_shuffled_and_stored_keeps_them_apart(halves, tmp_path):
    repack(halves, tmp_path / "o.zarr", split="stored", order="stored", workers=1)
    repack(halves, tmp_path / "o.zarr", split="mixed", workers=1)
    one, two = (list(by_key(half)) for half in halves)
    assert list(by_key(tmp_path / "o.zarr/stored")) == one + two
    assert list(by_key(tmp_path / "o.zarr/mixed")) not in (one + two, sorted(one + two))


def test_more_splits_than_are_open_at_a_time_become_one(stores, tmp_path, monkeypatch):
    monkeypatch.setattr("zarrfeed_convert.repacking.stored_source._OPEN_SPLITS", 3)
    real = resource.getrlimit
    few = {resource.RLIMIT_NOFILE: (4, 4)}  # a limit on files alone: memory has limits, too
    monkeypatch.setattr(resource, "getrlimit", lambda what: few.get(what) or real(what))
    out = tmp_path / "o.zarr"
    names = [f"p{row}" for row in range(SAMPLES)]
    for row, name in enumerate(names):
        repack(stores["lz4"], out, split=name, subset=[row], workers=1)
    repack([out / name for name in names], out, split="all", workers=1)
    require_same(by_key(out / "all"), by_key(stores["raw"]))


def test_a_name_that_two_splits_have_is_refused_or_told_apart(stores, halves, tmp_path):
    both = [stores["raw"], halves[1]]
    with pytest.raises(SourceError) as error:
        repack(both, tmp_path / "o.zarr", split="s")
    first = next(iter(by_key(halves[1])))
    for said in (repr(first), "4 more", str(halves[1]), str(stores["raw"]), "--prefix-keys"):
        assert said in str(error.value)
    repack(both, tmp_path / "o.zarr", split="s", prefix_keys=True, workers=1)
    names = {f"train/{key}" for key in by_key(stores["raw"])}
    names |= {f"two/{key}" for key in by_key(halves[1])}
    assert by_key(tmp_path / "o.zarr/s").keys() == names


def test_splits_of_the_same_name_are_told_apart_by_their_dataset(stores, tmp_path):
    shutil.copytree(stores["raw"].parent, tmp_path / "copy.zarr")
    both = [stores["raw"], tmp_path / "copy.zarr"]
    repack(both, tmp_path / "o.zarr", split="s", prefix_keys=True, workers=1)
    prefixes = {key.rpartition("/")[0] for key in by_key(tmp_path / "o.zarr/s")}
    assert prefixes == {"o/train", "copy/train"}


def test_names_that_were_changed_several_times_still_have_their_originals(stores, tmp_path):
    out = tmp_path / "o.zarr"
    repack(stores["raw"], out, split="one", subset=slice(5), prefix_keys=True, workers=1)
    repack(out / "one", out, split="two", prefix_keys=True, workers=1)
    repack(stores["raw"], out, split="rest", subset=slice(5, None), workers=1)
    repack([out / "two", out / "rest"], out, split="all", prefix_keys=True, workers=1)
    repack(out / "all", out, split="end", codec="lz4", workers=1)
    names = {key.rpartition("/")[0] for key in by_key(out / "end")}
    assert names == {"two/one/train", "rest"}
    for split in ("one", "two", "all", "end"):
        found = verify(out / split, source=True, workers=1)
        assert found.ok, found.problems
        assert found.splits[0].originals == found.splits[0].samples


@pytest.mark.parametrize(
    ("options", "shape", "said"),
    [
        ({"classes": "a,b,c"}, (7, 6, 3), r"classes: needed 3 \(0, 1, 2\), as in .* 3 \(a, b, c\)"),
        ({"ignore": 255}, (7, 6, 3), "ignored id: needed none, as in .*, found 255"),
        ({}, (7, 5, 3), "each image: needed 7×6×3, as in .*, found 7×5×3"),
        ({}, (7, 6, 4), "each image: needed 7×6×3, as in .*, found 7×6×4"),
        ({"former_tiles": (7, 6)}, (7, 6, 3), "needed whole images, as in .*, found tiles"),
    ],
)
def test_splits_of_other_kinds_are_refused_naming_both(stores, tmp_path, options, shape, said):
    write_originals(tmp_path / "data", 3, shape)
    pairs = PairedFolders(tmp_path / "data/images", tmp_path / "data/masks")
    options = {"split": "other", "classes": 3, "workers": 1} | options
    if "former_tiles" in options:
        pack_former_tiles(pairs, tmp_path / "b.zarr", size=options.pop("former_tiles"), **options)
    else:
        convert(pairs, tmp_path / "b.zarr", **options)
    with pytest.raises(SourceError, match=said) as error:
        repack([stores["raw"], tmp_path / "b.zarr/other"], tmp_path / "o.zarr", split="s")
    assert str(error.value).startswith(str(tmp_path / "b.zarr/other"))
    assert str(stores["raw"]) in str(error.value)
    assert not (tmp_path / "o.zarr").exists()


def test_a_dataset_of_other_classes_takes_no_split_of_these(stores, tmp_path):
    write_originals(tmp_path / "data", 3)
    pairs = PairedFolders(tmp_path / "data/images", tmp_path / "data/masks")
    convert(pairs, tmp_path / "b.zarr", split="other", classes="a,b,c", workers=1)
    with pytest.raises(
        SourceError, match=r"those of other, 3 \(a, b, c\); found in .* 3 \(0, 1, 2\)"
    ):
        repack(stores["raw"], tmp_path / "b.zarr", split="s")


def test_only_packed_splits_are_repacked(stores, halves, tmp_path):
    group = zarr.open_group(str(tmp_path / "foreign.zarr"), mode="w")
    group.create_array("image", data=np.zeros((2, 3, 3, 1), np.uint8))
    with pytest.raises(SourceError, match="found another Zarr group"):
        repack(tmp_path / "foreign.zarr", tmp_path / "o.zarr", split="s")
    with pytest.raises(
        SourceError, match=r"needed one split, found one, two; give its path, such as .*/one"
    ):
        repack(halves[0].parent, tmp_path / "o.zarr", split="s")
    with pytest.raises(StoreError, match="no such store"):
        repack(tmp_path / "nothing.zarr", tmp_path / "o.zarr", split="s")
    with pytest.raises(SourceError, match="at least one split, found none"):
        repack([], tmp_path / "o.zarr", split="s")
    shutil.copytree(stores["raw"].parent, tmp_path / "more.zarr")
    more = zarr.open_group(str(tmp_path / "more.zarr/train"))
    more.create_array("depth", data=np.zeros((SAMPLES, 7, 6), np.float32))
    with pytest.raises(SourceError, match="found image, mask, depth"):
        repack(tmp_path / "more.zarr", tmp_path / "o.zarr", split="s")
    assert not (tmp_path / "o.zarr").exists()


ADDED = {
    "complex": lambda split: split.create_array("more", data=np.zeros((SAMPLES, 2), np.complex64)),
    "scalar": lambda split: split.create_array("more", data=np.array(0)),
    "group": lambda split: split.create_group("more").create_array("a", data=np.zeros(SAMPLES)),
}


@pytest.mark.parametrize("kind", ADDED)
def test_what_somebody_added_to_a_split_is_not_lost_in_silence(stores, tmp_path, kind):
    split = tmp_path / "more.zarr/train"
    shutil.copytree(stores["raw"].parent, split.parent)
    ADDED[kind](zarr.open_group(str(split)))
    with pytest.raises(SourceError, match="found image, mask, more; remove the other"):
        repack(split, tmp_path / "o.zarr", split="s")
    with pytest.raises(SourceError, match=r"train: needed only arrays .*found more, .*move it"):
        repack(stores["raw"], split.parent, split="train", overwrite=True)
    assert (split / "more/zarr.json").exists()
    shutil.move(split / "more", tmp_path / "more")  # as the messages advise
    repack(split, tmp_path / "o.zarr", split="s", workers=1)
    repack(stores["raw"], split.parent, split="train", overwrite=True, workers=1)


def test_a_layout_that_splits_do_not_share_is_decided(halves, stores, tmp_path):
    def values(inputs):
        report = repack(inputs, tmp_path / "o.zarr", split="s", dry_run=True, workers=1)
        return {decision.what: decision.value for decision in report.decisions}

    alone = values(halves[1])
    assert (alone["chunk rows"], alone["image codec"], alone["order"]) == ("1", "zstd-1", "stored")
    both = values(halves)
    assert (both["chunk rows"], both["order"]) == ("11", "shuffled")
    assert not (tmp_path / "o.zarr").exists()
