"""Segments of COCO's panoptic PNG files become masks."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from annotated import HEIGHT, WIDTH, put, write_image
from source_contract import require_packed, require_source
from zarrfeed.errors import SourceError
from zarrfeed_convert.formats import open_source

pytest.importorskip("pycocotools")

# Ids of one, two and three bytes, of which some bytes are alike.
SKY, ROAD, CAR, CROWD = 7, 7 << 8, (7 << 16) | (1 << 8) | 7, 255
CATEGORIES = [
    {"id": 0, "name": "sky", "isthing": 0, "color": [70, 130, 180]},
    {"id": 3, "name": "road", "isthing": 0, "color": [128, 64, 128]},
    {"id": 9, "name": "car", "isthing": 1, "color": [0, 0, 142]},
]
MASK = np.zeros((HEIGHT, WIDTH), np.uint8)
MASK[:3], MASK[5:], MASK[6:8, 2:5], MASK[9, 9:] = 1, 2, 3, 3


def numbers() -> np.ndarray:
    """Numbers of the segments of `MASK`."""
    found = np.array([0, SKY, ROAD, CAR])[MASK]
    found[9, 9:] = CROWD
    return found


def segments():
    return [
        {"id": number, "category_id": category, "iscrowd": crowd, "bbox": [0, 0, 1, 1], "area": 1}
        for number, category, crowd in (
            (SKY, 0, 0), (ROAD, 3, 0), (CAR, 9, 0), (CROWD, 9, 1),
        )
    ]  # fmt: skip


@pytest.fixture
def write(tmp_path):
    """Write a dataset of one image with some segments; open it."""

    def write(found=None, said=None, folder="panoptic_train", **options):
        image = write_image(tmp_path / "train/a.png")
        found = numbers() if found is None else found
        pixels = np.stack([found & 255, found >> 8 & 255, found >> 16], axis=2).astype(np.uint8)
        place = tmp_path / f"annotations/{folder}/a.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place)
        entry = {"image_id": 5, "file_name": "a.png", "segments_info": said or segments()}
        file = put(
            tmp_path / "annotations/panoptic_train.json",
            {
                "info": {},
                "images": [{"id": 5, "file_name": "a.jpg", "height": HEIGHT, "width": WIDTH}],
                "annotations": [entry],
                "categories": CATEGORIES,
            },
        )
        file.write_text(file.read_text().replace("a.jpg", "a.png"))
        places = {"images": str(tmp_path / "train"), "masks": str(file)}
        return open_source("coco-panoptic", {**places, **options}), image

    return write


def test_numbers_of_three_bytes_are_segments_of_categories(write, tmp_path):
    source, image = write()
    require_source(source, [image], [MASK])
    assert source.classes == ("background", "sky", "road", "car")
    assert source.names(0)[1] == f"{tmp_path}/annotations/panoptic_train.json[a.png]"
    require_packed(source, tmp_path / "o.zarr", [image], [MASK])


def test_numbers_are_those_of_datumaro(write):
    tools = pytest.importorskip("datumaro.util.mask_tools")
    color = np.array([[[3, 2, 1]]], np.uint8)  # blue, green, red
    number = int(tools.bgr2index(color).item())
    assert number == 1 + 2 * 256 + 3 * 256**2
    everything = np.full((HEIGHT, WIDTH), number)
    source, _ = write(everything, [{"id": number, "category_id": 9, "iscrowd": 0}])
    assert (source.read_mask(0) == 3).all()


def test_crowds_are_ignored_on_request(write):
    source, _ = write(crowd="ignore")
    assert source.ignore == 255
    assert source.read_mask(0)[9, 8:].tolist() == [2, 255, 255, 255]


def test_segments_are_instances(write):
    source, _ = write(instances="keep")
    assert np.unique(source.read_mask(0)).tolist() == [0, 1, 2, 3, 4]


def test_png_files_may_lie_beside_the_json_file(write):
    source, _ = write(folder=".")
    np.testing.assert_array_equal(source.read_mask(0), MASK)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda said: said.pop(), "pixels of segment 255"),
        (lambda said: said.append(said[0]), "two segments with one id"),
        (lambda said: said[0].update(id=1 << 24), "id '16777216'"),
        (lambda said: said[0].update(id="7"), "id '7'"),
    ],
)  # fmt: skip
def test_segments_that_do_not_fit_are_refused_by_name(write, change, said):
    listed = segments()
    change(listed)
    source, _ = write(said=listed)
    with pytest.raises(SourceError, match=rf"panoptic_train.json\[a.png\].*{said}"):
        source.read(0)


def test_unknown_categories_are_refused(write):
    with pytest.raises(SourceError, match="found category 4"):
        write(said=[{"id": SKY, "category_id": 4}])


def test_png_files_are_found_inside_alone(write, tmp_path):
    write()
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "secret.png")
    file = tmp_path / "annotations/panoptic_train.json"
    file.write_text(file.read_text().replace('"a.png", "segm', '"../../secret.png", "segm'))
    places = {"images": str(tmp_path / "train"), "masks": str(file)}
    with pytest.raises(SourceError, match=r"no file ../../secret.png beside"):
        open_source("coco-panoptic", places).read(0)


def test_a_grey_png_is_refused(write, tmp_path):
    source, _ = write()
    Image.new("L", (WIDTH, HEIGHT)).save(tmp_path / "annotations/panoptic_train/a.png")
    with pytest.raises(SourceError, match="where RGB is needed"):
        source.read(0)


def test_shapes_are_no_segments(write, tmp_path):
    write()
    file = tmp_path / "annotations/panoptic_train.json"
    file.write_text(file.read_text().replace("segments_info", "segmentation"))
    places = {"images": str(tmp_path / "train"), "masks": str(file)}
    with pytest.raises(SourceError, match=r"panoptic_train.json: .*segments_info"):
        open_source("coco-panoptic", places)
