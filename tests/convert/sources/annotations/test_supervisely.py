"""Figures of Supervisely become masks."""

from __future__ import annotations

import base64
import io
import zlib

import numpy as np
import pytest
from PIL import Image

from annotated import HEIGHT, WIDTH, drawn, put, write_image
from source_contract import require_packed, require_source
from zarrfeed.errors import SourceError
from zarrfeed_convert import Limits
from zarrfeed_convert.formats import open_source

pytest.importorskip("pycocotools")

MASK = drawn(
    "111111111111",
    "111111111111",
    "112222111111",
    "002002000000",
    "002002000000",
    "002222000000",
    "000000000000",
    "000000000220",
    "000000000200",
    "000000000000",
)


def bitmap(mask, *, transparent=True) -> str:
    """Encode a mask as Supervisely's SDK does: a palette of black, which is clear, and white."""
    image = Image.fromarray(np.asarray(mask, np.uint8))
    image.putpalette([0, 0, 0, 255, 255, 255])
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=False, **({"transparency": 0} if transparent else {}))
    return base64.b64encode(zlib.compress(file.getvalue())).decode()


def figure(name, kind, **more):
    return {
        "id": 1, "classId": 2, "classTitle": name, "geometryType": kind, "tags": [],
        "labelerLogin": "ann", "createdAt": "2024-05-01T10:00:00Z", **more,
    }  # fmt: skip


def polygon(name, exterior, *interior):
    return figure(name, "polygon", points={"exterior": exterior, "interior": list(interior)})


ROAD = figure("road", "rectangle", points={"exterior": [[11, 2], [0, 0]], "interior": []})
RING = polygon("car", [[2, 2], [6, 2], [6, 6], [2, 6]], [[3, 3], [5, 3], [5, 5], [3, 5]])
CAR = figure("car", "bitmap", bitmap={"data": bitmap([[1, 1], [1, 0]]), "origin": [9, 7]})


@pytest.fixture
def write(tmp_path):
    """Write images a.png, b.png, … of a dataset with a list of objects each; open the project."""

    def write(*objects, dataset="ds0", **options):
        classes = [
            {"title": name, "shape": "any", "color": "#FF0000", "geometry_config": {}, "id": at}
            for at, name in enumerate(["road", "car"])
        ]
        put(tmp_path / "meta.json", {"classes": classes, "tags": [], "projectType": "images"})
        for number, each in enumerate(objects):
            name = f"{chr(97 + number)}.png"
            write_image(tmp_path / f"{dataset}/img/{name}", number)
            said = {
                "description": "",
                "tags": [],
                "size": {"height": HEIGHT, "width": WIDTH},
                "objects": each,
            }
            put(tmp_path / f"{dataset}/ann/{name}.json", said)
        return open_source("supervisely", {"images": str(tmp_path), **options})

    return write


def test_figures_are_drawn(write, tmp_path):
    source = write([ROAD, RING, CAR], [])
    images = [write_image(tmp_path / f"ds0/img/{n}.png", at) for at, n in enumerate("ab")]
    masks = [MASK, np.zeros_like(MASK)]
    require_source(source, images, masks)
    assert source.classes == ("background", "road", "car")
    assert source.names(0)[1] == f"{tmp_path}/ds0/ann/a.png.json"
    require_packed(source, tmp_path / "o.zarr", images, masks)


def test_a_bitmap_may_have_no_transparency(write):
    data = bitmap([[1, 1], [1, 0]], transparent=False)
    source = write([CAR | {"bitmap": {"data": data, "origin": [9, 7]}}])
    np.testing.assert_array_equal(source.read_mask(0)[6:], MASK[6:])


def test_instances_are_numbered(write):
    mask = write([ROAD, RING, CAR], instances="keep").read_mask(0)
    assert mask[0, 0] == 1
    assert mask[3, 2] == 2
    assert mask[7, 9] == 3


def test_datasets_with_names_of_subsets_are_subsets(write, tmp_path):
    write([ROAD], dataset="train")
    source = write([RING], dataset="validation", subset="val")
    assert source.keys == ["validation/img/a"]
    assert open_source("supervisely", {"images": str(tmp_path)}).keys == ["train/img/a"]


def test_points_have_no_shape(write, tmp_path):
    point = figure("car", "point", points={"exterior": [[1, 1]], "interior": []})
    source = write([ROAD], [point])
    assert source.left_out == [
        (f"{tmp_path}/ds0/img/b.png", "1 of its 1 annotations have no shape")
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"geometryType": "sphere"}, "unknown kind 'sphere'"),
        ({"classTitle": "lorry"}, "meta.json, found 'lorry'"),
        ({"points": {"exterior": [[1, 2]]}}, "a polygon of 1 points"),
        ({"points": {"exterior": [[1]]}}, "the point"),
        ({"points": []}, "'points'"),
        ({"geometryType": "bitmap"}, "'bitmap'"),
        ({"geometryType": "bitmap", "bitmap": {"data": "x", "origin": None}}, "the point"),
    ],
)  # fmt: skip
def test_damaged_objects_are_refused_by_name(write, change, said):
    with pytest.raises(SourceError, match=rf"a.png.json.*{said}"):
        write([RING | change])


@pytest.mark.parametrize(
    ("data", "origin", "said"),
    [
        ("%%", [0, 0], "no PNG in Base64"),
        ("AAAA", [0, 0], "no PNG in Base64"),
        (bitmap([[1]])[:40], [0, 0], "ends early|no PNG"),
        (bitmap([[1]]), [12, 0], "outside its image"),
        (bitmap([[1]]), [-1, 0], "outside its image"),
        (base64.b64encode(zlib.compress(b"text")).decode(), [0, 0], "cannot be decoded"),
    ],
)  # fmt: skip
def test_damaged_bitmaps_are_refused_by_name(write, data, origin, said):
    source = write([CAR | {"bitmap": {"data": data, "origin": origin}}])
    with pytest.raises(SourceError, match=rf"(a.png.json|bitmap).*({said})"):
        source.read(0)


def test_a_bomb_is_not_unpacked(write, tmp_path):
    bomb = base64.b64encode(zlib.compress(bytes(50 << 20))).decode()
    write([CAR | {"bitmap": {"data": bomb, "origin": [0, 0]}}])
    limits = Limits(sample_nbytes=1 << 20)
    source = open_source("supervisely", {"images": str(tmp_path)}, limits=limits)
    with pytest.raises(SourceError, match="larger than a sample may be"):
        source.read(0)


@pytest.mark.parametrize("name", ["meta.json", "ds0/ann/a.png.json"])
@pytest.mark.parametrize("text", ["", "[]", '{"classes": 3, "objects": 3}'])
def test_damaged_files_are_refused_by_name(write, tmp_path, name, text):
    write([ROAD])
    put(tmp_path / name, text)
    with pytest.raises(SourceError, match=name):
        open_source("supervisely", {"images": str(tmp_path)})


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(SourceError, match=r"needed meta.json, found nothing"):
        open_source("supervisely", {"images": str(tmp_path)})
