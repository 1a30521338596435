"""Files beside the masks that say which class a colour or a value is are believed."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from zarrfeed.errors import SourceError
from zarrfeed_convert import PairedFolders
from zarrfeed_convert.formats import open_source, source_of
from zarrfeed_convert.sources.class_files import classes_of_nnunet, find_classes

COLORS = np.array([[0, 0, 0], [250, 50, 83], [51, 221, 255], [224, 224, 192]], np.uint8)
IDS = np.arange(24, dtype=np.uint8).reshape(4, 6) % 3
LABELMAP = (
    "# label:color_rgb:parts:actions\n"
    "background:0,0,0::\nscratch:250,50,83::\ndent:51,221,255:a,b:\n"
)
CLASS_DICT = "name, r, g, b\nbackground,0,0,0\nscratch,250,50,83\ndent,51,221,255\n"
LABEL_COLORS = "0 0 0\tbackground\n250 50 83\t\tscratch\n51 221 255 dent\n"
NAMES = ("background", "scratch", "dent")
FILES = [
    ("labelmap.txt", LABELMAP),
    ("class_dict.csv", CLASS_DICT),
    ("label_colors.txt", LABEL_COLORS),
]


@pytest.fixture
def root(tmp_path):
    """Write a photo, and the same mask as colours, as indices of a palette, and as grey ids."""
    palette = Image.fromarray(np.uint8([2, 0, 1])[IDS], "P")
    palette.putpalette(COLORS[[1, 2, 0]].ravel().tolist())
    masks = {"a": Image.fromarray(COLORS[IDS]), "b": palette, "c": Image.fromarray(IDS)}
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (tmp_path / folder).mkdir(parents=True)
    for name, mask in masks.items():
        Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / f"JPEGImages/{name}.jpg")
        mask.save(tmp_path / f"SegmentationClass/{name}.png")
    (tmp_path / "ImageSets/Segmentation/train.txt").write_text("a\nb\nc\n")
    return tmp_path


@pytest.mark.parametrize(("name", "text"), FILES)
@pytest.mark.parametrize("kind", ["voc", "paired"])
def test_colors_are_the_classes_that_a_file_names(root, kind, name, text):
    (root / name).write_text(text)
    arguments = {"images": root}
    if kind == "paired":
        arguments = {"images": root / "JPEGImages", "masks": root / "SegmentationClass"}
    source = open_source(kind, arguments)
    assert source.classes == NAMES
    assert source.describe()["facts"]["classes_from"] == str(root / name)
    for again in (source, source_of(source.describe())):
        for sample in range(3):
            np.testing.assert_array_equal(again.read_mask(sample), IDS)
    source = open_source(kind, arguments | {"mask_map": "#000000=0,*=7"})
    assert source.classes is None
    assert set(np.unique(source.read_mask(0))) == {0, 7}


@pytest.mark.parametrize("name", ["class_names.txt", "classes.txt", "labels.txt", "obj.names"])
@pytest.mark.parametrize("text", ["__ignore__\n_background_\nscratch\ndent\n", "scratch\ndent\n"])
def test_a_list_of_names_beside_voc_counts_from_its_background(root, name, text):
    (root / name).write_text(text)
    palette = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0]], np.uint8)
    Image.fromarray(palette[IDS]).save(root / "SegmentationClass/a.png")
    source = open_source("voc", {"images": root})
    assert source.classes == NAMES
    np.testing.assert_array_equal(source.read_mask(0), IDS)
    np.testing.assert_array_equal(source.read_mask(2), IDS)


def test_what_voc_draws_around_objects_is_ignored(root):
    (root / "labelmap.txt").write_text(LABELMAP)
    Image.fromarray(COLORS[np.uint8([[0, 1, 2, 3]])]).save(root / "SegmentationClass/a.png")
    source = open_source("voc", {"images": root})
    assert source.ignore == 255
    assert source.read_mask(0).tolist() == [[0, 1, 2, 255]]


def test_black_is_background_and_missing_colors_are_those_of_voc(tmp_path):
    (tmp_path / "labelmap.txt").write_text("cat:::\ndog:9,9,9::\nignored:1,2,3::\n")
    named = find_classes([tmp_path])
    assert named.labels.classes == ("background", "cat", "dog")
    assert named.labels.ignore == 255
    assert named.mask_map.colors == {0: 0, 0x800000: 1, 0x90909: 2, 0x10203: 255, 0xE0E0C0: 255}


def test_the_void_of_a_table_is_ignored_and_grey_is_a_color_where_it_must(tmp_path):
    (tmp_path / "class_dict.csv").write_text("name,r,g,b\nSky,128,128,128\nVoid,0,0,0\n")
    named = find_classes([tmp_path])
    assert (named.labels.classes, named.labels.ignore) == (("Sky",), 255)
    assert dict(named.mask_map.values) == {}
    assert named.mask_map.colors == {0x808080: 0, 0: 255}


def test_a_table_of_camvid_replaces_the_known_colors(tmp_path):
    for folder in ("train", "train_labels"):
        (tmp_path / folder).mkdir()
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "train/a.png")
    mask = np.uint8([[[1, 2, 3], [0, 0, 0]], [[4, 5, 6], [4, 5, 6]]])
    Image.fromarray(mask).save(tmp_path / "train_labels/a_L.png")
    (tmp_path / "class_dict.csv").write_text("name,r,g,b\nRoad,1,2,3\nSky,4,5,6\nVoid,0,0,0\n")
    source = open_source("camvid", {"images": tmp_path})
    assert (source.classes, source.ignore) == (("Road", "Sky"), 255)
    assert source.read_mask(0).tolist() == [[0, 255], [1, 1]]


@pytest.mark.parametrize("colored", [True, False])
def test_masks_of_camvid_as_cvat_exports_them_are_colors(tmp_path, colored):
    for folder, values in (("default", COLORS[IDS]), ("defaultannot", COLORS[IDS])):
        (tmp_path / folder).mkdir()
        mask = values if colored or folder == "default" else IDS
        Image.fromarray(mask).save(tmp_path / folder / "a.png")
    (tmp_path / "label_colors.txt").write_text(LABEL_COLORS)
    source = open_source("camvid", {"images": tmp_path, "subset": "default"})
    assert (source.classes == NAMES) == colored
    np.testing.assert_array_equal(source.read_mask(0), IDS)


def test_ids_of_cityscapes_as_cvat_exports_it_are_places_in_its_list(tmp_path):
    for folder, name in (("leftImg8bit", "leftImg8bit"), ("gtFine", "gtFine_labelIds")):
        (tmp_path / folder / "train/city").mkdir(parents=True)
        Image.fromarray(IDS).save(tmp_path / folder / f"train/city/a_{name}.png")
    (tmp_path / "label_colors.txt").write_text(LABEL_COLORS)
    source = open_source("cityscapes", {"images": tmp_path})
    assert (source.classes, source.ignore) == (NAMES, None)
    np.testing.assert_array_equal(source.read_mask(0), IDS)
    (tmp_path / "label_colors.txt").write_text("128 64 128 road\n0 0 0 unlabeled\n")
    official = open_source("cityscapes", {"images": tmp_path})
    assert (len(official.classes), official.ignore) == (19, 255)


def test_values_are_the_classes_that_roboflow_names(root):
    for name in ("a", "b"):
        (root / f"SegmentationClass/{name}.png").unlink()
        (root / f"JPEGImages/{name}.jpg").unlink()
    table = "Pixel Value, Class\n0, background\n2, dent\n"
    (root / "SegmentationClass/_classes.csv").write_text(table)
    source = PairedFolders(root / "JPEGImages", root / "SegmentationClass")
    assert source.classes == ("background", "1", "dent")
    np.testing.assert_array_equal(source.read_mask(0), IDS)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("labelmap.txt", "a:0,0,0::\nb:1,2::\n", r"found b:1,2::"),
        ("labelmap.txt", "a:0,0,0::\nb:0,0,0::\n", "2 names of 1 colours"),
        ("class_dict.csv", "name,r,g,b\na,0,0,300\n", "found a,0,0,300"),
        ("class_dict.csv", "name,r,g,b\na,0\n", "found a,0"),
        ("label_colors.txt", "0 0 0 a\nwords\n", "found words"),
        ("_classes.csv", "Pixel Value, Class\nx, a\n", "invalid literal"),
        ("_classes.csv", "Pixel Value, Class\n-1, a\n", r"the values \[-1\]"),
    ],
)
def test_a_damaged_file_is_named_and_a_mask_map_is_the_way_out(root, name, text, said):
    (root / name).write_text(text)
    folders = root / "JPEGImages", root / "SegmentationClass"
    with pytest.raises(SourceError, match=rf"{name}: needed class names .*{said}.*--mask-map"):
        PairedFolders(*folders)
    assert PairedFolders(*folders, mask_map="*=0").classes is None


@pytest.mark.parametrize("text", ["cat\ndog\n", ""])
def test_a_plain_list_says_nothing_of_masks(tmp_path, text):
    (tmp_path / "labelmap.txt").write_text(text)
    assert find_classes([tmp_path]) is None


@pytest.mark.parametrize(
    ("labels", "classes", "ignore"),
    [
        ({"background": 0, "liver": 1, "tumor": 3}, ("background", "liver", "2", "tumor"), None),
        ({"0": "background", "1": "liver"}, ("background", "liver"), None),
        ({"background": 0, "liver": 1, "ignore": 2}, ("background", "liver"), 2),
    ],
)
def test_labels_of_nnunet_are_classes(tmp_path, labels, classes, ignore):
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({"labels": labels}))
    found = classes_of_nnunet(path)
    assert (found.classes, found.ignore) == (classes, ignore)


def test_regions_of_nnunet_are_no_classes_and_damage_is_named(tmp_path):
    path = tmp_path / "dataset.json"
    assert classes_of_nnunet(path) is None
    for labels in ({"background": 0, "whole": [1, 2]}, {}, None):
        path.write_text(json.dumps({"labels": labels}))
        assert classes_of_nnunet(path) is None
    for text in ("{", json.dumps({"labels": {"a": "b"}}), "[]"):
        path.write_text(text)
        with pytest.raises(SourceError, match=r"dataset\.json: needed labels like"):
            classes_of_nnunet(path)


def test_volumes_get_the_names_of_their_dataset(tmp_path):
    nib = pytest.importorskip("nibabel")
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
        volume = nib.Nifti1Image(np.arange(24, dtype=np.uint8).reshape(2, 3, 4) % 3, np.eye(4))
        nib.save(volume, tmp_path / folder / "a.nii")
    labels = {"background": 0, "liver": 1, "ignore": 2}
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
    arguments = {"images": tmp_path / "imagesTr", "masks": tmp_path / "labelsTr"}
    source = open_source("nifti", arguments)
    assert (source.classes, source.ignore) == (("background", "liver"), 2)
    assert open_source("nifti", arguments | {"mask_map": "2=1"}).classes is None
