"""Folders of image files take numbers and channels as the other formats do."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from zarrfeed.errors import SourceError
from zarrfeed_convert import PairedFolders
from zarrfeed_convert.sources.stacks.tiff_stack import TiffStacks

SIZE = (8, 6)
MASK = np.arange(48, dtype=np.uint8).reshape(SIZE) % 3


@pytest.fixture
def save(tmp_path):
    """Write an image and its mask, each alone in a folder; give both folders."""

    def write(image, mask=MASK, **options):
        for folder, values in (("i", image), ("m", mask)):
            (tmp_path / folder).mkdir()
            more = options if folder == "i" else {}
            tifffile.imwrite(
                tmp_path / folder / "a.tif",
                values,
                **{"photometric": "minisblack", "metadata": None, **more},
            )
        return tmp_path / "i", tmp_path / "m"

    return write


@pytest.mark.parametrize("source", [PairedFolders, TiffStacks])
@pytest.mark.parametrize("bands", [2, 5, 13, 200])
@pytest.mark.parametrize("plane", ["contig", "separate"])
@pytest.mark.parametrize(
    ("dtype", "stored_as"),
    [
        ("uint8", {}),
        ("uint16", {"tile": (16, 16), "compression": "zlib", "predictor": True}),
        ("int16", {"bigtiff": True}),
        ("float32", {"rowsperstrip": 3, "compression": "lzw", "byteorder": ">"}),
    ],
)
def test_bands_are_packed_as_many_as_there_are(save, source, bands, plane, dtype, stored_as):
    image = np.random.default_rng(0).integers(0, 99, (*SIZE, bands)).astype(dtype)
    stored = image if plane == "contig" else np.moveaxis(image, -1, 0)
    folders = save(stored, planarconfig=plane, **stored_as)
    pairs = source(*folders)
    header, (found, mask) = pairs.probe(0), pairs.read(0)
    assert (header.channels, header.dtype) == (bands, str(found.dtype))
    np.testing.assert_array_equal(found, image)
    np.testing.assert_array_equal(mask, MASK)
    if bands > 4:
        with pytest.raises(SourceError, match=r"1 to 4 channels for --color rgb, .*leave --color"):
            source(*folders, color="rgb").probe(0)


@pytest.mark.parametrize("source", [PairedFolders, TiffStacks])
def test_grey_with_alpha_is_shown_as_colour_because_the_file_says_alpha(save, source):
    image = np.random.default_rng(0).integers(0, 255, (*SIZE, 2), np.uint8)
    pairs = source(*save(image, planarconfig="contig", extrasamples=["unassalpha"]))
    assert pairs.probe(0).channels == 4
    np.testing.assert_array_equal(pairs.read(0)[0], image[:, :, [0, 0, 0, 1]])


@pytest.mark.parametrize("source", [PairedFolders, TiffStacks])
@pytest.mark.parametrize(
    "dtype", ["int8", "int16", "int32", "uint32", "int64", "float16", "float32", "float64"]
)
def test_numbers_of_any_kind_are_images_and_masks(save, source, dtype):
    image = (np.arange(48).reshape(SIZE) - 20 * (dtype[0] != "u")).astype(dtype)
    pairs = source(*save(image, MASK.astype(dtype)))
    values, ids = pairs.read(0)
    np.testing.assert_array_equal(values[:, :, 0], image)
    np.testing.assert_array_equal(ids, MASK)
    assert pairs.probe(0).dtype == values.dtype == ("int32" if dtype == "int64" else dtype)


@pytest.mark.parametrize("bands_at", [0, 2])
def test_bands_that_were_saved_as_pages_are_refused_with_the_way_out(tmp_path, bands_at):
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(np.zeros((*SIZE, 5), "f4"), 2, bands_at))
    with pytest.raises(SourceError, match=r"TIFF pages; .*save bands as one page .*'contig'"):
        PairedFolders(tmp_path).probe(0)
