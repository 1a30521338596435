"""Shapes of a COCO file become the masks that pycocotools draws."""

from __future__ import annotations

import contextlib
import io
import json
import pickle

import numpy as np
import pytest
import zarr
from PIL import Image

from source_contract import require_source
from zarrfeed.errors import SourceError
from zarrfeed_convert import convert
from zarrfeed_convert.formats import open_source, source_of

pycoco = pytest.importorskip("pycocotools.coco")
mask = pytest.importorskip("pycocotools.mask")

from zarrfeed_convert.sources.annotations.named_images import locate  # noqa: E402
from zarrfeed_convert.sources.coco.coco import CocoJson  # noqa: E402
from zarrfeed_convert.sources.instances.class_names import class_ids  # noqa: E402

# Of pycocotools' decoder, under NumPy 2; only these tests use it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

HEIGHT, WIDTH = 20, 30
CATEGORIES = [{"id": 7, "name": "car"}, {"id": 1, "name": "café"}, {"id": 90, "name": "toothbrush"}]


def rle(shape, *, compressed):
    code = mask.encode(np.asfortranarray(shape.astype(np.uint8)))
    if compressed:
        return {"size": code["size"], "counts": code["counts"].decode()}
    flat = shape.ravel("F")
    ends = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *ends, flat.size]).tolist()
    return {"size": [HEIGHT, WIDTH], "counts": [0, *counts] if flat[0] else counts}


def box(y, x, height, width):
    shape = np.zeros((HEIGHT, WIDTH), bool)
    shape[y : y + height, x : x + width] = True
    return shape


# Two polygons; a code; a compressed code; a triangle that ends outside the image.
SHAPES = [
    (7, [[2, 2, 20, 3, 18, 17.5, 3, 15], [22.5, 1, 29, 1, 25, 8]], 0),
    (1, rle(box(4, 5, 3, 4), compressed=False), 0),
    (90, rle(box(0, 10, 20, 12), compressed=True), 0),
    (1, [[25, 10, 34.5, 12, 27, 25]], 0),
]


@pytest.fixture
def write(tmp_path):
    """Write a dataset of images a, b, …, with a list of shapes each; give its folder and file."""

    def write(*shapes, entries=None, **more):
        folder = tmp_path / "images"
        folder.mkdir(exist_ok=True)
        rng = np.random.default_rng(0)
        images, annotations = [], []
        for number, of_image in enumerate(shapes):
            name = f"{chr(97 + number)}.png"
            values = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
            Image.fromarray(values).save(folder / name)
            images.append({"id": 500 + number, "file_name": name, "height": HEIGHT, "width": WIDTH})
            for category, segmentation, crowd in of_image:
                entry = {"id": len(annotations) + 1, "image_id": 500 + number}
                entry |= {"category_id": category, "iscrowd": crowd}
                annotations.append(entry | {"segmentation": segmentation})
        content = {
            "info": {"description": '{["é'},
            "annotations": annotations[::2] + annotations[1::2],
            "categories": CATEGORIES,
            "images": [{**image, **(entries or {})} for image in images],
        }
        path = tmp_path / "annotations.json"
        path.write_text(json.dumps(content | more, ensure_ascii=False, indent=1), encoding="utf-8")
        return folder, path

    return write


def drawn(path, image, order="file", crowd_id=None):
    """Draw an image's annotations with pycocotools, one over the other."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = pycoco.COCO(str(path))
    ids = {1: 1, 7: 2, 90: 3}
    shapes = coco.loadAnns(coco.getAnnIds(image))
    if order == "area":
        shapes.sort(key=lambda shape: -int(coco.annToMask(shape).sum()))
    shapes.sort(key=lambda shape: not shape["iscrowd"])
    values = np.zeros((HEIGHT, WIDTH), np.uint8)
    for shape in shapes:
        number = crowd_id if shape["iscrowd"] and crowd_id else ids[shape["category_id"]]
        values[coco.annToMask(shape) == 1] = number
    return values


@pytest.mark.parametrize("order", ["area", "file"])
def test_masks_are_what_pycocotools_draws(write, order, capsys):
    folder, path = write(SHAPES, SHAPES[::-1], [])
    source = CocoJson(folder, path, order=order)
    assert source.keys == ["a", "b", "c"]
    assert source.classes == ("background", "café", "car", "toothbrush")
    assert source.ignore is None
    for sample in range(3):
        image, ids = source.read(sample)
        np.testing.assert_array_equal(image, np.array(Image.open(source.names(sample)[0])))
        np.testing.assert_array_equal(ids, drawn(path, 500 + sample, order))
        header = source.probe(sample)
        assert header.image.shape == image.shape
        assert header.mask.shape == ids.shape
        assert ids.flags.c_contiguous
    assert set(np.unique(source.read_mask(0))) == {0, 1, 2, 3}
    assert source.describe()["facts"]["annotations"] == 8
    assert source.describe()["facts"]["images_without_annotation"] == 1
    assert capsys.readouterr().out == ""


def test_small_things_stay_in_front_of_large_ones(write):
    small, large = rle(box(8, 8, 2, 2), compressed=True), rle(box(2, 2, 15, 20), compressed=False)
    folder, path = write([(1, small, 0), (7, large, 0)])
    assert CocoJson(folder, path).read_mask(0)[8, 8] == 1
    assert CocoJson(folder, path, order="file").read_mask(0)[8, 8] == 2
    neither = CocoJson(folder, path, order="none")
    assert neither.read_mask(0)[8, 8] == neither.ignore == 255


def test_crowds_are_below_everything_or_ignored(write):
    crowd = rle(box(0, 0, 10, 10), compressed=False)
    folder, path = write([(7, rle(box(0, 0, 20, 5), compressed=True), 0), (1, crowd, 1)])
    for order in ("area", "file"):
        np.testing.assert_array_equal(
            CocoJson(folder, path, order=order).read_mask(0), drawn(path, 500)
        )
    source = CocoJson(folder, path, crowd="ignore")
    assert source.ignore == 255
    np.testing.assert_array_equal(source.read_mask(0), drawn(path, 500, crowd_id=255))
    assert source.describe()["facts"]["crowds"] == 1


def test_images_without_annotation_are_background_or_no_samples(write):
    folder, path = write(SHAPES, [])
    assert not CocoJson(folder, path).read_mask(1).any()
    source = CocoJson(folder, path, unannotated="leave_out")
    assert source.keys == ["a"]
    assert source.left_out == []


def test_images_are_found_in_folders_and_missing_ones_left_out(write):
    folder, path = write(SHAPES, SHAPES, SHAPES)
    (folder / "set").mkdir()
    (folder / "a.png").rename(folder / "set/a.png")
    (folder / "more.jpg").touch()
    (folder / "b.png").unlink()
    content = json.loads(path.read_text())
    content["images"][0]["file_name"] = r"C:\data\set\a.png"
    content["images"][2] |= {"file_name": None, "coco_url": "http://images.org/val/c.png"}
    path.write_text(json.dumps(content))
    source = CocoJson(folder, path)
    assert source.keys == ["c", "set/a"]
    assert source.left_out == [
        (str(folder / "b.png"), f"{path} names it, but it is not in {folder}")
    ]
    assert source.describe()["facts"]["images_not_in_json"] == 1
    np.testing.assert_array_equal(source.read_mask(1), drawn(path, 500, "area"))


def test_boxes_without_shape_leave_an_image_out(write):
    folder, path = write(SHAPES, [*SHAPES, (1, [], 0)])
    source = CocoJson(folder, path)
    assert source.left_out == [(str(folder / "b.png"), "1 of its 5 annotations have no shape")]
    folder, path = write([(1, [], 0)])
    with pytest.raises(SourceError, match="found 1 with boxes alone"):
        CocoJson(folder, path)


@pytest.mark.parametrize("nothing", [[], None, {}, [[]], [[], []], [[2, 2, 9, 9]], [[3, 3]]])
def test_what_draws_nothing_leaves_an_image_out(write, nothing):
    folder, path = write(SHAPES, [*SHAPES, (1, nothing, 0)])
    source = CocoJson(folder, path)
    assert source.left_out == [(str(folder / "b.png"), "1 of its 5 annotations have no shape")]


@pytest.mark.parametrize(
    "shape",
    [
        {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]},
        [[0.1, 0.1, 0.4, 0.1, 0.4, 0.4]],
        [[2, 2, 10, 2, 6, 2]],
    ],
)
def test_a_shape_of_nothing_in_a_box_of_something_is_refused(write, shape):
    folder, path = write([(1, shape, 0)])
    assert not CocoJson(folder, path).read_mask(0).any()
    content = json.loads(path.read_text())
    content["annotations"][0]["bbox"] = [2, 2, 8, 8]
    path.write_text(json.dumps(content))
    with pytest.raises(SourceError, match="annotation 1: a shape of 0 pixels in a box of 8x8"):
        CocoJson(folder, path).read_mask(0)
    content["annotations"][0]["bbox"] = [2, 2, 8, 0.5]
    path.write_text(json.dumps(content))
    assert not CocoJson(folder, path).read_mask(0).any()


def test_lines_beside_a_shape_cover_nothing(write):
    folder, path = write([(7, [[1, 1, 5, 1, 5, 5], [3, 3, 9, 9]], 0)])
    ids = CocoJson(folder, path).read_mask(0)
    assert set(np.unique(ids)) == {0, 2}
    folder, path = write([(7, [1, 1, 5, 1, 5, 5], 0)])
    np.testing.assert_array_equal(CocoJson(folder, path).read_mask(0), ids)


def test_the_file_may_leave_out_sizes(write):
    folder, path = write(SHAPES, entries={"height": None, "width": None})
    source = CocoJson(folder, path)
    ids = source.read_mask(0)
    assert ids.shape == (HEIGHT, WIDTH)
    np.testing.assert_array_equal(ids, source.read(0)[1])


def test_an_image_of_another_size_is_refused_by_name(write):
    folder, path = write(SHAPES)
    Image.new("RGB", (HEIGHT, WIDTH)).save(folder / "a.png")
    source = CocoJson(folder, path)
    for read in (source.probe, source.read, source.read_mask):
        with pytest.raises(SourceError) as error:
            read(0)
        assert str(error.value).startswith(f"{folder / 'a.png'}: needed 20x30 (height x width), as")
        assert "found 30x20; was it rotated" in str(error.value)


@pytest.mark.parametrize(
    ("segmentation", "said"),
    [
        (
            {"size": [HEIGHT, WIDTH], "counts": [3, 4]},
            "runs of 7 pixels in all for an image of 600",
        ),
        ({"size": [5, 5], "counts": [25]}, r"code of \[5, 5\] in an image of \[20, 30\]"),
        ({"size": [HEIGHT, WIDTH]}, "counts"),
        ([[1, 1, 2, 2, 3, 3, 4]], "needed a polygon"),
        ([[1, 1, 2, 2, float("nan"), 3]], "reaches x = nan"),
        ([[1, 1, 2, 2, 3, 1e9]], r"reaches y = 1e\+09 in an image of 20x30"),
        ([["x", "y"] * 3], "could not convert"),
        ("text", "needed a polygon|could not convert"),
        (3.5, "not iterable|subscriptable"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused_by_name(write, segmentation, said):
    folder, path = write(SHAPES, [(1, segmentation, 0)])
    source = CocoJson(folder, path)
    source.probe(1)
    for read in (source.read, source.read_mask):
        with pytest.raises(SourceError, match=said) as error:
            read(1)
        assert str(error.value).startswith(f"{path}[b.png]: needed shapes")
        assert "annotation 5" in str(error.value)
    source.read(0)


def test_a_file_that_changed_or_went_since_is_refused_by_name(write):
    folder, path = write(SHAPES)
    source = CocoJson(folder, path)
    path.write_text("x" * 10)
    with pytest.raises(SourceError, match=r"annotations\.json\[a\.png\]: needed shapes"):
        source.read_mask(0)
    (folder / "a.png").unlink()
    for read in (source.probe, source.read, source.read_mask):
        with pytest.raises(SourceError, match=r"^[^:]*a\.png: cannot be decoded"):
            read(0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "damaged one"),
        ('{"images": [{"id": 1, "file_na', "damaged one"),
        ('{"images": [{"id": 1}', "damaged one"),
        ("[]", "a list, like COCO's files of results"),
        ('{"images": {"1": 2}}', "Expecting '\\['"),
        ('{"images": [1]}', "found something else"),
        ('{"images": [{"id": 1}, {"id": 1}]}', "two image entries have the id 1"),
        ('{"images": [{"id": null}]}', "image id None is neither a number"),
        ('{"images": [{"name": "a"}]}', "it lacks 'id'"),
        ('{"images": [{"id": 1, "height": 1e400}], "categories": [{"id": 1, "name": "a"}]}', "inf"),
        ('{"annotations": []}', "it has no images"),
        ('{"images": [{"id": 1}], "categories": []}', "it has no categories"),
    ],
)
def test_what_is_no_coco_file_is_refused(tmp_path, content, said):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(SourceError, match=said) as error:
        CocoJson(tmp_path, path)
    assert str(error.value).startswith(f"{path}: needed a COCO file")


def test_other_files_of_coco_and_unknown_ids_are_refused(write):
    folder, path = write([(5, SHAPES[0][1], 0)])
    with pytest.raises(SourceError, match="needed categories 7, 1, 90, found category 5 in anno"):
        CocoJson(folder, path)
    panoptic = [{"image_id": 500, "segments_info": [], "file_name": "a.png"}]
    folder, path = write(SHAPES, annotations=panoptic)
    with pytest.raises(SourceError, match="panoptic"):
        CocoJson(folder, path)
    strangers = [{"id": 1, "image_id": "500", "category_id": 1, "segmentation": [[1] * 6]}]
    folder, path = write(SHAPES, annotations=strangers)
    with pytest.raises(SourceError, match="whose ids are 500, found 1 annotations of others, like"):
        CocoJson(folder, path)
    with pytest.raises(SourceError, match=r"cannot read .*nowhere\.json"):
        CocoJson(folder, folder / "nowhere.json")
    folder, path = write(SHAPES)
    with pytest.raises(SourceError, match="found no folder nowhere"):
        CocoJson("nowhere", path)
    (folder / "a.png").unlink()
    with pytest.raises(SourceError, match=r"found none that can be packed .*a\.png: .* names it"):
        CocoJson(folder, path)
    with pytest.raises(SourceError, match="option order: needed one of area, file, none"):
        CocoJson(folder, path, order="size")


def test_images_of_a_file_without_annotations_are_packed_alone(write):
    folder, path = write(SHAPES, [], SHAPES)
    pairs = CocoJson(folder, path)
    images = [pairs.read(sample)[0] for sample in range(3)]
    content = json.loads(path.read_text("utf-8"))
    test_set = path.with_name("image_info_test.json")
    test_set.write_text(json.dumps({**content, "annotations": []}))
    assert CocoJson(folder, test_set).read_mask(0).max() == 0  # said to be background
    del content["annotations"]
    test_set.write_text(json.dumps(content))
    for unannotated in ("background", "leave_out"):
        source = CocoJson(folder, test_set, unannotated=unannotated)
        require_source(source, images)
        assert source.classes is None
    with pytest.raises(SourceError, match="needed annotations, to map their classes, found none"):
        CocoJson(folder, test_set, mask_map="1=0")
    with pytest.raises(SourceError, match="needed the JSON file, which lists the images"):
        CocoJson(folder, "none")


def test_it_travels_and_opens_again(write):
    folder, path = write(SHAPES, [], SHAPES)
    source = CocoJson(
        folder, path, order="none", crowd="ignore", unannotated="leave_out", mask_map="3=0"
    )
    assert (source.classes, source.ignore) == (None, None)
    for again in (source_of(source.describe()), pickle.loads(pickle.dumps(source))):
        assert again.describe() == source.describe()
        assert again.keys == source.keys == ["a", "c"]
        np.testing.assert_array_equal(again.read_mask(1), source.read_mask(1))
    assert len(pickle.dumps(source)) < 5000


def test_many_classes_take_16_bits(write):
    categories = [{"id": number, "name": f"n{number}"} for number in range(1, 300)]
    folder, path = write([(90, SHAPES[2][1], 0), (1, SHAPES[1][1], 1)], categories=categories)
    source = CocoJson(folder, path, crowd="ignore")
    ids = source.read_mask(0)
    assert (ids.dtype, source.ignore) == (np.uint16, 65535)
    assert set(np.unique(ids)) == {0, 90, 65535}


def test_classes_are_dense_and_their_names_differ():
    ids, names = class_ids({1: "person", 3: "Background", 4: "car", 9: "car", 12: ""})
    assert ids == {1: 1, 3: 0, 4: 2, 9: 3, 12: 4}
    assert names == ("background", "person", "car (4)", "car (9)", "(12)")
    assert class_ids({0: "_background_", 1: "cat"}) == ({0: 0, 1: 1}, ("background", "cat"))


def test_an_image_is_the_longest_path_that_is_there():
    assert locate("x/val/a.jpg", {name: name for name in ("a.jpg", "val/a.jpg")}) == "val/a.jpg"
    assert locate("x/a.jpg", {"b.jpg": "b.jpg"}) is None


def test_it_packs(write, tmp_path):
    folder, path = write(SHAPES, SHAPES[:2], [])
    source = open_source("coco", {"images": str(folder), "masks": str(path)})
    convert(source, tmp_path / "o", split="val", order="source", workers=2)
    split = zarr.open_group(str(tmp_path / "o/val"), mode="r")
    np.testing.assert_array_equal(split["mask"][:], [source.read_mask(at) for at in range(3)])
    root = zarr.open_group(str(tmp_path / "o"), mode="r").attrs["zarrfeed"]
    assert root["classes"] == ["background", "café", "car", "toothbrush"]
