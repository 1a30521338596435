"""A folder for each image, with a mask file for each instance, becomes samples."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from source_contract import require_packed, require_source
from zarrfeed.errors import SourceError
from zarrfeed_convert import open_source
from zarrfeed_convert.sources.binary_masks.mask_folders import MaskFolders
from zarrfeed_convert.sources.instances.border_weights import border_weights

SIZE = (12, 16)
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (3, *SIZE, 3), np.uint8)
CELLS = np.zeros((3, *SIZE), bool)
CELLS[0, 1:5, 1:6] = CELLS[1, 4:9, 4:12] = CELLS[2, 10:, 13:] = True  # the first two overlap
BY_AREA = np.select([CELLS[0], CELLS[1], CELLS[2]], [1, 2, 3])


def write(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(values)))


@pytest.fixture
def bowl(tmp_path):
    """Write images a, b and c with three instances, one, and none."""
    for name, image, cells in zip("abc", IMAGES, (CELLS, CELLS[:1], ()), strict=True):
        write(tmp_path / f"train/{name}/images/{name}.png", image)
        (tmp_path / f"train/{name}/masks").mkdir()
        for number, inside in enumerate(cells):
            write(tmp_path / f"train/{name}/masks/m{number}.png", np.uint8(255) * inside)
    (tmp_path / "train/a/masks/Thumbs.db").write_bytes(b"no mask")
    return tmp_path / "train"


def test_instances_are_one_class(bowl, tmp_path):
    source = MaskFolders(bowl, name="nucleus")
    masks = [BY_AREA > 0, CELLS[0], np.zeros(SIZE, bool)]
    assert source.classes == ("background", "nucleus")
    assert source.keys == ["a", "b", "c"]
    require_source(source, IMAGES, masks)
    require_packed(source, tmp_path / "o.zarr", IMAGES, masks)
    assert source.describe()["facts"] == {"masks": 4}


def test_instances_are_numbered_by_the_names_of_their_files(bowl, tmp_path):
    source = MaskFolders(bowl, instances="keep")
    require_source(source, IMAGES, [BY_AREA, CELLS[0], np.zeros(SIZE)])
    by_file = MaskFolders(bowl, instances="keep", order="file").read_mask(0)
    np.testing.assert_array_equal(by_file, np.select([*CELLS[::-1]], [3, 2, 1]))
    apart = MaskFolders(bowl, instances="keep", order="none")
    assert (apart.read_mask(0)[CELLS[0] & CELLS[1]] == apart.ignore).all()


def test_weights_of_borders(bowl):
    source = open_source("mask-folders", {"images": str(bowl), "instances": "boundary"})
    weights = source.read(0)[2]
    np.testing.assert_array_equal(weights, border_weights(BY_AREA, w0=10, sigma=5))
    header = source.probe(0)
    assert header.arrays["weight"] == (SIZE, "float32")


def test_test_sets_have_no_masks(bowl, tmp_path):
    for name, image in zip("xy", IMAGES, strict=False):
        write(tmp_path / f"test/{name}/images/{name}.png", image)
    require_source(MaskFolders(tmp_path / "test"), IMAGES[:2])
    require_source(MaskFolders(bowl, "none"), IMAGES)
    assert MaskFolders(tmp_path / "test", instances="keep").instances is False


def test_folders_that_make_no_sample_are_named(bowl):
    write(bowl / "b/images/second.png", IMAGES[0])
    (bowl / "c/masks").rmdir()
    source = MaskFolders(bowl)
    assert source.keys == ["a"]
    (b, why_b), (c, why_c) = source.left_out
    assert (b, c) == (str(bowl / "b"), str(bowl / "c"))
    assert "needed one file in images/, found b.png, second.png; keep the image that wa" in why_b
    assert "no folder masks/; make an empty one if it shows no instance" in why_c


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((5, 4), 255, np.uint8), "m0.png: needed a mask of 12x16, as its image, found 5x4"),
        (BY_AREA.astype(np.uint8), "needed a mask of two values, 0 and 1 or 255, found 4: 0, 1, 2"),
        (
            np.arange(SIZE[0] * SIZE[1], dtype=np.uint8).reshape(SIZE),
            "found 192: 0, 1, 2, 3, 4 …; use --mask-map 'VALUE=1,",
        ),
    ],
)
def test_masks_of_other_values_or_sizes_are_refused(bowl, values, message):
    write(bowl / "b/masks/m0.png", values)
    with pytest.raises(SourceError, match=message.replace("*", r"\*")):
        MaskFolders(bowl).read(1)


def test_a_mask_map_says_what_is_inside(bowl):
    soft = np.where(CELLS[0], 255, 0).astype(np.uint8)
    soft[0] = np.arange(0, 16 * 15, 15)
    soft[6] = np.arange(7, 16 * 15, 15)
    write(bowl / "b/masks/m0.png", soft)
    with pytest.raises(SourceError, match=r"soft edges, use --mask-map '128..255=1,\*=0'"):
        MaskFolders(bowl).read(1)
    mapped = MaskFolders(bowl, mask_map="128..255=1,*=0")
    np.testing.assert_array_equal(mapped.read_mask(1), soft >= 128)
    assert mapped.classes == ("background", "instance")
    two_colours = Image.fromarray(CELLS[0])
    two_colours.save(bowl / "b/masks/m0.png")  # of 1 bit
    np.testing.assert_array_equal(MaskFolders(bowl).read_mask(1), CELLS[0])


def test_other_folders_are_refused(bowl, tmp_path):
    with pytest.raises(SourceError, match=r"found no folder .*gone; check --images"):
        MaskFolders(tmp_path / "gone")
    write(tmp_path / "flat/a.png", IMAGES[0])
    with pytest.raises(
        SourceError, match=r"needed folders like .*/ID/images/ID.png and .*, found i"
    ):
        MaskFolders(tmp_path / "flat")
    with pytest.raises(SourceError, match="masks: needed no --masks"):
        MaskFolders(bowl, bowl)
    with pytest.raises(SourceError, match="multi-hot"):
        MaskFolders(bowl, mask_map="multi-hot")
