"""A mask means what a viewer shows of it, or the message says how to choose."""

from __future__ import annotations

import io
import tarfile

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from zarrfeed.errors import SourceError
from zarrfeed_convert import PairedFolders, convert, repack
from zarrfeed_convert.formats import open_source


def packed_masks(out, split="train"):
    group = zarr.open_group(str(out / split), mode="r")
    return group["mask"][:]


def write_images(folder, names, shape=(6, 8)):
    folder.mkdir(parents=True)
    for name in names:
        Image.fromarray(np.full((*shape, 3), 9, np.uint8)).save(folder / f"{name}.png")


def test_masks_in_the_alpha_channel_pack_as_the_message_advises(tmp_path):
    write_images(tmp_path / "i", "ab")
    (tmp_path / "m").mkdir()
    drawn = np.zeros((6, 8, 4), np.uint8)
    drawn[2:4, 1:5, 3] = 255
    for name in "ab":
        Image.fromarray(drawn).save(tmp_path / "m" / f"{name}.png")
    folders, out = (tmp_path / "i", tmp_path / "m"), tmp_path / "o"
    with pytest.raises(SourceError, match="use --mask-map alpha"):
        convert(PairedFolders(*folders), out, split="train", workers=1)
    convert(PairedFolders(*folders, mask_map="alpha"), out, split="train", workers=1)
    np.testing.assert_array_equal(packed_masks(out), [drawn[:, :, 3] == 255] * 2)


BLACK, GREEN, RED = (0, 0, 0), (0, 255, 0), (255, 0, 0)
COLORS = np.array([BLACK, GREEN, RED], np.uint8)
IDS = np.random.default_rng(0).integers(0, 3, (6, 8)).astype(np.uint8)
IDS.flat[:3] = range(3)
BY_COLOR = "#000000=0,#00FF00=1,#FF0000=2"


def palette_mask(ids, palette):
    """Draw class ids by a palette in which the colours of classes are in any order."""
    places = [[*map(tuple, palette)].index(tuple(color)) for color in COLORS[: ids.max() + 1]]
    mask = Image.fromarray(np.uint8(places)[ids], "P")
    mask.putpalette(np.array(palette, np.uint8).ravel().tolist())
    np.testing.assert_array_equal(mask.convert("RGB"), COLORS[ids])
    return mask


def png(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def write_folders(root, masks, end=".png"):
    write_images(root / "i", masks)
    (root / "m").mkdir()
    for name, mask in masks.items():
        mask.save(root / "m" / f"{name}{end}")
    return {"images": str(root / "i"), "masks": str(root / "m")}


def write_stacks(root, masks):
    for folder in ("i", "m"):
        (root / folder).mkdir(parents=True)
    for name, mask in masks.items():
        tifffile.imwrite(root / "i" / f"{name}.tif", np.zeros((2, 6, 8), np.uint8))
        colors = np.zeros((3, 256), np.uint16)
        shown = np.array(mask.getpalette(), np.uint16).reshape(-1, 3).T * 257
        colors[:, : shown.shape[1]] = shown
        pages = np.stack([np.array(mask)] * 2)
        tifffile.imwrite(root / "m" / f"{name}.tif", pages, photometric="palette", colormap=colors)
    return {"images": str(root / "i"), "masks": str(root / "m")}


def write_voc(root, masks):
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    for name, mask in masks.items():
        Image.new("RGB", mask.size).save(root / "JPEGImages" / f"{name}.jpg")
        mask.save(root / "SegmentationClass" / f"{name}.png")
    (root / "ImageSets/Segmentation/train.txt").write_text("\n".join(masks))
    return {"images": str(root)}


def write_tar(root, masks):
    root.mkdir()
    with tarfile.open(root / "a.tar", "w") as file:
        for name, mask in masks.items():
            for end, data in ((".jpg", png(Image.new("RGB", mask.size))), (".png", png(mask))):
                about = tarfile.TarInfo(name + end)
                about.size = len(data)
                file.addfile(about, io.BytesIO(data))
    return {"images": str(root / "a.tar")}


def write_table(root, masks):
    parquet = pytest.importorskip("pyarrow.parquet")
    root.mkdir()
    table = {
        "image": [png(Image.new("RGB", mask.size)) for mask in masks.values()],
        "annotation": [png(mask) for mask in masks.values()],
    }
    parquet.write_table(pytest.importorskip("pyarrow").table(table), root / "a.parquet")
    return {"images": str(root / "a.parquet")}


def write_records(root, masks):
    tf = pytest.importorskip("tensorflow")
    root.mkdir()
    with tf.io.TFRecordWriter(str(root / "a.tfrecord")) as file:
        for mask in masks.values():
            features = {
                name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[png(image)]))
                for name, image in (("image", Image.new("RGB", mask.size)), ("mask", mask))
            }
            example = tf.train.Example(features=tf.train.Features(feature=features))
            file.write(example.SerializeToString())
    return {"images": str(root / "a.tfrecord")}


WRITERS = {
    "paired": write_folders,
    "tiff": write_stacks,
    "voc": write_voc,
    "webdataset": write_tar,
    "parquet": write_table,
    "tfrecord": write_records,
}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("classes", [None, 3])
def test_palettes_of_their_own_are_refused_and_advice_packs_them(tmp_path, kind, classes):
    masks = {"a": palette_mask(IDS, COLORS), "b": palette_mask(IDS, COLORS[[2, 0, 1]])}
    arguments = WRITERS[kind](tmp_path / "d", masks)
    options = {"split": "train", "workers": 1, "order": "source", "classes": classes}
    with pytest.raises(SourceError, match="the masks have palettes of their own") as error:
        convert(open_source(kind, arguments), tmp_path / "o", **options)
    assert f"--mask-map '{BY_COLOR}'" in str(error.value)
    assert "--mask-map '0=0,1=1,2=2'" in str(error.value)
    for mask_map, expected in (
        (BY_COLOR, {"a": IDS, "b": IDS}),
        ("0=0,1=1,2=2", {name: np.array(mask) for name, mask in masks.items()}),
    ):
        source = open_source(kind, arguments | {"mask_map": mask_map})
        convert(source, tmp_path / "o", overwrite=True, **options)
        wanted = [expected[name] for name in "ab" for _ in range(1 + (kind == "tiff"))]
        np.testing.assert_array_equal(packed_masks(tmp_path / "o"), wanted)


@pytest.mark.parametrize(
    "palettes",
    [
        [COLORS, COLORS],
        [COLORS[:2], COLORS],
        [[*COLORS, (9, 9, 9)], [*COLORS, (8, 8, 8), (7, 7, 7)]],
        [COLORS, [BLACK, GREEN, RED, BLACK, BLACK]],
    ],
)
@pytest.mark.parametrize("end", [".png", ".tif", ".bmp"])
def test_palettes_that_agree_where_they_are_used_are_one(tmp_path, palettes, end):
    masks = {
        name: palette_mask(IDS if len(palette) > 2 else np.minimum(IDS, 1), palette)
        for name, palette in zip("ab", palettes, strict=True)
    }
    source = open_source("paired", write_folders(tmp_path, masks, end))
    convert(source, tmp_path / "o", split="train", workers=1, order="source")
    expected = [np.array(mask) for mask in masks.values()]
    np.testing.assert_array_equal(packed_masks(tmp_path / "o"), expected)
    attributes = zarr.open_group(str(tmp_path / "o/train"), mode="r").attrs["zarrfeed"]
    assert attributes["packed"]["palette"] == {"0": "#000000", "1": "#00FF00", "2": "#FF0000"}


def test_one_color_at_two_indices_is_refused_but_within_one_mask(tmp_path):
    only = np.uint8([[0, 1]] * 6).repeat(4, axis=1)
    for name, other in (("x", [BLACK, RED, GREEN]), ("y", [BLACK, GREEN, GREEN])):
        second = Image.fromarray(only * 2 if name == "x" else only + np.uint8(1), "P")
        second.putpalette(np.array(other, np.uint8).ravel().tolist())
        first = Image.fromarray(only, "P")
        first.putpalette(np.array([BLACK, GREEN, RED], np.uint8).ravel().tolist())
        source = open_source("paired", write_folders(tmp_path / name, {"a": first, "b": second}))
        if name == "x":
            with pytest.raises(SourceError, match=r"b\.png: shows #00FF00 at index 2, .*a.* at 1"):
                convert(source, tmp_path / "o", split="train", workers=1)
        else:
            convert(source, tmp_path / "o", split="train", workers=1)


@pytest.mark.parametrize("second", ["b", "c"])
def test_palettes_are_compared_between_splits(tmp_path, second):
    one = write_folders(tmp_path / "one", {"a": palette_mask(IDS, COLORS)})
    palette = COLORS[[0, 2, 1]] if second == "b" else [*COLORS, (1, 1, 1)]
    two = write_folders(tmp_path / "two", {second: palette_mask(IDS, palette)})
    convert(open_source("paired", one), tmp_path / "o", split="train", workers=1)
    source = open_source("paired", two)
    if second == "c":
        convert(source, tmp_path / "o", split="val", workers=1)
        return
    with pytest.raises(SourceError, match=r"b\.png: shows index 1 as #FF0000, the split 'train'"):
        convert(source, tmp_path / "o", split="val", workers=1)
    source = open_source("paired", two | {"mask_map": BY_COLOR})
    convert(source, tmp_path / "o", split="val", workers=1)
    np.testing.assert_array_equal(packed_masks(tmp_path / "o", "val"), [IDS])


def test_masks_of_voc_may_have_its_colors_at_other_indices(tmp_path):
    voc = np.array([BLACK, (128, 0, 0), (0, 128, 0)], np.uint8)
    masks = {}
    for name, order in (("a", [0, 1, 2]), ("b", [2, 0, 1])):
        masks[name] = Image.fromarray(np.argsort(order).astype(np.uint8)[IDS], "P")
        masks[name].putpalette(voc[order].ravel().tolist())
    source = open_source("voc", write_voc(tmp_path / "d", masks))
    convert(source, tmp_path / "o", split="train", workers=1)
    np.testing.assert_array_equal(packed_masks(tmp_path / "o"), [IDS, IDS])


def test_pages_with_palettes_of_their_own_are_refused(tmp_path):
    (tmp_path / "i").mkdir()
    tifffile.imwrite(tmp_path / "i/a.tif", np.zeros((2, 6, 8), np.uint8))
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for number in range(2):
            colors = np.zeros((3, 256), np.uint16)
            colors[number, 1] = 65535
            file.write(IDS, photometric="palette", colormap=colors, metadata=None)
    arguments = {"images": str(tmp_path / "i"), "masks": str(tmp_path / "a.tif")}
    with pytest.raises(SourceError, match="needed one palette for all pages, found another one"):
        open_source("tiff", arguments)


def test_splits_that_are_merged_have_one_palette(tmp_path):
    for name, order in (("one", [0, 1, 2]), ("two", [0, 2, 1]), ("three", [0, 1, 2])):
        folders = write_folders(tmp_path / name, {name: palette_mask(IDS, COLORS[order])})
        convert(open_source("paired", folders), tmp_path / f"{name}.zarr", split="s", workers=1)
    splits = [tmp_path / f"{name}.zarr/s" for name in ("one", "two", "three")]
    with pytest.raises(SourceError, match="the masks have palettes of their own"):
        repack(splits[:2], tmp_path / "o", split="s", workers=1)
    repack(splits[::2], tmp_path / "o", split="s", workers=1)
    with pytest.raises(SourceError, match="the masks have palettes of their own"):
        repack(splits[1], tmp_path / "o", split="t", workers=1)
