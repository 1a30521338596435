"""Colours of ADE20K's segments become masks."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from annotated import HEIGHT, WIDTH, put, write_image
from source_contract import require_packed, require_source
from zarrfeed.errors import SourceError
from zarrfeed_convert.formats import open_source

pytest.importorskip("pycocotools")

# Class number -> red and green, by the rule of ADE20K's own code: R // 10 * 256 + G.
WALL, PERSON, SKY = 2978, 1831, 2420
NAMES = {WALL: "wall", PERSON: "person, individual, someone", SKY: "sky"}
MASK = np.zeros((HEIGHT, WIDTH), np.uint8)
MASK[:4], MASK[4:8], MASK[6:, 3:5], MASK[5:7, 8:10] = 2, 3, 1, 1


def colors(mask=MASK):
    """Colours of the classes in `mask`, of which the persons are two objects."""
    numbers = np.array([0, PERSON, SKY, WALL])[mask]
    blue = np.where(mask > 0, 51 * mask, 0)
    blue[:, 8:][mask[:, 8:] == 1] = 255
    red = numbers // 256 * 10 + np.where(mask > 0, 9, 0)
    return np.stack([red, numbers % 256, blue], axis=2).astype(np.uint8)


@pytest.fixture
def write(tmp_path):
    """Write one image of a subset; open the dataset."""

    def write(part="training", pixels=None, objects=None, name="ADE_train_1", **options):
        folder = tmp_path / f"images/ADE/{part}/urban/street"
        image = write_image(folder / f"{name}.png")
        Image.fromarray(image).save(folder / f"{name}.jpg", quality=95)
        (folder / f"{name}.png").unlink()
        Image.fromarray(colors() if pixels is None else pixels).save(folder / f"{name}_seg.png")
        Image.fromarray(colors()).save(folder / f"{name}_parts_1.png")
        listed = [
            {"id": at, "name": NAMES[number], "name_ndx": number, "raw_name": "x", "hypernym": [],
             "attributes": [], "depth_ordering_rank": 1, "occluded": "no", "crop": "0",
             "parts": {"hasparts": [], "ispartof": [], "part_level": 0},
             "polygon": {"x": [0, 1, 1], "y": [0, 0, 1]}, "saved_date": "2006",
             "instance_mask": f"{name}/instance_{at:03}_{name}.png"}
            for at, number in enumerate(NAMES)
        ]  # fmt: skip
        said = {"filename": f"{name}.jpg", "imsize": [HEIGHT, WIDTH, 3], "scene": ["urban"],
                "object": listed if objects is None else objects}  # fmt: skip
        put(folder / f"{name}.json", {"annotation": said})
        return open_source("ade20k", {"images": str(tmp_path), **options})

    return write


def test_red_and_green_are_the_number_of_the_class(write, tmp_path):
    source = write()
    image = source.read(0)[0]
    require_source(source, [image], [MASK])
    assert source.classes == ("background", "person, individual, someone", "sky", "wall")
    assert source.names(0)[1].endswith("ADE_train_1_seg.png")
    require_packed(source, tmp_path / "o.zarr", [image], [MASK])


def test_blue_tells_objects_apart(write):
    mask = write(instances="keep").read_mask(0)
    assert len(set(mask[MASK == 1].tolist())) == 2
    assert np.unique(mask).tolist() == [0, 1, 2, 3, 4]


def test_an_image_without_unlabelled_pixels_is_not_shifted(write):
    """Datumaro counts the values of blue from 0, also where 0 is none of them."""
    full = np.maximum(MASK, 3 * (MASK == 0)).astype(np.uint8)
    np.testing.assert_array_equal(write(pixels=colors(full)).read_mask(0), full)


def test_classes_are_those_of_all_subsets(write):
    write(objects=[{"name": "sky", "name_ndx": SKY}])
    source = write("validation", name="ADE_val_1", subset="val")
    assert source.classes == ("background", "person, individual, someone", "sky", "wall")
    assert [key.rpartition("/")[2] for key in source.keys] == ["ADE_val_1"]


def test_files_that_are_no_utf_8_are_latin_1(write, tmp_path):
    write()
    [file] = tmp_path.rglob("*.json")
    file.write_bytes(file.read_bytes().replace(b'"raw_name": "x"', b'"raw_name": "caf\xe9"'))
    assert len(open_source("ade20k", {"images": str(tmp_path)}).keys) == 1


@pytest.mark.parametrize(
    ("objects", "said"),
    [
        ([{"name": "sky", "name_ndx": SKY}], "pixels of class 1831, which no JSON"),
        ([{"name": "sky", "name_ndx": 0}], "'name_ndx': 0"),
        ([{"name": "sky"}], "'name_ndx': 'None'"),
        ([{"name": 3, "name_ndx": SKY}], "'name': '3'"),
        (3, "'object': '3'"),
    ],
)  # fmt: skip
def test_damaged_files_are_refused_by_name(write, objects, said):
    with pytest.raises(SourceError, match=rf"ADE_train_1(.json|_seg.png).*{said}"):
        write(objects=objects).read(0)


def test_masks_of_another_size_are_refused(write):
    with pytest.raises(SourceError, match=r"ADE_train_1_seg.png.*where RGB is needed"):
        write(pixels=np.zeros((3, 4, 3), np.uint8)).read(0)


def test_the_release_of_2016_is_refused_by_name(tmp_path):
    put(tmp_path / "training/a/abbey/ADE_train_1_atr.txt", '001 # 0 # 0 # sky # sky # ""\n')
    with pytest.raises(SourceError, match=r"ADE_train_1_atr.txt: needed the JSON files"):
        open_source("ade20k", {"images": str(tmp_path)})


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(SourceError, match=r"needed \*.json and \*_seg.png, found nothing"):
        open_source("ade20k", {"images": str(tmp_path)})
