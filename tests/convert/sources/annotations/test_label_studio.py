"""Regions of Label Studio become masks."""

from __future__ import annotations

import numpy as np
import pytest

from annotated import HEIGHT, WIDTH, drawn, put, write_image
from source_contract import require_packed, require_source
from zarrfeed.errors import SourceError
from zarrfeed_convert.formats import open_source
from zarrfeed_convert.sources.annotations.label_studio_shapes import runs_of_brush

pytest.importorskip("pycocotools")

MASK = drawn(
    "222222222222",
    "222222222222",
    "221111222222",
    *["001111000000"] * 4,
    "001111000110",
    "000000000100",
    "000000000000",
)
BRUSH = np.zeros((HEIGHT, WIDTH), bool)
BRUSH[7, 9:11] = BRUSH[8, 9] = True


def encoded(mask) -> list[int]:
    """Encode a mask as Label Studio does: RGBA, groups of equal values, and one of others."""
    values = np.zeros((*mask.shape, 4), np.uint8)
    values[mask] = (1, 2, 3, 255)
    flat = values.ravel()
    bits = f"{flat.size:032b}{7:05b}{2:04b}{3:04b}{7:04b}{15:04b}"
    at = 0
    while at < flat.size:
        same = 1
        while at + same < flat.size and flat[at + same] == flat[at]:
            same += 1
        if same >= 2:
            bits += f"1{3:02b}{same - 1:016b}{flat[at]:08b}"
        else:  # up to 8 values that differ
            same = min(8, flat.size - at)
            bits += f"0{0:02b}{same - 1:03b}" + "".join(f"{each:08b}" for each in flat[at:][:same])
        at += same
    bits += "0" * (-len(bits) % 8)
    return [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]


def region(kind, label, **value):
    return {
        "original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0,
        "value": {**value, kind: [label]}, "id": "x1", "from_name": "label", "to_name": "image",
        "type": kind, "origin": "manual",
    }  # fmt: skip


def percent(points):
    return [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in points]


ROAD = region("polygonlabels", "road", closed=True,
              points=percent([(0, 0), (12, 0), (12, 3), (0, 3)]))  # fmt: skip
CAR = region(
    "rectanglelabels", "car", x=100 * 2 / 12, y=20, width=100 * 4 / 12, height=60, rotation=0
)
BRUSHED = region("brushlabels", "car", format="rle", rle=encoded(BRUSH))
CHOICE = {"value": {"choices": ["day"]}, "type": "choices", "id": "c"}


@pytest.fixture
def write(tmp_path):
    """Write images a.png, b.png, … with a list of regions each; open them."""

    def write(*results, change=None, **options):
        tasks = []
        for number, each in enumerate(results):
            name = f"{chr(97 + number)}.png"
            write_image(tmp_path / f"images/{name}", number)
            entries = [] if each is None else [{"id": 1, "was_cancelled": False, "result": each}]
            tasks.append({
                "id": number + 1, "annotations": entries, "predictions": [], "meta": {},
                "file_upload": f"1a2b3c4d-{name}",
                "data": {"image": f"/data/upload/7/1a2b3c4d-{name}"},
            })  # fmt: skip
        for task in tasks:
            (change or dict)(task)
        file = put(tmp_path / "project.json", tasks)
        places = {"images": str(tmp_path / "images"), "masks": str(file)}
        return open_source("label-studio", {**places, **options})

    return write


def test_regions_are_drawn(write, tmp_path):
    source = write([ROAD, CAR, BRUSHED, CHOICE], [])
    images = [write_image(tmp_path / f"images/{n}.png", at) for at, n in enumerate("ab")]
    masks = [MASK, np.zeros_like(MASK)]
    require_source(source, images, masks)
    assert source.classes == ("background", "car", "road")
    assert source.names(0)[1] == f"{tmp_path}/project.json[a.png]"
    require_packed(source, tmp_path / "o.zarr", images, masks)


def test_the_code_of_a_brush_begins_as_label_studio_writes_it():
    """The first bytes of a brush in a published data set of 3332x2527 pixels."""
    published = [2, 1, 233, 240, 57, 27, 255, 255, 255, 0]
    assert int.from_bytes(bytes(published[:4]), "big") == 3332 * 2527 * 4
    assert encoded(BRUSH)[4:6] == published[4:6], "bits of a value and of the four lengths"
    with pytest.raises(ValueError, match="ends early"):
        runs_of_brush(published, (2527, 3332))


def test_an_ellipse_and_a_turned_rectangle_are_drawn(write):
    ellipse = region("ellipselabels", "a", x=50, y=50, radiusX=25, radiusY=30, rotation=0)
    mask = write([ellipse]).read_mask(0)
    assert mask[5, 3:9].all()
    assert mask[2:8, 6].all()
    assert not mask[2, [3, 8]].any()
    turned = region("rectanglelabels", "a", x=50, y=20, width=50, height=20, rotation=90)
    mask = write([turned]).read_mask(0)  # about its corner, 6 pixels wide and 2 high
    assert np.argwhere(mask).min(axis=0).tolist() == [2, 4]
    assert np.argwhere(mask).max(axis=0).tolist() == [7, 5]


def test_classes_can_be_given_in_an_order(write):
    assert write([ROAD], classes="road, car").classes == ("background", "road", "car")
    with pytest.raises(SourceError, match=r"option classes: .*'road'; add it"):
        write([ROAD], classes="car")


def test_names_may_be_addresses(write):
    for address in ("s3://bucket/x/a.png", "/data/local-files/?d=x/a.png", "https://h/x/a%2Epng"):
        source = write([ROAD], change=lambda t, a=address: t.update(data={"i": a}, file_upload=""))
        assert source.keys == ["a"]


def test_tasks_without_an_annotation_are_left_out_by_name(write, tmp_path):
    source = write([ROAD], None)
    assert source.keys == ["a"]
    assert source.left_out == [(f"{tmp_path}/project.json[b.png]", "the task has no annotation")]


def test_the_annotation_that_is_ground_truth_is_read(write):
    def two(task):
        task["annotations"] = [
            {"result": [ROAD]},
            {"result": [CAR], "ground_truth": True},
            {"result": [ROAD], "was_cancelled": True},
        ]

    assert write([], change=two).classes == ("background", "car")
    with pytest.raises(SourceError, match=r"project.json.*task 1: 2 annotations; mark one"):
        write([], change=lambda t: t.update(annotations=[{"result": []}, {"result": []}]))


def test_key_points_have_no_shape(write, tmp_path):
    point = region("keypointlabels", "car", x=50, y=50, width=1)
    source = write([ROAD], [point])
    assert source.left_out == [(f"{tmp_path}/images/b.png", "1 of its 1 annotations have no shape")]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image_rotation": 90}, "rotated in Label Studio"),
        ({"original_width": -3}, "'original_width'"),
        ({"value": {"points": [[1, 2]], "polygonlabels": ["a"]}}, "a polygon of 1 points"),
        ({"value": {"points": [[1, "x"]], "polygonlabels": ["a"]}}, "the point"),
        ({"value": {"points": [[1, 2]], "polygonlabels": ["a", "b"]}}, "where one is needed"),
        ({"value": {"rle": [1, 300], "polygonlabels": ["a"]}}, "no list of bytes"),
        ({"value": {"x": 1, "height": 2, "polygonlabels": ["a"]}}, "the point"),
        ({"value": 3}, "'value'"),
    ],
)  # fmt: skip
def test_damaged_regions_are_refused_by_name(write, change, said):
    with pytest.raises(SourceError, match=rf"project.json.*task 1: region 0: .*{said}"):
        write([ROAD | change])


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (encoded(BRUSH)[:-3], "ends early"),
        (encoded(BRUSH[:5]), "240 values"),
        ([255, 255, 255, 255, 57], "4294967295 values"),
        ([], "ends early"),
    ],
)  # fmt: skip
def test_damaged_brushes_are_refused_by_name(write, code, said):
    source = write([region("brushlabels", "car", format="rle", rle=code)])
    with pytest.raises(SourceError, match=rf"project.json\[a.png\]: .*{said}"):
        source.read(0)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "[3]", '[{"data": {}}]', '[{"data": {"i": "a.png"}}]']
)
def test_damaged_files_are_refused_by_name(write, tmp_path, text):
    write([ROAD])
    file = put(tmp_path / "project.json", text)
    with pytest.raises(SourceError, match=r"project.json"):
        open_source("label-studio", {"images": str(tmp_path / "images"), "masks": str(file)})
