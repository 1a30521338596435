"""YOLO's polygons become masks, wherever its tools put the files."""

from __future__ import annotations

import numpy as np
import pytest

from annotated import drawn, put, write_image
from source_contract import require_packed, require_source
from zarrfeed.errors import SourceError
from zarrfeed_convert import Limits
from zarrfeed_convert.formats import open_source

pytest.importorskip("datumaro")

# Datumaro has no polygons of YOLO; Ultralytics documents them as class x1 y1 x2 y2 … of fractions.
NAMES = "names:\n  0: road\n  1: car\n"
ROAD = "0 0 0 1 0 1 0.3 0 0.3"
CAR = f"1 {2 / 12} 0.2 0.5 0.2 0.5 0.8 {2 / 12} 0.8"
MASK = drawn(
    "111111111111",
    "111111111111",
    "112222111111",
    *["002222000000"] * 5,
    "000000000000",
    "000000000000",
)


@pytest.fixture
def write(tmp_path):
    """Write a dataset of images a.png, b.png, … with lines of text each; open it."""

    def write(*texts, images="images/train", labels="labels/train", config=NAMES, **options):
        for number, text in enumerate(texts):
            name = chr(97 + number)
            write_image(tmp_path / images / f"{name}.png", number)
            if text is not None:
                put(tmp_path / labels / f"{name}.txt", text)
        put(tmp_path / "data.yaml", config)
        return open_source("yolo", {"images": str(tmp_path), **options})

    return write


def test_polygons_are_drawn_in_pixels_of_the_image(write, tmp_path):
    source = write(f"{CAR}\n{ROAD}\n", "", None)
    images = [write_image(tmp_path / f"images/train/{n}.png", at) for at, n in enumerate("abc")]
    masks = [MASK, np.zeros_like(MASK), np.zeros_like(MASK)]
    require_source(source, images, masks)
    assert source.classes == ("background", "road", "car")
    assert source.names(0)[1] == str(tmp_path / "labels/train/a.txt")
    require_packed(source, tmp_path / "o.zarr", images, masks)


def test_images_without_shapes_can_be_left_out(write):
    assert write(ROAD, "", None, unannotated="leave_out").keys == ["a"]


@pytest.mark.parametrize(
    ("images", "labels", "config"),
    [
        ("train/images", "train/labels", NAMES),
        ("train/images", "train/labels", f"train: ../train/images\nval: ../valid/images\n{NAMES}"),
        ("images/train", "labels/train", f"path: ../datasets/x\ntrain: images/train\n{NAMES}"),
        ("images/train", "labels/train", f"train: /home/ann/x/images/train\n{NAMES}"),
        ("images/a", "labels/a", f"train: images/a\n{NAMES}"),
        ("images/train", "labels/train", "nc: 2\nnames: ['road', 'car']\n"),
        ("images/train", "labels/train", "names: [road,\n car]"),
    ],
)  # fmt: skip
def test_every_usual_layout_is_read(write, images, labels, config):
    source = write(f"{CAR}\n{ROAD}\n", images=images, labels=labels, config=config)
    np.testing.assert_array_equal(source.read_mask(0), MASK)
    assert source.keys == ["a"]


def test_validation_is_found_by_its_other_names(write):
    source = write(ROAD, images="valid/images", labels="valid/labels", subset="val")
    assert source.keys == ["a"]


def test_names_are_text_even_if_yaml_has_other_words(write):
    assert write(ROAD, config="names: [no, 1e3]\n").classes == ("background", "no", "1e3")


def test_names_may_stand_in_a_list_of_their_own(tmp_path):
    write_image(tmp_path / "images/train/a.png")
    put(tmp_path / "labels/train/a.txt", CAR)
    put(tmp_path / "classes.txt", "road\ncar\n")
    source = open_source("yolo", {"images": str(tmp_path)})
    assert source.classes == ("background", "road", "car")
    assert source.read_mask(0).max() == 2


def test_a_folder_called_images_above_the_dataset_does_not_matter(tmp_path):
    root = tmp_path / "images/set"
    write_image(root / "train/a.png")
    put(root / "train/a.txt", ROAD)
    put(root / "data.yaml", f"train: train\n{NAMES}")
    assert open_source("yolo", {"images": str(root)}).read_mask(0).any()


def test_lines_of_boxes_have_no_shape(write, tmp_path):
    source = write(ROAD, f"{ROAD}\n1 0.5 0.5 0.2 0.2")
    assert source.left_out == [
        (f"{tmp_path}/images/train/b.png", "1 of its 2 annotations have no shape")
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("2 0 0 1 0 1 1", "class '2' where the names are road, car"),
        ("-1 0 0 1 0 1 1", "class '-1'"),
        ("x 0 0 1 0 1 1", "class 'x'"),
        ("0 0 0 1 0 1 1 0.9", "7 numbers"),
        ("0 0 0", "1 corners"),
        ("0 0 0 120 0 120 30", "120; are the coordinates pixels"),
        ("0 0 0 nan 0 1 1", "nan"),
        ("0 0 0 one 0 1 1", "could not convert"),
        ("²", "class '²'"),
    ],
)  # fmt: skip
def test_lines_that_are_no_polygons_are_refused_by_name(write, line, said):
    with pytest.raises(SourceError, match=rf"a.txt: line 2: needed.*found {said}"):
        write(f"{ROAD}\n{line}\n")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("names: [a, b", "data.yaml: needed YAML"),
        ("a: &a [x]\nnames: {0: *a}", "names of classes"),
        ("names: {x: a}", "names of classes"),
        ("train: x\n", "needed data.yaml, which names the classes"),
        ("train: [x, y]\nnames: [a]", "one folder of the subset train, found x, y"),
        ("train: x.txt\nnames: [a]", "the list x.txt"),
    ],
)  # fmt: skip
def test_settings_that_are_damaged_are_refused_by_name(write, config, said):
    with pytest.raises(SourceError, match=said):
        write(ROAD, config=config)


def test_settings_run_nothing(write, tmp_path):
    write(ROAD, config=f"names: !!python/object/apply:os.mkdir ['{tmp_path}/made', '0']")
    assert not (tmp_path / "made").exists()


def test_aliases_in_the_settings_do_not_expand(write):
    levels = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40))
    with pytest.raises(SourceError, match="names of classes"):
        write(ROAD, config=f"a0: &a0 [x]\n{levels}\nnames: *a39\n")


def test_a_folder_outside_is_read_only_if_the_user_allows_it(tmp_path):
    outside, root = tmp_path / "elsewhere", tmp_path / "set"
    write_image(outside / "images/night/a.png")
    put(outside / "labels/night/a.txt", ROAD)
    put(root / "data.yaml", f"train: {outside}/images/night\n{NAMES}")
    with pytest.raises(SourceError, match=r"data.yaml: needed all data inside.*--allow-external"):
        open_source("yolo", {"images": str(root)})
    source = open_source("yolo", {"images": str(root)}, limits=Limits(external=True))
    assert source.read_mask(0).any()


def test_a_subset_that_is_not_there_is_refused(write):
    with pytest.raises(SourceError, match=r"found 'night', the name of the split.*choose from tr"):
        write(ROAD, subset="night")


def test_images_without_any_text_file_are_refused(write):
    with pytest.raises(SourceError, match="labels/train: needed a text file of polygons"):
        write(None, None)
    assert write(None, masks="none").keys == ["a", "b"]
