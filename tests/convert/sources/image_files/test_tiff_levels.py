"""Pyramids are read at the resolution that is asked for; a slide's other pictures are no levels."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from zarrfeed.errors import SourceError
from zarrfeed_convert import PairedFolders
from zarrfeed_convert.formats import open_source, source_of

RNG = np.random.default_rng(7)
SMOOTH = np.add.outer(np.arange(320) // 3, np.arange(256) // 2)[..., None] + [0, 30, 60]
FULL = (SMOOTH % 200).astype(np.uint8)
LEVELS = [FULL, FULL[::2, ::2], FULL[::4, ::4]]
SIZES = "0 is 320x256, 1 is 160x128, 2 is 80x64"
GREY = {"photometric": "minisblack", "metadata": None}


def write_ome(path, levels, **more):
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(levels[0], subifds=len(levels) - 1, tile=(64, 64), **more)
        for level in levels[1:]:
            tiff.write(level, subfiletype=1, tile=(64, 64), **more)


def write_overviews(path, levels, **more):
    """Write overviews as GDAL does: pages that are marked as reduced."""
    with tifffile.TiffWriter(path) as tiff:
        for number, level in enumerate(levels):
            tiff.write(level, subfiletype=min(number, 1), tile=(64, 64), metadata=None, **more)


def write_plain(path, levels, **more):
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for level in levels:
            tiff.write(level, tile=(64, 64), metadata=None, **more)


def write_svs(path, levels, **more):
    """Write a slide as Aperio does: baseline, thumbnail, levels, label, macro."""
    more = {"compression": "jpeg", "compressionargs": {"level": 95}, "metadata": None, **more}
    said = "Aperio Image Library v11.2.1 \r\n320x256 |AppMag = 20|MPP = 0.5"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(levels[0], tile=(64, 64), description=said, **more)
        tiff.write(FULL[::10, ::10], description=said, rowsperstrip=16, **more)
        for level in levels[1:]:
            tiff.write(level, tile=(64, 64), description=said, **more)
        tiff.write(FULL[:100, :90], subfiletype=1, rowsperstrip=16, metadata=None)
        tiff.write(FULL[:50, :90], subfiletype=9, rowsperstrip=16, **more)


WRITERS = [write_ome, write_overviews, write_plain, write_svs]


@pytest.fixture
def folders(tmp_path):
    for name in ("i", "m"):
        (tmp_path / name).mkdir()
    return tmp_path / "i", tmp_path / "m"


@pytest.mark.parametrize("subfiletype", [4, 5])
def test_masks_of_no_data_beside_an_image_are_no_images(folders, subfiletype):
    images, _ = folders
    with tifffile.TiffWriter(images / "a.tif") as tiff:
        tiff.write(FULL, tile=(64, 64), metadata=None)
        tiff.write(FULL[..., 0] > 9, subfiletype=subfiletype, metadata=None)
    source = PairedFolders(images)
    assert source.probe(0).size == FULL.shape[:2]
    np.testing.assert_array_equal(source.read(0)[0], FULL)
    window = slice(3, 90), slice(60, 70)
    np.testing.assert_array_equal(source.read_window(0, window)[0], FULL[window])


@pytest.mark.parametrize("write", WRITERS)
def test_each_level_is_read_whole_and_in_windows(folders, write):
    images, _ = folders
    write(images / "a.tif", LEVELS, photometric="rgb")
    for level, pixels in enumerate(LEVELS):
        source = PairedFolders(images, level=level)
        assert source.probe(0).size == pixels.shape[:2]
        [whole] = source.read(0)
        if write is write_svs:  # JPEG
            assert np.abs(whole.astype(int) - pixels).mean() < 5
            pixels = tifffile.imread(images / "a.tif", series=0, level=level).squeeze()
        np.testing.assert_array_equal(whole, pixels)
        window = slice(3, 70), slice(10, 61)
        assert source.reads_windows(0)
        np.testing.assert_array_equal(source.read_window(0, window)[0], whole[window])


@pytest.mark.parametrize("write", WRITERS)
def test_a_level_that_is_not_there_is_refused_with_those_that_are(folders, write):
    images, _ = folders
    write(images / "a.tif", LEVELS, photometric="rgb")
    source = PairedFolders(images, level=3)
    for read in (source.probe, source.read, source.reads_windows):
        with pytest.raises(SourceError, match=rf"a\.tif: needed level 3, found 3 levels: {SIZES};"):
            read(0)


def test_files_without_levels_say_so(folders):
    images, _ = folders
    tifffile.imwrite(images / "a.tif", FULL, metadata=None)
    with pytest.raises(SourceError, match="needed level 1, found 1 level: 0 is 320x256"):
        PairedFolders(images, level=1).probe(0)
    (images / "a.tif").unlink()
    np.save(images / "a.npy", FULL)
    for read in ("probe", "read"):
        with pytest.raises(SourceError, match=r"a\.npy: needed level 1, .* of one resolution"):
            getattr(PairedFolders(images, level=1), read)(0)
    with pytest.raises(SourceError, match=r"option level: needed 0 .* found -1"):
        PairedFolders(images, level=-1)


@pytest.mark.parametrize("pyramid", [True, False])
def test_masks_are_read_at_the_level_too_or_have_its_size(folders, pyramid):
    images, masks = folders
    write_svs(images / "a.tif", LEVELS, photometric="rgb")
    ids = [level[..., 0] // 60 for level in LEVELS]
    if pyramid:
        write_ome(masks / "a.tif", ids, photometric="minisblack")
    else:
        tifffile.imwrite(masks / "a.tif", ids[1], **GREY)
    source = PairedFolders(images, masks, level=1)
    assert source.probe(0).mask.shape == (160, 128)
    np.testing.assert_array_equal(source.read(0)[1], ids[1])
    np.testing.assert_array_equal(source.read_mask(0), ids[1])
    window = slice(100, 160), slice(1, 128)
    np.testing.assert_array_equal(source.read_window(0, window)[1], ids[1][window])


def test_masks_of_another_level_are_refused_with_both_sizes(folders, tmp_path):
    from zarrfeed_convert import convert

    images, masks = folders
    write_ome(images / "a.tif", LEVELS, photometric="rgb")
    tifffile.imwrite(masks / "a.tif", LEVELS[1][..., 0] // 60, **GREY)
    with pytest.raises(SourceError, match=r"i/a\.tif is 320x256, .*m/a\.tif is 160x128"):
        convert(PairedFolders(images, masks), tmp_path / "o", split="train", workers=1)


def test_the_level_is_recorded_and_opens_again(folders):
    images, _ = folders
    write_ome(images / "a.tif", LEVELS, photometric="rgb")
    source = open_source("paired", {"images": str(images), "level": "2"})
    assert source.describe()["level"] == 2
    assert source_of(source.describe()).probe(0).size == (80, 64)
    assert "level" not in PairedFolders(images).describe()


def test_tags_of_the_full_resolution_hold_for_all_levels(folders):
    """GDAL's overviews have neither no-data values nor a place."""
    images, masks = folders
    place = [(42113, "s", 0, "255", True),
             (33550, "d", 3, (10.0, 10.0, 0.0), True),
             (33922, "d", 6, (0.0, 0.0, 0.0, 500.0, 900.0, 0.0), True)]  # fmt: skip
    ids = FULL[..., 0] % 3
    ids[0, 0] = 255
    for folder, pixels in ((images, FULL[..., 0]), (masks, ids)):
        with tifffile.TiffWriter(folder / "a.tif") as tiff:
            tiff.write(pixels, extratags=place, **GREY)
            tiff.write(np.ascontiguousarray(pixels[::2, ::2]), subfiletype=1, **GREY)
    source = PairedFolders(images, masks, level=1)
    assert source.probe(0).nodata == (255,)
    with pytest.raises(SourceError, match="found 1 of the value 255, which the file declares as"):
        source.read_mask(0)
    moved = [place[0], place[1], (*place[2][:3], (0.0, 0.0, 0.0, 520.0, 900.0, 0.0), True)]
    tifffile.imwrite(masks / "a.tif", ids[::2, ::2], extratags=moved, **GREY)
    with pytest.raises(SourceError, match="pixels away"):
        source.probe(0)


def test_pages_of_one_size_are_a_stack_and_of_other_shapes_no_level(folders):
    images, _ = folders
    with tifffile.TiffWriter(images / "a.tif") as tiff:
        tiff.write(FULL, metadata=None)
        tiff.write(FULL[:100], metadata=None)  # not in the same proportion
    with pytest.raises(SourceError, match="needed one image in the file, found 2 TIFF pages"):
        PairedFolders(images).probe(0)
    with tifffile.TiffWriter(images / "a.tif") as tiff:
        tiff.write(FULL, metadata=None)
        tiff.write(FULL[:100], subfiletype=1, metadata=None)
    with pytest.raises(SourceError, match="found 1 level: 0 is 320x256"):
        PairedFolders(images, level=1).probe(0)
    with tifffile.TiffWriter(images / "a.tif") as tiff:  # focal planes
        for _ in range(4):
            tiff.write(FULL, tile=(64, 64), description="Aperio Image", metadata=None)
    with pytest.raises(SourceError, match="needed one image in the file, found 3 TIFF pages"):
        PairedFolders(images).probe(0)


@pytest.mark.parametrize("flat", ["tif", "png", "npy"])
def test_masks_without_the_level_are_refused_with_the_levels_of_both_files(folders, tmp_path, flat):
    from PIL import Image

    from zarrfeed_convert import convert

    images, masks = folders
    write_ome(images / "a.tif", LEVELS, photometric="rgb")
    ids = np.ascontiguousarray(FULL[..., 0] // 60)
    if flat == "tif":
        tifffile.imwrite(masks / "a.tif", ids, **GREY)
    elif flat == "png":
        Image.fromarray(ids).save(masks / "a.png")
    else:
        np.save(masks / "a.npy", ids)
    sizes = "level 0 is 320x256, level 1 is 160x128, level 2 is 80x64"
    said = (
        rf"i/a\.tif: needed a mask of 160x128 pixels, as level 1 of the image \({sizes}\), "
        rf"found .*m/a\.{flat} \(level 0 is 320x256\); save the mask with the same levels .*or use "
        "-o level=0"
    )
    with pytest.raises(SourceError, match=said) as error:
        convert(PairedFolders(images, masks, level=1), tmp_path / "o", split="train", workers=1)
    assert "--size" not in str(error.value)


def test_one_image_without_levels_is_named_with_the_way_out(folders, tmp_path):
    images, _ = folders
    write_ome(images / "a.tif", LEVELS, photometric="rgb")
    tifffile.imwrite(images / "b.tif", FULL, metadata=None)
    said = r"b\.tif: needed level 1, found 1 level: 0 is 320x256; use -o level=0 for all images"
    with pytest.raises(SourceError, match=said):
        PairedFolders(images, level=1).probe(1)
