"""What Datumaro exports as JSON becomes the masks that pycocotools draws."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import numpy as np
import pytest

from annotated import HEIGHT, WIDTH, cvat, cvat_image, cvat_polygon, drawn, put, write_image
from source_contract import require_source
from zarrfeed.errors import SourceError
from zarrfeed_convert import Limits
from zarrfeed_convert.formats import open_source

datumaro = pytest.importorskip("datumaro")
pycoco = pytest.importorskip("pycocotools.mask")

from datumaro.components.annotation import AnnotationType  # noqa: E402

SKY = drawn("111111111111", "111111111111", *["000000000000"] * 8)


def rle(mask):
    return datumaro.RleMask(pycoco.encode(np.asfortranarray(mask)), label=0, id=7, group=7)


@pytest.fixture
def write(tmp_path):
    """Let Datumaro export an item with some annotations; give the source."""

    def write(*annotations, subset="train", **options):
        pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        items = [
            datumaro.DatasetItem(
                "a",
                subset=subset,
                media=datumaro.Image.from_numpy(pixels, ext=".png"),
                annotations=list(annotations),
            )
        ]
        labels = datumaro.LabelCategories.from_iterable(["sky", "bird"])
        data = datumaro.Dataset.from_iterable(items, categories={AnnotationType.label: labels})
        data.export(str(tmp_path), "datumaro", save_media=True, image_ext=".png")
        return open_source("datumaro", {"images": str(tmp_path), **options})

    return write


def test_codes_and_polygons_are_drawn(write, tmp_path):
    bird = datumaro.Polygon([4, 1, 8, 1, 8, 4, 4, 4], label=1)
    source = write(rle(SKY), bird)
    expected = SKY.copy()
    expected[1:4, 4:8] = 2
    image = source.read(0)[0]
    require_source(source, [image], [expected])
    assert source.classes == ("background", "sky", "bird")
    assert source.names(0)[1] == f"{tmp_path}/annotations/train.json[a.png]"


def test_the_highest_z_order_is_in_front(write):
    bird = datumaro.Polygon([4, 1, 8, 1, 8, 4, 4, 4], label=1)
    above = rle(SKY)
    above.z_order = 2
    assert write(above, bird).read_mask(0)[1].tolist() == [1] * WIDTH


def test_crowds_are_below_or_ignored(write):
    crowd = datumaro.RleMask(
        pycoco.encode(np.asfortranarray(np.ones_like(SKY))),
        label=1,
        attributes={"is_crowd": True},
    )
    assert write(rle(SKY), crowd).read_mask(0)[[0, 5], 0].tolist() == [1, 2]
    source = write(rle(SKY), crowd, crowd="ignore")
    assert source.read_mask(0)[[0, 5], 0].tolist() == [1, 255]
    assert source.ignore == 255


def test_polygons_of_one_object_are_one_and_its_box_is_no_other(write):
    parts = [
        datumaro.Polygon([0, 0, 12, 0, 12, 10, 0, 10], label=0, id=5, group=5),
        datumaro.Polygon([1, 1, 3, 1, 3, 3, 1, 3], label=0, id=5, group=5),
    ]
    box = datumaro.Bbox(0, 0, 12, 10, label=0, id=5, group=5)
    bird = datumaro.Polygon([0, 0, 6, 0, 6, 6, 0, 6], label=1, id=6, group=6)
    source = write(*parts, box, bird)
    assert source.left_out == []
    assert source.read_mask(0)[2, 2] == 2


def test_boxes_have_no_shape(write):
    with pytest.raises(SourceError, match=r"a.png: 1 of its 2 annotations have no shape"):
        write(rle(SKY), datumaro.Bbox(0, 0, 2, 2, label=1, id=9))


def test_shapes_without_a_label_are_refused(write):
    with pytest.raises(SourceError, match=r"train.json\[a.png\]: needed a label"):
        write(datumaro.Polygon([4, 1, 8, 1, 8, 4]))


def test_a_subset_has_a_file_of_its_own(write):
    with pytest.raises(SourceError, match="one of night, found 'train'"):
        write(rle(SKY), subset="night")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda said: said["items"][0]["annotations"][0]["rle"].update(counts="0"), "runs of"),
        (lambda said: said["items"][0]["annotations"][0]["rle"].update(size=[1, 1]), "of .1, 1."),
        (lambda said: said["items"][0]["annotations"][0].update(label_id=9), "needed a label"),
        (lambda said: said["items"][0]["image"].update(size=[3, 4]), "needed 3x4"),
    ],
)  # fmt: skip
def test_damaged_shapes_are_refused_by_name(write, tmp_path, change, said):
    write(rle(SKY))
    file = tmp_path / "annotations/train.json"
    content = json.loads(file.read_text())
    change(content)
    put(file, content)
    with pytest.raises(SourceError, match=rf"(train.json\[a.png\]|a.png): .*{said}"):
        open_source("datumaro", {"images": str(tmp_path)}).read(0)


@pytest.mark.parametrize("cut", [0, 1, 100, 300])
def test_truncated_files_are_refused_by_name(write, tmp_path, cut):
    write(rle(SKY))
    file = tmp_path / "annotations/train.json"
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(SourceError, match=r"train.json"):
        open_source("datumaro", {"images": str(tmp_path)})


def test_images_are_found_inside_of_the_folder_alone(write, tmp_path):
    write(rle(SKY))
    file = tmp_path / "annotations/train.json"
    content = json.loads(file.read_text())
    for name in ("../../../etc/passwd", "/etc/passwd"):
        content["items"][0]["image"]["path"] = name
        put(file, content)
        with pytest.raises(SourceError, match="passwd"):
            open_source("datumaro", {"images": str(tmp_path)})


def test_a_folder_of_images_may_be_a_link(write, tmp_path):
    write(rle(SKY))
    (tmp_path / "images").rename(tmp_path.parent / f"{tmp_path.name}-elsewhere")
    (tmp_path / "images").symlink_to(tmp_path.parent / f"{tmp_path.name}-elsewhere")
    source = open_source("datumaro", {"images": str(tmp_path)})
    np.testing.assert_array_equal(source.read_mask(0), SKY)


def test_a_file_larger_than_a_sample_may_be_is_refused(write, tmp_path):
    write(rle(SKY))
    with pytest.raises(SourceError, match=r"train.json: needed a file of at most"):
        open_source("datumaro", {"images": str(tmp_path)}, limits=Limits(sample_nbytes=100))


WATCHED = """
import sys
doors = ("socket.connect", "subprocess.Popen", "os.mkdir", "os.rename", "os.remove", "os.system")
def heard(event, arguments):
    if event in doors:
        print("did", event, arguments)
    if event == "open" and isinstance(arguments[1], str) and set("wax+") & set(arguments[1]):
        print("wrote", arguments)
from zarrfeed_convert.formats import open_source, source_of
sys.addaudithook(heard)
source = open_source("cvat", {"images": sys.argv[1]})
source.read(0)
import logging
assert logging.getLogger().handlers == []
import pickle
open(1, "wb", closefd=False).write(b"")
print(len(pickle.dumps(source)) < 3000)
"""


def test_datumaro_writes_no_file_and_says_nothing(tmp_path):
    write_image(tmp_path / "images/a.png")
    road = cvat_polygon("road", "0,0;12,0;12,3")
    put(tmp_path / "annotations.xml", cvat(cvat_image(0, "a.png", road)))
    before = sorted(tmp_path.rglob("*"))
    script = WATCHED.replace('open(1, "wb", closefd=False).write(b"")\n', "")
    done = subprocess.run(
        [sys.executable, "-B", "-c", script, str(tmp_path)],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("True\n", "")
    assert sorted(tmp_path.rglob("*")) == before


def test_processes_that_draw_do_not_import_datumaro(tmp_path):
    import pickle

    write_image(tmp_path / "images/a.png")
    road = cvat_polygon("road", "0,0;12,0;12,3")
    put(tmp_path / "annotations.xml", cvat(cvat_image(0, "a.png", road)))
    (tmp_path / "source").write_bytes(pickle.dumps(open_source("cvat", {"images": str(tmp_path)})))
    script = (
        "import pickle, sys; source = pickle.load(open(sys.argv[1], 'rb')); source.read(0); "
        "print([name for name in ('datumaro', 'cv2', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "source")],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == "[]\n"


def test_what_datumaro_warns_of_is_an_error():
    from zarrfeed_convert.sources.annotations.datumaro_reading import quiet

    before = logging.getLogger().handlers[:]
    with pytest.raises(ValueError, match="lost 3"), quiet():
        logging.warning("lost %d", 3)
    assert logging.getLogger().handlers == before
