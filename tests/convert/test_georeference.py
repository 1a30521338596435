"""A mask that its tags put elsewhere than the image is refused."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from zarrfeed.errors import SourceError
from zarrfeed_convert import convert
from zarrfeed_convert.formats import open_source

VALUES = np.random.default_rng(0).integers(0, 3, (8, 12), np.uint8)


def geo(x=500_000.0, y=4_000_000.0, step=10.0, system=32633, matrix=False):
    """Give the tags of a GeoTIFF whose first pixel is at a place."""
    keys = (1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, system)
    if matrix:
        numbers = (step, 0, 0, x, 0, -step, 0, y, 0, 0, 0, 0, 0, 0, 0, 1)
        return [(34264, "d", 16, numbers, True), (34735, "H", len(keys), keys, True)]
    return [
        (33550, "d", 3, (step, step, 0.0), True),
        (33922, "d", 6, (0.0, 0.0, 0.0, x, y, 0.0), True),
        (34735, "H", len(keys), keys, True),
    ]


def sized(size, unit="µm"):
    """Give what OME-XML says of pixels."""
    return {f"PhysicalSize{axis}{end}": value
            for axis in "XY" for end, value in (("", size), ("Unit", unit))}  # fmt: skip


def write(root, image, mask, *, pages=1):
    """Write an image and a mask with tags, or with OME-XML; give a source's arguments."""
    for folder, place in (("i", image), ("m", mask)):
        (root / folder).mkdir(parents=True)
        values = np.stack([VALUES] * pages) if pages > 1 else VALUES
        options = {"extratags": place}
        if isinstance(place, dict):
            options = {"ome": True, "metadata": {"axes": "ZYX"[-values.ndim :], **place}}
        tifffile.imwrite(root / folder / "a.tif", values, photometric="minisblack", **options)
    return {"images": str(root / "i"), "masks": str(root / "m")}


SAME = [
    (geo(), geo()),
    (geo(), geo(matrix=True)),
    (geo(), geo(x=500_005.0, y=3_999_997.0)),
    (geo(), geo(system=32767)),
    (geo(), None),
    (sized(0.5), sized(0.5)),
    (sized(0.5), sized(500, "nm")),
    (sized(0.5), {}),
    (geo(), sized(0.5)),
]
APART = [
    (geo(), geo(x=500_010.0), "up to 1 pixels away"),
    (geo(), geo(step=11.0), "pixels away"),
    (geo(), geo(step=20.0, matrix=True), "pixels away"),
    (geo(), geo(system=32632), "EPSG:32633, found EPSG:32632"),
    (geo(), geo(x=float("nan")), "pixels away"),
    (sized(0.5), sized(1), "pixels away"),
]


@pytest.mark.parametrize("kind", ["paired", "tiff"])
@pytest.mark.parametrize(("image", "mask"), SAME)
def test_masks_at_the_place_of_images_are_theirs(tmp_path, kind, image, mask):
    arguments = write(tmp_path, image, mask, pages=1 if kind == "paired" else 2)
    source = open_source(kind, arguments)
    source.probe(0)
    np.testing.assert_array_equal(source.read_mask(0), VALUES)


@pytest.mark.parametrize("kind", ["paired", "tiff"])
@pytest.mark.parametrize(("image", "mask", "said"), APART)
def test_masks_at_other_places_are_refused(tmp_path, kind, image, mask, said):
    arguments = write(tmp_path, image, mask, pages=1 if kind == "paired" else 2)
    with pytest.raises(SourceError, match=rf"{said}.*; resample the mask .* or, .* save the mask"):
        open_source(kind, arguments).probe(0)
    [path] = (tmp_path / "m").iterdir()
    tifffile.imwrite(path, tifffile.imread(path), photometric="minisblack", metadata=None)
    np.testing.assert_array_equal(open_source(kind, arguments).read_mask(0), VALUES)


def test_conversion_names_the_file(tmp_path):
    arguments = write(tmp_path, geo(), geo(y=0.0))
    with pytest.raises(SourceError, match=r"i/a\.tif: needed the mask at the location of the im"):
        convert(open_source("paired", arguments), tmp_path / "o", split="train", workers=1)


@pytest.mark.parametrize(("size", "unit", "same"), [(4, "micron", True), (2, "micron", False)])
def test_pixels_have_one_size_in_imagej(tmp_path, size, unit, same):
    for folder, pixels in (("i", 4), ("m", size)):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(
            tmp_path / folder / "a.tif",
            VALUES,
            imagej=True,
            resolution=(pixels, pixels),
            metadata={"unit": unit},
        )
    source = open_source("paired", {"images": tmp_path / "i", "masks": tmp_path / "m"})
    if same:
        source.probe(0)
    else:
        with pytest.raises(SourceError, match="pixels away"):
            source.probe(0)
