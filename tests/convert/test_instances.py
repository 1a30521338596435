"""Masks of instances are packed, checked, repacked and trained with as what they are."""

from __future__ import annotations

import json

import imagecodecs
import keras
import numpy as np
import pytest

import zarrfeed
from zarrfeed import RandomPatches, ZarrSequence
from zarrfeed.errors import SourceError, StoreError
from zarrfeed_convert import convert, open_source, repack, verify
from zarrfeed_convert.sources.instances.border_weights import border_weights

pytest.importorskip("pycocotools")

COUNT, SIZE = 6, (20, 24)
# Left and right cells of class 1 that touch at column 10, and a crowd of class 2 below them.
MASK = np.zeros(SIZE, np.uint8)
MASK[2:12, 4:16] = 1
CROWD = np.zeros(SIZE, bool)
CROWD[15:, :] = True
STRUCTURE = {"inputs": "image", "targets": "mask", "weights": "weight"}


def rle(shape):
    flat = shape.ravel("F")
    ends = (np.flatnonzero(np.diff(flat)) + 1).tolist()
    return {"size": list(SIZE), "counts": np.diff([0, *ends, flat.size]).tolist()}


def cells():
    left, right = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    left[2:12, 4:10], right[2:12, 10:16] = True, True
    return left, right


@pytest.fixture
def coco(tmp_path, monkeypatch):
    """Write images with two cells and a crowd each; give what opens them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "i").mkdir()
    images, annotations = [], []
    for number in range(COUNT):
        values = np.repeat(MASK[..., None] * np.uint8(200) + np.uint8(number), 3, axis=2)
        name = f"{number}.png"
        (tmp_path / "i" / name).write_bytes(imagecodecs.png_encode(values))
        images.append({"id": number, "file_name": name, "height": SIZE[0], "width": SIZE[1]})
        for category, shape in zip((1, 1, 2), (*cells(), CROWD), strict=True):
            entry = {"id": len(annotations) + 1, "image_id": number, "category_id": category}
            entry |= {"iscrowd": int(category == 2), "segmentation": rle(shape)}
            annotations.append(entry)
    categories = [{"id": 1, "name": "cell"}, {"id": 2, "name": "tissue"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "a.json").write_text(json.dumps(content))

    def opened(**options):
        return open_source("coco", {"images": "i", "masks": "a.json", **options})

    return opened


def pack(source, split="train", out="o.zarr", **options):
    return convert(source, out, split=split, workers=1, **options)


def test_kept_instances_are_numbers_without_classes(coco):
    report = pack(coco(instances="keep"))
    assert report.classes == ()
    assert "classes" in str(report.decisions[0].what)
    split = zarrfeed.open_split("o.zarr/train")
    assert split.instances
    assert split.classes == ()
    assert "class_pixels" not in split.layouts
    with ZarrSequence("o.zarr/train", 2, shuffle=False) as seq:
        masks = seq[0][1].copy()
    left, right = cells()
    assert masks.dtype == np.uint16
    for mask in masks:
        np.testing.assert_array_equal(mask, np.select([left, right, CROWD], [1, 2, 3]))
    assert verify("o.zarr", workers=1).ok
    assert verify("o.zarr", source=True, workers=1).ok


def test_kept_instances_have_an_ignored_id_where_crowds_are_ignored(coco):
    pack(coco(instances="keep", crowd="ignore"))
    split = zarrfeed.open_split("o.zarr/train")
    assert split.ignore == 65535
    with ZarrSequence("o.zarr/train", 1) as seq:
        assert set(np.unique(seq[0][1])) == {0, 1, 2, 65535}
    with pytest.raises(
        SourceError, match=r"the ignored id must be the same.*draw crowds and overl"
    ):
        pack(coco(instances="keep"), "val")


def test_semantic_masks_are_the_default_and_recorded_as_before(coco):
    assert coco(instances="semantic").describe() == coco().describe()
    assert "instances" not in coco().describe()
    assert coco(instances="keep").describe()["instances"] == "keep"


def test_weights_of_borders_are_a_further_field(coco):
    pack(coco(instances="boundary", sigma=3))
    split = zarrfeed.open_split("o.zarr/train")
    assert split.classes == ("background", "cell", "tissue")
    assert split.default_fields == ("image", "mask", "weight")
    with ZarrSequence("o.zarr/train", 1, **STRUCTURE) as seq:
        _, masks, weights = (each.copy() for each in seq[0])
    assert set(np.unique(masks)) == {0, 1, 2}
    left, right = cells()
    expected = border_weights(left + 2 * right, w0=10, sigma=3)
    np.testing.assert_array_equal(weights[0], expected)
    assert weights.max() > 10 > weights[0, 15:].max()  # a crowd is no instance
    assert verify("o.zarr", source=True, workers=1).ok


def test_weights_are_not_interpolated_when_samples_are_resized(coco):
    pack(coco(instances="boundary"), size=(10, 12), fit="resize")
    with ZarrSequence("o.zarr/train", 1, **STRUCTURE) as seq:
        weights = seq[0][2][0].copy()
    left, right = cells()
    assert set(np.unique(weights)) <= set(
        np.unique(border_weights(left + 2 * right, w0=10, sigma=5))
    )


def test_numbers_survive_padding_resizing_and_tiles(coco):
    source = coco(instances="keep")
    pack(source, out="pad.zarr", size=(32, 32), fit="pad")
    pack(source, out="resize.zarr", size=(10, 12), fit="resize")
    pack(source, out="tiles.zarr", tile=(16, 16))
    for name in ("pad", "resize"):
        with ZarrSequence(f"{name}.zarr/train", 1) as seq:
            assert set(np.unique(seq[0][1])) == {0, 1, 2, 3}
    case = zarrfeed.open_case("tiles.zarr/train", "0", "mask")
    np.testing.assert_array_equal(case[:], source.read_mask(0))
    for name in ("pad", "resize", "tiles"):
        assert verify(f"{name}.zarr", source=True, workers=1).ok
    repack("tiles.zarr", "again.zarr", split="train", tile=(8, 8), workers=1)
    repack("pad.zarr", "copy.zarr", split="train", codec="lz4", workers=1)
    for name in ("again", "copy"):
        assert zarrfeed.open_split(f"{name}.zarr/train").instances
        assert verify(f"{name}.zarr", workers=1).ok


def test_splits_of_numbers_and_of_classes_do_not_mix(coco):
    pack(coco(instances="keep"))
    with pytest.raises(SourceError, match=r"needed numbers of instances.*use --instances keep"):
        pack(coco(), "val")
    pack(coco(instances="keep"), "val")
    pack(coco(), out="c.zarr")
    with pytest.raises(SourceError, match=r"found numbers of instances; use --instances semantic"):
        pack(coco(instances="keep"), "val", out="c.zarr")
    with pytest.raises(SourceError, match=r"--instances: none there, keep asked for"):
        pack(coco(instances="keep"), out="c.zarr")
    with pytest.raises(SourceError, match="the meaning of masks"):
        repack(["o.zarr/train", "c.zarr/train"], "n.zarr", split="all", prefix_keys=True)


def test_classes_of_numbers_are_refused(coco):
    with pytest.raises(SourceError, match="--classes: needed none with masks that number instance"):
        pack(coco(instances="keep"), classes=3)
    with pytest.raises(SourceError, match="--ignore: needed none, because every other number is"):
        pack(coco(instances="keep"), ignore=255)
    pack(coco(instances="keep"))
    train = "o.zarr/train"
    with pytest.raises(
        StoreError, match=r"class_weight weighs a pixel by its class; 'mask' of .* n"
    ):
        ZarrSequence(train, 1, class_weight={1: 2.0})
    with pytest.raises(
        StoreError, match="shares need a mask of classes, found numbers of instance"
    ):
        ZarrSequence(train, 1, patches=RandomPatches((8, 8), per_epoch=4, shares={1: 0.5}))
    with pytest.raises(
        StoreError, match="needed ids of classes, found numbers of instances, which"
    ):
        zarrfeed.evaluate(train, train)


def test_images_alone_have_no_instances(coco, tmp_path):
    content = json.loads((tmp_path / "a.json").read_text())
    del content["annotations"]
    (tmp_path / "a.json").write_text(json.dumps(content))
    for kind in ("keep", "boundary"):
        source = coco(instances=kind)
        assert [field.name for field in source.fields] == ["image"]
        assert not source.instances
        pack(source, kind, out="alone.zarr")
        assert not zarrfeed.open_split(f"alone.zarr/{kind}").instances


def test_a_model_learns_to_part_cells_that_touch(coco):
    """Half of the loss is at the border, by which the network is trained as U-Net was."""
    pack(coco(instances="boundary"))
    model = keras.Sequential(
        [
            keras.Input((*SIZE, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(3, 3, padding="same"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), loss)
    with ZarrSequence("o.zarr/train", 2, **STRUCTURE) as seq:
        x, y, weights = seq[0]
        of_pixels = keras.ops.convert_to_numpy(
            keras.losses.sparse_categorical_crossentropy(y, model(x), from_logits=True)
        )
        weighed = model.evaluate(x, y, sample_weight=weights, verbose=0)
        np.testing.assert_allclose(weighed, (of_pixels * weights).mean(), rtol=1e-4)
        losses = model.fit(seq, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
