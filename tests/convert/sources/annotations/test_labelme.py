"""Shapes of labelme's JSON and of LabelMe's XML become masks."""

from __future__ import annotations

import base64
import io
import math

import numpy as np
import pytest
from PIL import Image

from annotated import HEIGHT, WIDTH, drawn, labelme, labelme_shape, put, write_image
from source_contract import require_packed, require_source
from zarrfeed.errors import SourceError
from zarrfeed_convert.formats import open_source

pytest.importorskip("datumaro")

ROAD = labelme_shape("road", [[0, 0], [12, 0], [12, 3], [0, 3]])
CAR = labelme_shape("car", [[2, 2], [6, 8]], "rectangle")
MASK = drawn(
    "222222222222",
    "222222222222",
    "221111222222",
    *["001111000000"] * 5,
    "000000000000",
    "000000000000",
)


def png(mask) -> str:
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.fixture
def write(tmp_path):
    """Write images a.png, b.png, … with a list of shapes each; open them."""

    def write(*shapes, **options):
        for number, each in enumerate(shapes):
            name = chr(97 + number)
            write_image(tmp_path / f"{name}.png", number)
            put(tmp_path / f"{name}.json", labelme(f"{name}.png", *each))
        return open_source("labelme", {"images": str(tmp_path), **options})

    return write


def test_polygons_and_rectangles_are_drawn(write, tmp_path):
    source = write([CAR, ROAD], [])
    images = [write_image(tmp_path / f"{name}.png", seed) for seed, name in enumerate("ab")]
    masks = [MASK, np.zeros_like(MASK)]
    require_source(source, images, masks)
    assert source.classes == ("background", "car", "road")
    assert source.names(0)[1] == str(tmp_path / "a.json")
    require_packed(source, tmp_path / "o.zarr", images, masks)


def test_a_circle_is_drawn_around_its_centre(write):
    mask = write([labelme_shape("a", [[6, 5], [9, 5]], "circle")]).read_mask(0)
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    distance = np.hypot(x - 6, y - 5)
    assert mask[distance < 2.8].all()
    assert not mask[distance > 3.3].any()
    assert abs(int(mask.sum()) - math.pi * 9) < 4


def test_a_mask_is_drawn_in_its_box(write):
    inside = np.zeros((4, 3), np.uint8)
    inside[1:, 1] = 255
    shape = labelme_shape("a", [[8, 5], [10, 8]], "mask") | {"mask": png(inside)}
    mask = write([shape]).read_mask(0)
    assert np.argwhere(mask).tolist() == [[6, 9], [7, 9], [8, 9]]


def test_shapes_of_a_group_are_one(write):
    # Alone, the small square would be in front of the triangle of the other class.
    parts = [
        labelme_shape("a", [[0, 0], [12, 0], [12, 10], [0, 10]], group=1),
        labelme_shape("a", [[1, 1], [3, 1], [3, 3], [1, 3]], group=1),
    ]
    other = labelme_shape("b", [[0, 0], [6, 0], [6, 6], [0, 6]])
    assert write([*parts, other]).read_mask(0)[2, 2] == 2
    assert write([*parts[:1], other, parts[1] | {"group_id": 2}]).read_mask(0)[2, 2] == 1


def test_labels_txt_gives_the_order_and_the_ignored_label(write, tmp_path):
    put(tmp_path / "labels.txt", "__ignore__\n_background_\nroad\ncar\n")
    ignored = labelme_shape("__ignore__", [[0, 9], [12, 9], [12, 10], [0, 10]])
    hole = labelme_shape("_background_", [[0, 0], [2, 0], [2, 2], [0, 2]])
    source = write([ROAD, CAR, ignored, hole])
    assert source.classes == ("background", "road", "car")
    assert source.ignore == 255
    mask = source.read_mask(0)
    assert (mask[9] == 255).all()
    assert mask[0, 0] == 0
    assert mask[0, 2] == 1
    assert mask[4, 4] == 2
    with pytest.raises(SourceError, match="labels of instances, found '__ignore__'"):
        open_source("labelme", {"images": str(tmp_path), "instances": "keep"})
    put(tmp_path / "labels.txt", "road\n")
    with pytest.raises(SourceError, match=r"a.json: needed a label of .*labels.txt, found 'car'"):
        write([ROAD, CAR])


def test_classes_are_those_of_all_subsets(tmp_path):
    for name, shape in (("train/a", ROAD), ("val/b", CAR)):
        write_image(tmp_path / f"{name}.png")
        put(tmp_path / f"{name}.json", labelme(f"{name[-1]}.png", shape))
    for subset, key, number in (("train", "train/a", 2), ("val", "val/b", 1)):
        source = open_source("labelme", {"images": str(tmp_path), "subset": subset})
        assert source.classes == ("background", "car", "road")
        assert source.keys == [key]
        assert source.read_mask(0).max() == number
    with pytest.raises(SourceError, match="one of train, val, found 'test'"):
        open_source("labelme", {"images": str(tmp_path), "subset": "test"})


def test_files_may_lie_beside_the_folder_of_images(tmp_path):
    write_image(tmp_path / "images/a.png")
    put(tmp_path / "json/a.json", labelme("..\\images\\a.png", ROAD))
    source = open_source("labelme", {"images": str(tmp_path)})
    assert source.keys == ["images/a"]


def test_images_are_found_inside_of_the_folder_alone(tmp_path):
    write_image(tmp_path / "secret.png")
    for name in ("../secret.png", str(tmp_path / "secret.png")):
        put(tmp_path / "set/a.json", labelme(name, ROAD))
        with pytest.raises(SourceError, match=r"a.json: there is no image .*secret.png"):
            open_source("labelme", {"images": str(tmp_path / "set")})


def test_points_and_lines_have_no_shape(write, tmp_path):
    source = write([ROAD], [ROAD, labelme_shape("a", [[1, 1]], "point")])
    assert source.left_out == [(f"{tmp_path}/b.png", "1 of its 2 annotations have no shape")]


def test_other_json_files_are_passed_over(write, tmp_path):
    put(tmp_path / "settings.json", {"shapes": 3})
    assert write([ROAD]).keys == ["a"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shape_type": "sphere"}, "unknown kind 'sphere'"),
        ({"points": [[1, 2], [3]]}, r"the point '\[3\]'"),
        ({"points": [[1, 2], [3, "x"]]}, "the point"),
        ({"points": [[1, 2], [3, 1e999]]}, "the point"),
        ({"points": None}, "instead of points"),
        ({"points": [[1, 2]]}, "1 points"),
        ({"label": 3}, "'label': '3'"),
        ({"group_id": [1]}, "'group_id'"),
        ({"shape_type": "mask"}, "'mask': 'None'"),
        ({"shape_type": "mask", "mask": "%%"}, "no Base64"),
        ({"shape_type": "mask", "mask": png(np.ones((9, 9), np.uint8))}, "outside its image"),
    ],
)  # fmt: skip
def test_damaged_shapes_are_refused_by_name(write, change, said):
    with pytest.raises(SourceError, match=rf"a.json.*{said}"):
        write([CAR | change])


def test_a_mask_that_is_no_image_is_refused_by_name(write):
    shape = labelme_shape("a", [[1, 1], [2, 2]], "mask")
    with pytest.raises(SourceError, match=r"a.json\[mask\]: cannot be decoded"):
        write([shape | {"mask": base64.b64encode(b"GIF89a...").decode()}])


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"shapes": [], "imagePath": 3}'])
def test_damaged_files_are_refused_by_name(write, tmp_path, text):
    put(tmp_path / "b.json", text)
    with pytest.raises(SourceError, match=r"b.json"):
        write([ROAD])


class TestXml:
    """What CVAT and the older LabelMe write, read by Datumaro."""

    ROAD = ((0, 0), (12, 0), (12, 3), (0, 3))
    CAR = ((2, 2), (6, 2), (6, 8), (2, 8))

    @staticmethod
    def xml(name, *objects, folder="", head=""):
        shapes = "".join(
            f"<object><name>{label}</name><deleted>{deleted}</deleted><verified>0</verified>"
            f"<occluded>no</occluded><date/><id>{number}</id><parts><hasparts/><ispartof/></parts>"
            "<attributes/><polygon>"
            + "".join(f"<pt><x>{x:.2f}</x><y>{y:.2f}</y></pt>" for x, y in points)
            + "<username/></polygon></object>"
            for number, (label, points, deleted) in enumerate(objects)
        )
        return (
            f'<?xml version="1.0" encoding="UTF-8"?>\n{head}<annotation><filename>{name}</filename>'
            f"<folder>{folder}</folder><source><sourceImage/></source><imagesize>"
            f"<nrows>{HEIGHT}</nrows><ncols>{WIDTH}</ncols></imagesize>{shapes}</annotation>"
        )

    def test_polygons_are_drawn_except_deleted_ones(self, tmp_path):
        images = [write_image(tmp_path / f"{name}.png", at) for at, name in enumerate("ab")]
        shapes = [("car", self.CAR, 0), ("road", self.ROAD, 0), ("sky", self.ROAD, 1)]
        put(tmp_path / "a.xml", self.xml("a.png", *shapes))
        put(tmp_path / "b.xml", self.xml("b.png"))
        source = open_source("labelme", {"images": str(tmp_path)})
        require_source(source, images, [MASK, np.zeros_like(MASK)])
        assert source.classes == ("background", "car", "road")

    @pytest.mark.parametrize(
        ("image", "file", "folder"),
        [
            ("Images/users/ann/a.png", "Annotations/users/ann/a.xml", "users/ann"),
            ("default/a.png", "default/a.xml", "default"),
            ("a.png", "a.xml", "example"),
        ],
    )
    def test_images_are_found_where_the_tools_put_them(self, tmp_path, image, file, folder):
        write_image(tmp_path / image)
        put(tmp_path / file, self.xml("a.png", ("car", self.CAR, 0), folder=folder))
        source = open_source("labelme", {"images": str(tmp_path)})
        assert source.keys == [image.removesuffix(".png")]

    def test_datumaro_writes_what_is_read(self, tmp_path):
        from datumaro import Dataset, DatasetItem, LabelCategories, Polygon
        from datumaro import Image as Picture
        from datumaro.components.annotation import AnnotationType

        labels = LabelCategories.from_iterable(["road", "car"])
        shapes = [
            Polygon([each for point in points for each in point], label=label, id=label)
            for label, points in enumerate([self.ROAD, self.CAR])
        ]
        picture = Picture.from_numpy(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
        item = DatasetItem("a", subset="train", media=picture, annotations=shapes)
        data = Dataset.from_iterable([item], categories={AnnotationType.label: labels})
        data.export(str(tmp_path / "out"), "label_me", save_media=True)
        source = open_source("labelme", {"images": str(tmp_path / "out")})
        assert source.classes == ("background", "car", "road")
        np.testing.assert_array_equal(source.read_mask(0), MASK)

    @pytest.mark.parametrize(
        "head",
        [
            '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]>',
            "<!DOCTYPE a ["
            + '<!ENTITY e0 "ha">'
            + "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
            + "]>",
        ],
        ids=["external", "billion laughs"],
    )
    def test_entities_are_refused(self, tmp_path, head):
        write_image(tmp_path / "a.png")
        put(tmp_path / "a.xml", self.xml("a.png", head=head))
        with pytest.raises(SourceError, match=r"a.xml.*EntitiesForbidden"):
            open_source("labelme", {"images": str(tmp_path)})

    def test_masks_in_files_are_refused_before_they_are_opened(self, tmp_path):
        write_image(tmp_path / "a.png")
        text = self.xml("a.png", ("car", self.CAR, 0))
        put(tmp_path / "a.xml", text.replace("polygon>", "segm>"))
        with pytest.raises(SourceError, match=r"a.xml: .*mask file \(segm\)"):
            open_source("labelme", {"images": str(tmp_path)})

    @pytest.mark.parametrize("cut", [0, 30, 150, 400])
    def test_truncated_files_are_refused_by_name(self, tmp_path, cut):
        write_image(tmp_path / "a.png")
        put(tmp_path / "a.xml", self.xml("a.png", ("car", self.CAR, 0))[:cut])
        with pytest.raises(SourceError, match=r"a.xml"):
            open_source("labelme", {"images": str(tmp_path)})

    def test_annotations_of_voc_are_no_labelme(self, tmp_path):
        write_image(tmp_path / "a.png")
        put(tmp_path / "a.xml", "<data/>")
        with pytest.raises(SourceError, match=r"needed labelme's JSON or XML, found a.png, a.xml"):
            open_source("labelme", {"images": str(tmp_path)})
