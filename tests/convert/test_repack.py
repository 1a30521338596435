"""A repacked split holds what the packed ones held, whatever else about it is new."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import tensorstore
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from folders import contents
from former_tiles import pack_former_tiles
from packed import CODECS, make_older, pack
from stored_samples import arrays, attributes, by_key, require_same, texts
from zarrfeed import open_split
from zarrfeed.errors import SourceError
from zarrfeed_convert import PairedFolders, convert, repack, verify

SAMPLE = 7 * 6 * 3  # bytes of an image of `packed`
SAMPLES = 11


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """The same 11 samples in every codec."""
    return {codec: pack(tmp_path_factory.mktemp(codec), codec).split for codec in CODECS}


@pytest.fixture(scope="module")
def tiled(tmp_path_factory):
    """Samples that are tiles: 11 images of 7×6 in six tiles each."""
    return pack(
        tmp_path_factory.mktemp("tiled"), "lz4", former_tiles=(3, 4), ignore=255, shard_size=200
    )


# -- What stays, whatever changes ------------------------------------------------------------------


@given(
    before=st.sampled_from(CODECS),
    codec=st.sampled_from(["keep", "auto", *CODECS]),
    chunk_samples=st.none() | st.integers(1, 12),
    shard_samples=st.none() | st.integers(1, 12),
    order=st.sampled_from([None, "stored", "source", "shuffled"]),
    seed=st.integers(0, 3),
    rows=st.none() | st.sets(st.integers(0, SAMPLES - 1), min_size=1),
)
@settings(max_examples=30)
def test_samples_and_what_is_known_of_them_are_carried_over(
    stores, before, codec, chunk_samples, shard_samples, order, seed, rows
):
    with tempfile.TemporaryDirectory() as folder:
        report = repack(
            stores[before],
            Path(folder, "o.zarr"),
            split="new",
            codec=codec,
            chunk_samples=chunk_samples,
            shard_size=None if shard_samples is None else shard_samples * SAMPLE,
            order=order,
            seed=seed,
            subset=None if rows is None else list(rows),
            workers=1,
        )
        new = Path(folder, "o.zarr/new")
        stored = by_key(stores[before])
        chosen = range(SAMPLES) if rows is None else sorted(rows)
        keys = [list(stored)[row] for row in chosen]
        found = by_key(new)
        require_same(found, {key: stored[key] for key in keys})
        assert (report.status, report.found, report.packed) == ("packed", SAMPLES, len(keys))
        if order in (None, "stored"):
            assert list(found) == keys
        elif order == "source":
            assert list(found) == sorted(keys)
        layout = open_split(new).layouts["image"]
        assert layout.chunk_rows == (chunk_samples or min(2, len(keys)))
        verified = verify(new, workers=1)
        assert verified.ok, verified.problems


@pytest.mark.parametrize("order", ["source", "shuffled"])
@pytest.mark.parametrize("codec", CODECS)
def test_it_is_what_a_conversion_would_have_packed(stores, tmp_path, codec, order):
    """Byte for byte, so that a store need not be packed anew from its source to be another."""
    wanted = {"codec": codec, "chunk_samples": 3, "shard_size": 6 * SAMPLE, "order": order}
    before = next(iter(stores[other] for other in CODECS if other != codec))
    repack(before, tmp_path / "a.zarr", split="train", seed=7, workers=1, **wanted)
    source = attributes(before)["source"]
    pairs = PairedFolders(source["images"], source["masks"])
    convert(pairs, tmp_path / "b.zarr", split="train", classes=3, seed=7, workers=1, **wanted)
    assert arrays(tmp_path / "a.zarr/train") == arrays(tmp_path / "b.zarr/train")
    assert contents(tmp_path / "a.zarr").keys() == contents(tmp_path / "b.zarr").keys()
    one, other = attributes(tmp_path / "a.zarr/train"), attributes(tmp_path / "b.zarr/train")
    assert one["channels"] == other["channels"]
    assert one["source"] == other["source"]
    assert one["packed"]["settings"] == other["packed"]["settings"]


def test_the_number_of_workers_changes_nothing(stores, tmp_path):
    for workers in (1, 3):
        repack(stores["raw"], tmp_path / f"{workers}.zarr", split="s", codec="lz4", order="source",
               workers=workers)  # fmt: skip
    assert contents(tmp_path / "1.zarr") == contents(tmp_path / "3.zarr")


def test_a_repacked_split_can_still_be_compared_with_its_source(stores, tmp_path):
    repack(stores["raw"], tmp_path / "o.zarr", split="s", codec="zstd", order="source", workers=1)
    found = verify(tmp_path / "o.zarr", source=True, workers=1)
    assert found.ok
    assert found.splits[0].originals == SAMPLES


@pytest.mark.parametrize("codec", CODECS)
def test_tensorstore_reads_it(stores, tmp_path, codec):
    repack(stores["raw"], tmp_path / "o.zarr", split="s", codec=codec, chunk_samples=3, workers=1)
    for name in ("image", "mask", "key", "digest", "channel_sums", "dhash"):
        path = str(tmp_path / "o.zarr/s" / name)
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": path}}
        found = tensorstore.open(spec).result().read().result()
        np.testing.assert_array_equal(found, zarr.open_array(str(stores["raw"] / name))[:])


def test_other_kinds_of_pixels_come_through(tmp_path, save):
    """16 bits, whose bytes blosc shuffles; black images, whose sums have no file."""
    rng = np.random.default_rng(0)
    for sample in range(5):
        image = rng.integers(0, 2**16, (6, 5, 3), np.uint16)
        save(tmp_path / f"images/{sample}.png", image if sample else np.zeros_like(image))
        save(tmp_path / f"masks/{sample}.png", rng.integers(0, 300, (6, 5)).astype(np.uint16))
    pairs = PairedFolders(tmp_path / "images", tmp_path / "masks")
    convert(pairs, tmp_path / "a.zarr", split="s", classes=300, workers=1)
    repack(tmp_path / "a.zarr", tmp_path / "b.zarr", split="s", codec="lz4", chunk_samples=2,
           subset=slice(0, 4), workers=1)  # fmt: skip
    repack(tmp_path / "b.zarr/s", tmp_path / "c.zarr", split="s", codec="raw", workers=1)
    stored, found = by_key(tmp_path / "a.zarr/s"), by_key(tmp_path / "c.zarr/s")
    require_same(found, {key: stored[key] for key in list(stored)[:4]})
    black = repack(tmp_path / "a.zarr", tmp_path / "d.zarr", split="s", keys=["0"], workers=1)
    assert black.packed == 1
    assert attributes(tmp_path / "d.zarr/s")["channels"] == {"mean": [0.0] * 3, "std": [0.0] * 3}


def test_what_an_older_zarrfeed_did_not_count_is_counted(tmp_path):
    packed = pack(tmp_path, "lz4")
    stored, channels = by_key(packed.split), attributes(packed.split)["channels"]
    hashes = packed.array("dhash")[:]
    make_older(packed)
    repack(packed.split, tmp_path / "new.zarr", split="train", workers=1)
    require_same(by_key(tmp_path / "new.zarr/train"), stored)
    assert attributes(tmp_path / "new.zarr/train")["channels"] == channels
    found = zarr.open_array(str(tmp_path / "new.zarr/train/dhash"))[:]
    np.testing.assert_array_equal(found, hashes)
    assert verify(tmp_path / "new.zarr", workers=1).ok


# -- Which samples ---------------------------------------------------------------------------------


@given(
    start=st.none() | st.integers(-13, 13),
    stop=st.none() | st.integers(-13, 13),
    step=st.none() | st.sampled_from([1, 2, 5, -1, -3]),
)
def test_a_slice_a_list_and_a_mask_choose_the_same(stores, start, stop, step):
    rows = np.arange(SAMPLES)[start:stop:step]
    mask = np.isin(np.arange(SAMPLES), rows)
    wishes = [slice(start, stop, step), rows.tolist(), mask, rows - SAMPLES]
    for wish in wishes:
        options = {"split": "s", "subset": wish, "dry_run": True, "workers": 1}
        if not rows.size:
            with pytest.raises(SourceError, match="subset or keys choose none of 11"):
                repack(stores["raw"], "nowhere.zarr", **options)
            continue
        assert repack(stores["raw"], "nowhere.zarr", **options).packed == rows.size
    assert not Path("nowhere.zarr").exists()


def test_samples_are_chosen_by_name(stores, tmp_path):
    report = repack(stores["raw"], tmp_path / "o.zarr", split="s", keys=["s07", "s02"], workers=1)
    stored = list(by_key(stores["raw"]))
    assert list(by_key(tmp_path / "o.zarr/s")) == [k for k in stored if k in ("s07", "s02")]
    assert report.packed == 2


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"keys": ["s01", "s99", "x"]}, r"the 11 samples, such as 's\d\d', found 's99', 'x'"),
        ({"keys": ["s01", "s01"]}, "at most once, found 's01' twice"),
        ({"keys": "s01"}, "found the text"),
        ({"keys": []}, "keys choose none"),
        ({"keys": ["s01"], "subset": slice(2)}, "found both"),
        ({"subset": [1, 2, 12]}, "below 11, found 12"),
        ({"subset": [1, -10]}, "found sample 1 twice"),
        ({"subset": [0.5]}, "found float64"),
        ({"subset": [True, False]}, "11 booleans, found 2"),
        ({"codec": "lzma"}, "codec: needed one of .*found 'lzma'"),
        ({"order": "random"}, "order: needed one of"),
        ({"chunk_samples": 0}, "at least 1, found 0"),
        ({"workers": 0}, "workers: needed at least 1"),
    ],
)
def test_a_wish_that_means_nothing_is_refused(stores, tmp_path, wish, said):
    with pytest.raises(SourceError, match=said):
        repack(stores["raw"], tmp_path / "o.zarr", split="s", **wish)
    assert not (tmp_path / "o.zarr").exists()


def test_tiles_keep_their_places(tiled, tmp_path):
    repack(tiled.split, tmp_path / "a.zarr", split="train", codec="raw", order="source", workers=1)
    pairs = PairedFolders(tiled.images, tiled.masks)
    layout = {"codec": "raw", "chunk_samples": 2, "shard_size": 200, "workers": 1,
              "order": "source"}  # fmt: skip
    kind = {"classes": 3, "ignore": 255, "size": (3, 4)}
    pack_former_tiles(pairs, tmp_path / "b.zarr", split="train", **kind, **layout)
    for name, values in zarr.open_group(tmp_path / "b.zarr/train", mode="r").arrays():
        np.testing.assert_array_equal(
            zarr.open_array(tmp_path / "a.zarr/train" / name, mode="r")[:], values[:]
        )
    assert verify(tmp_path / "a.zarr", source=True, workers=1).ok


def test_tiles_are_shuffled_over_the_whole_split(tiled, tmp_path):
    keys = list(by_key(tiled.split))
    for seed in (3, 4):
        repack(tiled.split, tmp_path / f"{seed}.zarr", split="train", order="shuffled", seed=seed,
               workers=1)  # fmt: skip
    one, other = (list(by_key(tmp_path / f"{seed}.zarr/train")) for seed in (3, 4))
    assert sorted(one) == sorted(other) == sorted(keys)
    assert one != other
    assert verify(tmp_path / "3.zarr", source=True, workers=1).ok


def test_the_name_of_an_image_chooses_its_tiles(tiled, tmp_path):
    names = [key for key in by_key(tiled.split) if key.startswith(("s03#", "s09#"))]
    repack(tiled.split, tmp_path / "o.zarr", split="s", keys=["s09", "s03"], workers=1)
    assert list(by_key(tmp_path / "o.zarr/s")) == names
    group = zarr.open_group(str(tmp_path / "o.zarr/s"), mode="r")
    sources = texts(group["tile_source"][:])
    assert sources == ["s03", "s09"]
    assert group["tile_size"][:].tolist() == [[7, 6]] * 2
    place = [f"{sources[image]}#{y},{x}" for image, y, x in group["tile"][:].tolist()]
    assert place == names
    assert verify(tmp_path / "o.zarr", workers=1).ok
