"""A mask file for each class, whose name says it, becomes one mask."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest

import zarrfeed
from source_contract import require_packed, require_source
from zarrfeed.errors import SourceError
from zarrfeed_convert import convert, verify
from zarrfeed_convert.sources.binary_masks.class_layouts import places_of
from zarrfeed_convert.sources.binary_masks.class_masks import ClassMasks

SIZE = (10, 14)
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (2, *SIZE, 3), np.uint8)
ROAD, CAR = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
ROAD[4:], CAR[3:7, 2:6] = True, True
NAMES = {"folders": "{label}/{key}", "suffixes": "{key}_{label}", "files": "{key}/{label}"}


def write(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(values)))


@pytest.fixture
def city(tmp_path):
    """Write image a1 of a road with a car, and b_2 of a road."""

    def city(layout="folders", top=255):
        for key, image, labels in zip(
            ("a1", "b_2"), IMAGES, ({"road": ROAD, "car": CAR}, {"road": ROAD}), strict=True
        ):
            write(tmp_path / f"i/{key}.png", image)
            for label, inside in labels.items():
                name = NAMES[layout].format(key=key, label=label)
                write(tmp_path / f"m/{name}.png", np.uint8(top) * inside)
        return tmp_path / "i", tmp_path / "m"

    return city


@pytest.mark.parametrize("layout", NAMES)
@pytest.mark.parametrize("top", [1, 255])
def test_the_class_is_in_the_name(city, tmp_path, layout, top):
    source = ClassMasks(*city(layout, top))
    masks = [np.select([CAR, ROAD], [1, 2]), 2 * ROAD]
    assert source.classes == ("background", "car", "road")
    require_source(source, IMAGES, masks)
    require_packed(source, tmp_path / "o.zarr", IMAGES, masks)
    assert source.names(0)[1].endswith("m[a1]")


def test_classes_have_the_order_that_the_user_gives(city, tmp_path):
    places = city()
    source = ClassMasks(*places, classes="road, car, tree")
    assert source.classes == ("background", "road", "car", "tree")
    np.testing.assert_array_equal(source.read_mask(0), np.select([CAR, ROAD], [2, 1]))
    with pytest.raises(
        SourceError, match=r"option classes: needed those that masks have .*no 'car'"
    ):
        ClassMasks(*places, classes="road")
    with pytest.raises(SourceError, match="option classes: needed different names"):
        ClassMasks(*places, classes="road,car,road")
    with pytest.raises(SourceError, match="--classes: needed names in the order of their ids"):
        convert(source, tmp_path / "o.zarr", split="t", classes="background,car,road,tree")
    for fewer in ("road,car,tree", "bg,road,car"):  # the background forgotten, or named otherwise
        with pytest.raises(SourceError, match=r"--classes: needed names in .* which are others"):
            convert(source, tmp_path / "o.zarr", split="t", classes=fewer)


def test_pixels_of_several_classes(city):
    places = city()
    both = ROAD & CAR
    assert (ClassMasks(*places).read_mask(0)[both] == 1).all()
    assert (ClassMasks(*places, order="file").read_mask(0)[both] == 2).all()
    apart = ClassMasks(*places, order="none")
    assert apart.ignore == 255
    assert (apart.read_mask(0)[both] == 255).all()


def test_multi_hot_masks_keep_all_classes(city, tmp_path):
    source = ClassMasks(*city(), mask_map="multi-hot")
    masks = [np.stack([CAR, ROAD], -1), np.stack([np.zeros(SIZE, bool), ROAD], -1)]
    assert source.classes == ("car", "road")
    require_source(source, IMAGES, masks)
    out = tmp_path / "o.zarr"
    convert(source, out, split="train", workers=1)
    split = zarrfeed.open_split(out / "train")
    assert split.multi_hot
    assert split.classes == ("car", "road")
    assert verify(out, source=True, workers=1).ok


def test_a_class_called_background_is_the_background(city):
    images, masks = city("suffixes")
    write(masks / "b_2_background.png", np.uint8(255) * CAR)
    source = ClassMasks(images, masks, order="file")
    assert source.classes == ("background", "car", "road")
    np.testing.assert_array_equal(source.read_mask(1), 2 * ROAD)  # drawn first
    many = ClassMasks(images, masks, mask_map="multi-hot")
    assert many.classes == ("background", "car", "road")
    np.testing.assert_array_equal(many.read_mask(1)[..., 0], CAR)


def test_images_without_masks_and_masks_without_images_are_named(city):
    images, masks = city()
    write(images / "c.png", IMAGES[0])
    write(masks / "car/other.png", np.uint8(255) * CAR)
    source = ClassMasks(images, masks)
    assert source.keys == ["a1", "b_2"]
    reasons = dict(source.left_out)
    assert "says no image and class" in reasons[str(masks / "car/other.png")]
    assert "-o unannotated=background" in reasons[str(images / "c.png")]
    whole = ClassMasks(images, masks, unannotated="background")
    assert not whole.read_mask(2).any()


def test_names_that_say_no_class_or_several_are_refused(city):
    images, masks = city()
    with pytest.raises(SourceError, match="masks: needed a file for each class, named like CLASS/"):
        ClassMasks(images, masks, layout="files")
    with pytest.raises(SourceError, match="option layout: needed one of auto, folders"):
        ClassMasks(images, masks, layout="folder")
    with pytest.raises(SourceError, match=r"found several \(folders: 'x' or files: 'y'"):
        places_of(["x", "y"], {"m/x/y": "x/y", "m/y/x": "y/x"})
    assert places_of(["x", "y"], {"m/x/y": "x/y"}, "files")["m/x/y"].label == "y"


def test_two_files_of_one_class_are_refused(city):
    images, masks = city("suffixes")
    write(masks / "a1-car.png", np.uint8(255) * CAR)
    with pytest.raises(SourceError, match=r"needed one file for each class of an image, found"):
        ClassMasks(images, masks)


@pytest.mark.parametrize("name", ["<b>x</b>", "\x1b[31mred", "naïve class"])
def test_names_of_classes_are_only_text(city, name):
    images, masks = city()
    (masks / "car").rename(masks / name.replace("/", "∕"))
    assert name.replace("/", "∕") in ClassMasks(images, masks).classes


def test_damaged_masks_are_named(city):
    images, masks = city()
    (masks / "car/a1.png").write_bytes((masks / "car/a1.png").read_bytes()[:40])
    with pytest.raises(SourceError, match=r"car/a1.png: "):
        ClassMasks(images, masks).read(0)
