"""Masks with a channel for each class, of which a pixel may have several, or none."""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from former_tiles import pack_former_tiles
from overlapping import Overlapping
from stored_samples import arrays, require_verified
from zarrfeed import (
    StoreError,
    ZarrSequence,
    class_pixels,
    open_split,
    read_samples,
    stitch,
)
from zarrfeed.errors import SourceError
from zarrfeed_convert import (
    PairedFolders,
    classes_of,
    convert,
    repack,
    verify,
)
from zarrfeed_convert.labels import Labels
from zarrfeed_convert.sources.arrays.npz import NpzArrays
from zarrfeed_tools.application import app

SIZE = (12, 10)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def in_order(path, keys):
    """The arrays of a split, in the order of these keys."""
    group = zarr.open_group(path, mode="r")
    names = [bytes(row).rstrip(b"\0").decode() for row in group["key"][:]]
    order = [names.index(key) for key in keys]
    return {name: group[name][:][order] for name in ("image", "mask", "class_pixels")}


@hypothesis_settings(max_examples=25)
@given(
    size=st.one_of(st.tuples(*[st.integers(1, 9)] * 2), st.tuples(*[st.integers(1, 6)] * 3)),
    count=st.integers(1, 5),
    classes=st.integers(1, 6),
    codec=st.sampled_from(["raw", "lz4", "zstd"]),
    chunk=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_masks_come_back_and_each_class_is_counted(size, count, classes, codec, chunk, seed):
    source = Overlapping([size] * count, classes, seed)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "o.zarr")
        report = convert(source, out, split="t", codec=codec, chunk_samples=chunk, workers=1)
        require_verified(out, source=source, workers=1)
        found = in_order(str(out / "t"), source.keys)
        np.testing.assert_array_equal(found["mask"], source.masks)
        assert found["mask"].dtype == np.uint8
        axes = tuple(range(1, 1 + len(size)))
        np.testing.assert_array_equal(found["class_pixels"], np.sum(source.masks, axis=axes))
        split, total = open_split(out / "t"), np.sum(source.masks, axis=(0, *axes))
        assert split.multi_hot
        np.testing.assert_array_equal(class_pixels(split, range(count)), total)
        pixels = count * np.prod(size)
        assert [(of.name, of.pixels, of.share) for of in classes_of(split)] == [
            (str(number), pixel, pixel / pixels) for number, pixel in enumerate(total.tolist())
        ]
        assert report.classes == classes_of(split)


def test_the_last_axis_is_called_class():
    convert(Overlapping([SIZE]), "o.zarr", split="t", workers=1)
    mask = zarr.open_array("o.zarr/t/mask")
    assert mask.metadata.dimension_names == ("sample", "y", "x", "class")


@pytest.mark.parametrize("fit", ["resize", "crop", "pad"])
def test_masks_go_through_the_geometry_and_are_padded_with_no_class(fit):
    source = Overlapping([(12, 10), (9, 11)])
    size = {"resize": (7, 6), "crop": (8, 9), "pad": (13, 12)}[fit]
    convert(source, "o.zarr", split="t", size=size, fit=fit, workers=1)
    require_verified("o.zarr", source=source, workers=1)
    split = open_split("o.zarr/t")
    count = split.layouts["mask"].shape[0]
    masks = read_samples(split, "mask", range(count))
    np.testing.assert_array_equal(class_pixels(split, range(count)), masks.sum(axis=(0, 1, 2)))
    if fit == "pad":
        padded = in_order("o.zarr/t", source.keys)["mask"]
        np.testing.assert_array_equal(padded[0, :12, :10], source.masks[0])
        assert not padded[0, 12:].any()
        assert not padded[0, :, 10:].any()


def test_tiles_of_before_are_verified_and_stitched():
    source = Overlapping([(12, 10), (9, 11)])
    pack_former_tiles(source, "o.zarr", split="t", size=(5, 4), overlap=1)
    require_verified("o.zarr", source=source, workers=1)
    split = open_split("o.zarr/t")
    masks = read_samples(split, "mask", range(split.layouts["mask"].shape[0]))
    whole = dict(stitch(split, masks))
    for key, mask in zip(source.keys, source.masks, strict=True):
        np.testing.assert_array_equal(whole[key], mask)


@pytest.mark.parametrize("workers", [1, 2])
def test_repacked_and_merged_splits_keep_masks_and_counts(workers):
    one, other = Overlapping([SIZE] * 4), Overlapping([SIZE] * 3, seed=1)
    convert(one, "o.zarr", split="a", classes="x,y,z", workers=workers)
    convert(other, "o.zarr", split="b", workers=workers)
    repack("o.zarr/a", "p.zarr", split="a", codec="zstd", order="source", workers=workers)
    require_verified("p.zarr", source=one, workers=1)
    planned = repack(["o.zarr/a", "o.zarr/b"], "q.zarr", split="c", prefix_keys=True, dry_run=True)
    done = repack(["o.zarr/a", "o.zarr/b"], "q.zarr", split="c", prefix_keys=True, workers=workers)
    assert [of.share for of in planned.classes] == [of.share for of in done.classes]
    require_verified("q.zarr", workers=1)
    found = in_order("q.zarr/c", [f"a/{key}" for key in one.keys] + [f"b/{k}" for k in other.keys])
    np.testing.assert_array_equal(found["mask"], one.masks + other.masks)
    np.testing.assert_array_equal(found["class_pixels"], found["mask"].sum(axis=(1, 2)))
    assert open_split("q.zarr/c").classes == ("x", "y", "z")


def test_a_pixel_that_changed_its_class_is_found():
    convert(Overlapping([SIZE] * 3), "o.zarr", split="t", codec="raw", workers=1)
    path = Path("o.zarr/t/mask/c/0/0/0/0")
    content = bytearray(path.read_bytes())
    content[7] ^= 1
    path.write_bytes(content)
    problems = verify("o.zarr").problems
    assert {problem.kind for problem in problems} == {"file-damaged", "sample-changed"}
    assert {file for problem in problems for file in problem.files} == {str(path.absolute())}


@pytest.mark.parametrize("place", [0, 4])
def test_a_count_that_changed_is_found(place):
    convert(Overlapping([SIZE] * 3), "o.zarr", split="t", workers=1)
    counts = zarr.open_array("o.zarr/t/class_pixels")
    counts[place // 3, place % 3] += 1
    assert [(problem.kind, problem.files) for problem in verify("o.zarr").problems] == [
        ("statistics", (str(Path("o.zarr/t/class_pixels").absolute()),))
    ]


def test_masks_larger_than_images_decide_how_large_shards_are():
    convert(
        Overlapping([SIZE] * 8, classes=12),
        "o.zarr",
        split="t",
        chunk_samples=1,
        shard_size=12 * 10 * 12 * 2,
        workers=1,
    )
    assert zarr.open_array("o.zarr/t/mask").shards[0] == 2


def test_bool_masks_of_iterables_have_a_channel_for_each_class():
    source = Overlapping([SIZE] * 4, classes=2)
    masks = [mask > 0 for mask in source.masks]
    convert(zip(source.images, masks, strict=True), "o.zarr", split="t", workers=1)
    found = in_order("o.zarr/t", [f"{number:08}" for number in range(4)])
    np.testing.assert_array_equal(found["mask"], source.masks)
    require_verified("o.zarr", workers=1)


IMAGE, HOT = np.zeros((*SIZE, 3), np.uint8), np.eye(4, dtype=np.uint8)[np.arange(120) % 4]
HOT = HOT.reshape(*SIZE, 4)


@pytest.mark.parametrize(
    ("pairs", "said", "instead"),
    [
        ([(IMAGE, HOT)], r"as bool, like mask > 0", [(IMAGE, HOT > 0)]),
        ([(IMAGE, HOT)], r"np\.argmax\(mask, axis=-1\)", [(IMAGE, np.argmax(HOT, axis=-1))]),
        ([(IMAGE, HOT * 0.5)], r"as bool, like mask > 0", [(IMAGE, HOT * 0.5 > 0)]),
        (
            [(IMAGE, HOT > 0), (IMAGE, HOT[..., :3] > 0)],
            "a channel for every class, also where it is empty",
            [(IMAGE, HOT > 0), (IMAGE, (HOT > 0) & [True] * 3 + [False])],
        ),
        (
            [(np.zeros((6, 7, 8), np.uint8), np.zeros((6, 7, 8), np.bool_))],
            r"volumes without channels\? Give image",
            None,
        ),
    ],
)
def test_iterables_are_told_what_to_give_instead(pairs, said, instead):
    with pytest.raises(SourceError, match=said):
        convert(pairs, "o.zarr", split="t", workers=1)
    if instead is not None:
        convert(instead, "o.zarr", split="t", workers=1)
        require_verified("o.zarr", workers=1)


def ids(count=2):
    return [(IMAGE, np.arange(120).reshape(SIZE) % 3)] * count


def test_class_ids_and_multi_hot_masks_do_not_mix_in_a_dataset():
    convert(Overlapping([SIZE]), "o.zarr", split="train", classes=3, workers=1)
    for more in ({}, {"classes": 3}):
        with pytest.raises(
            SourceError, match=r"needed multi-hot masks .* found class ids; use --ma"
        ):
            convert(ids(), "o.zarr", split="val", workers=1, **more)
    convert(ids(), "p.zarr", split="train", classes=3, workers=1)
    with pytest.raises(SourceError, match=r"needed class ids, as .* multi-hot .* one-hot=0"):
        convert(Overlapping([SIZE]), "p.zarr", split="val", workers=1)
    with pytest.raises(SourceError, match=r"p\.zarr: .*o\.zarr/train: masks must be of one kind"):
        repack("o.zarr/train", "p.zarr", split="val")
    with pytest.raises(SourceError, match="the shape of each mask: needed 12×10×3"):
        repack(["o.zarr/train", "p.zarr/train"], "q.zarr", split="all")
    convert(Overlapping([SIZE], classes=4), "o.zarr", split="train", overwrite=True, workers=1)
    assert open_split("o.zarr/train").classes == ("0", "1", "2", "3")


def test_images_without_masks_join_multi_hot_masks_before_and_after():
    images = [{"image": IMAGE}]
    convert(images, "o.zarr", split="test", classes="a,b,c", workers=1)
    convert(Overlapping([SIZE]), "o.zarr", split="train", workers=1)
    convert(images, "o.zarr", split="more", workers=1)
    assert open_split("o.zarr/train").classes == ("a", "b", "c")
    require_verified("o.zarr", workers=1)
    with pytest.raises(SourceError, match="needed multi-hot masks"):
        convert(ids(), "o.zarr", split="val", workers=1)


@pytest.mark.parametrize(
    ("asked", "said", "instead"),
    [
        ({"ignore": 255}, "leave --ignore out", {}),
        ({"classes": "a,b"}, "needed a name for each of the 3 channels", {"classes": "a,b,c"}),
        ({"classes": 4}, "found 4 .* from --classes", {"classes": 3}),
    ],
)
def test_what_does_not_go_with_multi_hot_masks_is_refused(asked, said, instead):
    with pytest.raises(SourceError, match=said):
        convert(Overlapping([SIZE]), "o.zarr", split="t", workers=1, **asked)
    convert(Overlapping([SIZE]), "o.zarr", split="t", workers=1, **instead)


def test_the_other_splits_classes_bind():
    convert(Overlapping([SIZE], classes=2), "o.zarr", split="train", classes="a,b", workers=1)
    with pytest.raises(
        SourceError, match=r"each of the 3 channels .* 2 .* from the dataset's other"
    ):
        convert(Overlapping([SIZE]), "o.zarr", split="val", workers=1)
    with pytest.raises(SourceError, match="classes must be the same in all splits"):
        convert(Overlapping([SIZE]), "o.zarr", split="val", classes="a,b,c", workers=1)


@pytest.mark.parametrize(
    "change",
    [lambda mask: mask * 2, lambda mask: mask.astype(np.float32), lambda mask: mask[..., 0]],
)
def test_a_source_that_gives_something_else_is_named(change):
    source = Overlapping([SIZE])
    header = source.probe(0)
    source.masks[0] = change(source.masks[0])
    source.probe = lambda _: header
    with pytest.raises(SourceError, match=r"^s0: "):
        convert(source, "o.zarr", split="t", workers=1)


def test_class_weight_says_where_weights_go_instead():
    convert(Overlapping([SIZE] * 4), "o.zarr", split="t", workers=1)
    for weight in ("balanced", {0: 2.0}):
        with pytest.raises(StoreError, match=r"several classes, or none: weigh .* weights="):
            ZarrSequence("o.zarr/t", 2, class_weight=weight)

    def weigh(image, mask, rng):
        return {"image": image, "mask": mask, "weight": 1 + mask[..., 0].astype(np.float32)}

    how = {"inputs": "image", "targets": "mask", "weights": "weight", "transform": weigh}
    with ZarrSequence("o.zarr/t", 2, **how) as seq:
        _, mask, weight = seq[0]
        assert mask.shape == (2, *SIZE, 3)
        np.testing.assert_array_equal(weight, 1 + mask[..., 0])


def test_the_demonstration_says_what_such_masks_take():
    from zarrfeed_tools.demonstration import open_sequences

    convert(Overlapping([SIZE] * 4), "o.zarr", split="train", workers=1)
    with pytest.raises(StoreError, match=r"needed masks of class ids .* a sigmoid per class"):
        open_sequences(Path("o.zarr"), batch_size=2, seed=0)


@pytest.mark.parametrize("end", ["png", "tif"])
def test_the_command_packs_channels_of_files_and_verifies_them(end):
    masks = Overlapping([SIZE] * 3).masks
    for number, mask in enumerate(masks):
        for folder, values in (("i", IMAGE), ("m", mask * np.uint8(255))):
            Path(folder).mkdir(exist_ok=True)
            Image.fromarray(values).save(f"{folder}/{number}.{end}")
    run = partial(CliRunner().invoke, app, env={"COLUMNS": "200"})
    words = ["--split", "t", "--images", "i", "--masks", "m", "--workers", "1"]
    done = run(["convert", "o.zarr", *words, "--classes", "cell,nucleus,debris"])
    assert done.exit_code == 1
    assert "#" in str(done.exception)  # taken for colours
    words += ["--mask-map", "multi-hot"]
    planned = run(["convert", "o.zarr", *words, "--classes", "cell,nucleus,debris", "--dry-run"])
    assert "a pixel may have several classes or none" in " ".join(planned.output.split()), (
        planned.output
    )
    done = run(["convert", "o.zarr", *words, "--classes", "cell,nucleus,debris"])
    assert done.exit_code == 0, done.output
    done = run(["verify", "o.zarr", "--source", "--workers", "1"])
    assert done.exit_code == 0, done.output
    shown = json.loads(run(["inspect", "o.zarr", "--json"]).output)[0]["classes"]
    counts = np.sum(masks, axis=(0, 1, 2)).tolist()
    assert [of["pixels"] for of in shown] == counts
    assert shown[1]["share"] == counts[1] / (3 * 12 * 10)
    np.testing.assert_array_equal(in_order("o.zarr/t", ["0", "1", "2"])["mask"], masks)


def test_further_masks_are_multi_hot_as_the_mask_is():
    before, after = (Overlapping([SIZE] * 3, seed=seed).masks for seed in (1, 2))
    for number in range(3):
        for folder, values in (("i", IMAGE), ("m", after[number]), ("b", before[number])):
            Path(folder).mkdir(exist_ok=True)
            Image.fromarray(values).save(f"{folder}/{number}.png")
    pairs = PairedFolders("i", "m", fields={"before": "mask:b"}, mask_map="multi-hot")
    convert(pairs, "o.zarr", split="t", order="source", workers=1)
    require_verified("o.zarr", source=True, workers=1)
    found = zarr.open_group("o.zarr/t", mode="r")
    np.testing.assert_array_equal(found["before"][:], before)
    np.testing.assert_array_equal(found["mask"][:], after)


def test_arrays_of_volumes_keep_their_channels():
    source = Overlapping([(4, 6, 5)] * 3)
    np.savez("a.npz", x=source.images, y=source.masks)
    arrays = NpzArrays("a.npz:x", "a.npz:y", axes="NDHWC", mask_map="multi-hot")
    convert(arrays, "o.zarr", split="t", order="source", size=(5, 6, 6), fit="pad", workers=1)
    require_verified("o.zarr", source=True, workers=1)
    found = zarr.open_group("o.zarr/t", mode="r")
    np.testing.assert_array_equal(found["mask"][:, :4, :, :5], source.masks)
    assert found["mask"][:].sum() == np.sum(source.masks)
    assert found["mask"].metadata.dimension_names == ("sample", "z", "y", "x", "class")


def test_a_class_has_no_more_pixels_than_an_image():
    source = Overlapping([SIZE] * 2)
    for mask in source.masks:
        mask[..., 1] = 1
    convert(source, "o.zarr", split="t", workers=1)
    assert class_pixels(open_split("o.zarr/t"), [0, 1])[1] == 2 * 120
    zarr.open_array("o.zarr/t/class_pixels")[0, 1] = 121
    with pytest.raises(StoreError, match="needed counts from 0 to 120"):
        class_pixels(open_split("o.zarr/t"), [0])


def test_a_stopped_run_goes_on_to_the_same_bytes(monkeypatch):
    how = {"split": "t", "chunk_samples": 1, "shard_size": 2 * 12 * 10 * 3, "order": "source"}
    how["codec"] = "raw"  # no samples are tried
    source = Overlapping([SIZE] * 6)
    convert(source, "p.zarr", workers=1, **how)
    read = Overlapping.read

    def stopped(self, sample):
        if sample == 5:
            raise KeyboardInterrupt
        return read(self, sample)

    with monkeypatch.context() as patch:
        patch.setattr(Overlapping, "read", stopped)
        with pytest.raises(KeyboardInterrupt):
            convert(source, "o.zarr", workers=1, **how)
    steps = []
    how["progress"] = lambda what, done, total: steps.append((what, done, total))
    convert(source, "o.zarr", workers=1, **how)
    assert next(done for what, done, _ in steps if what == "packing") == 4
    require_verified("o.zarr", source=source, workers=1)
    for field in ("mask", "class_pixels"):
        assert arrays(Path("o.zarr/t") / field) == arrays(Path("p.zarr/t") / field)


def test_journals_of_class_ids_are_those_of_before():
    assert Labels(("a",), 9).to_json() == {"classes": ("a",), "ignore": 9, "binary": False}
    assert json.dumps(Labels((), None, multi_hot=None).to_json()).count("multi") == 0
    assert Labels(("a",), None, multi_hot=True).to_json()["multi_hot"] is True
