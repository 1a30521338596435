"""CVAT's polygons and masks become the masks that CVAT shows."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from annotated import (
    CVAT_MASK,
    cvat,
    cvat_image,
    cvat_polygon,
    drawn,
    put,
    write_image,
)
from source_contract import require_packed, require_source
from zarrfeed.errors import SourceError
from zarrfeed_convert import convert
from zarrfeed_convert.formats import open_source

pytest.importorskip("datumaro")

# Of pycocotools' decoder, under NumPy 2; only these tests use it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ROAD = cvat_polygon("road", "0.00,0.00;12.00,0.00;12.00,3.00;0.00,3.00")
CAR = cvat_polygon("car", "2,2;6,2;6,8;2,8")
SHAPES = drawn(
    "111111111111",
    "111111111111",
    "112222111111",
    "002222000000",
    "002222000000",
    "002222000000",
    "002222000220",
    "002222000200",
    "000000000000",
    "000000000000",
)


@pytest.fixture
def write(tmp_path):
    """Write an export of images a.png, b.png, … with a list of shapes each."""

    def write(*frames, **more):
        for number in range(len(frames)):
            write_image(tmp_path / f"images/{chr(97 + number)}.png", number)
        put(
            tmp_path / "annotations.xml",
            cvat(
                *(
                    cvat_image(number, f"{chr(97 + number)}.png", *frame)
                    for number, frame in enumerate(frames)
                ),
                **more,
            ),
        )
        return open_source("cvat", {"images": str(tmp_path)})

    return write


def test_polygons_and_masks_are_drawn_as_cvat_shows_them(write, tmp_path):
    source = write([CAR, ROAD, CVAT_MASK], [])
    images = [write_image(tmp_path / f"images/{name}.png", seed) for seed, name in enumerate("ab")]
    masks = [SHAPES, np.zeros_like(SHAPES)]
    require_source(source, images, masks)
    assert source.classes == ("background", "road", "car")
    assert source.keys == ["a", "b"]
    assert source.names(0)[1] == f"{tmp_path}/annotations.xml[a.png]"
    require_packed(source, tmp_path / "o.zarr", images, masks)


def test_shapes_of_a_higher_layer_are_in_front_of_smaller_ones(write):
    above = cvat_polygon("road", "0,0;12,0;12,3;0,3", z_order=1)
    assert (write([above, CAR]).read_mask(0)[2] == 1).all()
    assert write([ROAD, CAR]).read_mask(0)[2].tolist() == [1, 1, 2, 2, 2, 2] + [1] * 6


@pytest.mark.parametrize(
    "edge",
    ["0.00,0.00;24.00,0.00;24.00,3.00;0.00,3.00", "-3,-3;15,-3;15,3;-3,3"],
    ids=["right", "all sides"],
)
def test_polygons_end_at_the_edges_of_the_image(write, edge):
    mask = write([cvat_polygon("road", edge)]).read_mask(0)
    assert mask[:3].all()
    assert not mask[3:].any()


def test_polygons_are_those_of_pycocotools(write):
    pycoco = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(3)
    for _ in range(20):
        points = (rng.random((5, 2)) * [12, 10]).round(2)
        text = ";".join(f"{x:.2f},{y:.2f}" for x, y in points)
        code = pycoco.frPyObjects([points.ravel().tolist()], 10, 12)
        expected = pycoco.decode(pycoco.merge(code))
        np.testing.assert_array_equal(write([cvat_polygon("road", text)]).read_mask(0), expected)


def test_instances_are_numbered_in_the_order_of_the_file(write, tmp_path):
    write([CAR, ROAD, CVAT_MASK])
    source = open_source("cvat", {"images": str(tmp_path), "instances": "keep"})
    mask = source.read_mask(0)
    np.testing.assert_array_equal(
        mask[3:], np.where(SHAPES == 2, 1, 0)[3:] * (1 + 2 * (mask[3:] == 3))
    )
    assert (mask[0] == 2).all()
    assert mask[6, 9] == 3
    assert source.classes is None
    source = open_source("cvat", {"images": str(tmp_path), "instances": "boundary"})
    _, mask, weight = source.read(0)
    np.testing.assert_array_equal(mask, SHAPES)
    assert weight.shape == mask.shape
    assert weight.max() > 1
    assert len(source.names(0)) == 3
    convert(source, tmp_path / "o.zarr", split="train", workers=1)
    stored = zarr.open_group(tmp_path / "o.zarr/train", mode="r")
    np.testing.assert_array_equal(stored["weight"][0], weight)


def test_images_with_boxes_are_left_out_by_name(write, tmp_path):
    box = '<box label="car" xtl="1" ytl="1" xbr="3" ybr="3" occluded="0" z_order="0"></box>'
    source = write([ROAD], [CAR, box])
    assert source.keys == ["a"]
    assert source.left_out == [(f"{tmp_path}/images/b.png", "1 of its 2 annotations have no shape")]


def test_tags_of_images_are_no_shapes(write):
    assert write([ROAD, '<tag label="car" source="manual"></tag>']).keys == ["a"]


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ('<ellipse label="car" cx="5" cy="5" rx="2" ry="2" z_order="0"></ellipse>', "ellipse"),
        ('<skeleton label="car" z_order="0"></skeleton>', "skeleton"),
        (cvat_polygon("lorry", "1,1;5,1;5,5"), "polygon without one"),
        (CVAT_MASK.replace("1, 2, 1, 1, 1", "1, 2, 1"), "runs of 4 pixels"),
        (CVAT_MASK.replace('left="8"', 'left="11"'), "columns 11-14"),
        (CVAT_MASK.replace("1, 2,", "1, -2,"), "cannot be read"),
        (CVAT_MASK.replace('width="3"', 'width="3000000000"'), "columns"),
        (cvat_polygon("car", "1,1;5,1"), "Wrong polygon points"),
        (cvat_polygon("car", "1,1;5;5"), "annotations.xml"),
    ],
)  # fmt: skip
def test_shapes_that_are_not_read_are_refused_by_name(write, shape, said):
    with pytest.raises(SourceError, match=said) as error:
        write([ROAD, shape])
    assert "annotations.xml" in str(error.value)


def test_polygons_far_outside_are_refused_when_they_are_drawn(write):
    source = write([cvat_polygon("road", "0,0;900,0;900,900")])
    with pytest.raises(SourceError, match=r"annotations.xml\[a.png\].*was it drawn on a larger"):
        source.read(0)


def test_a_mask_may_not_claim_more_pixels_than_a_sample(tmp_path):
    write_image(tmp_path / "images/a.png")
    image = cvat_image(0, "a.png", CVAT_MASK).replace('width="12"', 'width="3000000"')
    put(tmp_path / "annotations.xml", cvat(image.replace('height="10"', 'height="3000000"')))
    with pytest.raises(SourceError, match=r"annotations.xml\[a.png\].*at most"):
        open_source("cvat", {"images": str(tmp_path)})


def test_an_image_of_another_size_is_refused(tmp_path):
    write_image(tmp_path / "images/a.png", size=(12, 10))
    put(tmp_path / "annotations.xml", cvat(cvat_image(0, "a.png", ROAD)))
    source = open_source("cvat", {"images": str(tmp_path)})
    with pytest.raises(SourceError, match=r"needed 10x12.*found 12x10; was it rotated"):
        source.probe(0)


def test_a_photograph_that_is_shown_rotated_is_annotated_as_it_is_shown(tmp_path):
    from PIL import Image

    (tmp_path / "images").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # stored 12x10, shown 10x12
    Image.new("RGB", (10, 12)).save(tmp_path / "images/a.jpg", exif=exif)
    put(tmp_path / "annotations.xml", cvat(cvat_image(0, "a.jpg", ROAD)))
    image, mask = open_source("cvat", {"images": str(tmp_path)}).read(0)
    assert image.shape == (10, 12, 3)
    assert mask[:3].all()


class TestSubsets:
    @pytest.fixture
    def project(self, tmp_path):
        for number, name in enumerate(["Train/a.png", "Validation/b.png"]):
            write_image(tmp_path / f"images/{name}", number)
        put(
            tmp_path / "annotations.xml",
            cvat(
                cvat_image(0, "a.png", ROAD, more='subset="Train" task_id="1"'),
                cvat_image(1, "b.png", CAR, more='subset="Validation" task_id="2"'),
                kind="project",
            ),
        )
        return {"images": str(tmp_path)}

    def test_one_is_read(self, project):
        source = open_source("cvat", project)
        assert source.keys == ["Train/a"]
        assert source.read_mask(0).max() == 1
        source = open_source("cvat", project | {"subset": "val"})
        assert source.keys == ["Validation/b"]
        assert source.read_mask(0).max() == 2

    def test_another_one_is_refused(self, project):
        with pytest.raises(
            SourceError, match=r"one of Train, Validation, found 'test'.*subset=Train"
        ):
            open_source("cvat", project | {"subset": "test"})

    def test_frames_of_several_tasks_with_one_number_are_refused(self, tmp_path):
        frames = [cvat_image(0, f"{name}.png", ROAD) for name in "ab"]
        put(tmp_path / "annotations.xml", cvat(*frames))
        with pytest.raises(SourceError, match=r"frame number once, found 0 for a.png and b.png"):
            open_source("cvat", {"images": str(tmp_path)})


def test_tracks_of_a_video_are_drawn_where_they_are_inside(tmp_path):
    for number in range(3):
        write_image(tmp_path / f"images/frame_{number:06}.PNG", number)
    polygon = (
        '<polygon frame="{0}" keyframe="1" outside="{1}" occluded="0" points="2,2;6,2;6,8;2,8" '
        'z_order="0"></polygon>'
    )
    track = "".join(polygon.format(frame, int(frame == 2)) for frame in range(3))
    put(
        tmp_path / "annotations.xml",
        cvat(f'<track id="0" label="car" source="manual">{track}</track>'),
    )
    source = open_source("cvat", {"images": str(tmp_path)})
    assert [int(source.read_mask(each).max()) for each in range(3)] == [2, 2, 0]


def test_a_mask_in_a_track_is_refused(tmp_path):
    mask = CVAT_MASK.replace("<mask", '<mask frame="0" keyframe="1" outside="0"')
    put(tmp_path / "annotations.xml", cvat(f'<track id="0" label="car">{mask}</track>'))
    with pytest.raises(SourceError, match="needed polygons in tracks, found a mask"):
        open_source("cvat", {"images": str(tmp_path)})


def test_images_that_are_named_by_paths_of_another_machine_are_found_inside_alone(tmp_path):
    write_image(tmp_path / "secret.png")
    inside = tmp_path / "export"
    write_image(inside / "images/a.png")
    frames = ["/home/ann/a.png", "../../secret.png"]
    put(
        inside / "annotations.xml",
        cvat(*(cvat_image(number, name, ROAD) for number, name in enumerate(frames))),
    )
    source = open_source("cvat", {"images": str(inside)})
    assert source.keys == ["a"]
    assert "there is no image ../../secret.png" in source.left_out[0][1]


def test_entities_are_not_expanded(tmp_path):
    write_image(tmp_path / "images/a.png")
    said = cvat(cvat_image(0, "a.png", ROAD))
    for entity in ('SYSTEM "file:///etc/passwd"', '"x"'):
        bomb = f"<!DOCTYPE annotations [<!ENTITY e {entity}>]>\n<annotations>&e;"
        put(tmp_path / "annotations.xml", said.replace("<annotations>", bomb))
        with pytest.raises(SourceError, match=r"annotations.xml.*EntitiesForbidden"):
            open_source("cvat", {"images": str(tmp_path)})


@pytest.mark.parametrize("cut", [0, 20, 200, 500])
def test_a_truncated_file_is_refused_by_name(tmp_path, cut):
    write_image(tmp_path / "images/a.png")
    put(tmp_path / "annotations.xml", cvat(cvat_image(0, "a.png", ROAD))[:cut])
    with pytest.raises(SourceError, match=r"annotations.xml"):
        open_source("cvat", {"images": str(tmp_path)})


def test_without_a_file_it_says_what_is_there(tmp_path):
    put(tmp_path / "labels.json", "{}")
    with pytest.raises(SourceError, match=r"needed annotations.xml.*found labels.json"):
        open_source("cvat", {"images": str(tmp_path)})
