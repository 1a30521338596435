"""A window of a TIFF is that part of the whole image, and costs about as much."""

from __future__ import annotations

import tracemalloc

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zarrfeed.errors import SourceError
from zarrfeed_convert import PairedFolders
from zarrfeed_convert.decoding.decode import decode, measure
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.decoding.tiff_windows import open_windows

CODECS = ["none", "lzw", "zlib", "zstd", "packbits", "lzma", "jpeg", "jpeg2000", "webp", "png"]
COLORS = ("jpeg", "jpeg2000", "webp", "png")


def pixels(rng, shape, dtype):
    """Give pixels that compress, of many values."""
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    top = np.iinfo(dtype).max
    smooth = np.add.outer(np.arange(shape[0]) * 5, np.arange(shape[1]) * 3)
    smooth = smooth.reshape(*shape[:2], *([1] * (len(shape) - 2)))
    return ((smooth + rng.integers(0, 9, shape)) % min(top, 251)).astype(dtype)


@st.composite
def stored(draw):
    """Draw an image and how tifffile stores it."""
    codec = draw(st.sampled_from(CODECS))
    shape = draw(st.tuples(st.integers(1, 70), st.integers(1, 70)))
    dtype = draw(st.sampled_from(["uint8", "uint16", "int16", "int32", "float32", "float64"]))
    bands = draw(st.sampled_from([1, 1, 2, 3, 4, 7]))
    if codec in COLORS:
        dtype, bands = "uint8", draw(st.sampled_from([3] if codec == "webp" else [1, 3]))
    more = {"byteorder": draw(st.sampled_from("<>")), "bigtiff": draw(st.booleans())}
    if codec != "none":
        more["compression"] = codec
    if codec in ("lzw", "zlib", "zstd") and dtype != "float64":
        more["predictor"] = draw(st.booleans())
    if draw(st.booleans()):
        more["tile"] = tuple(16 * side for side in draw(st.tuples(*[st.integers(1, 3)] * 2)))
    elif codec != "webp":
        more["rowsperstrip"] = draw(st.integers(1, 80))
    planar = bands > 1 and codec not in COLORS and draw(st.booleans())
    more["photometric"] = "rgb" if bands == 3 and codec in COLORS else "minisblack"
    more["planarconfig"] = "separate" if planar else "contig"
    orientation = draw(st.integers(1, 8))
    more["extratags"] = [(274, "H", 1, orientation, True)]
    image = pixels(np.random.default_rng(draw(st.integers(0, 9))),
                   shape if bands == 1 else (*shape, bands), dtype)  # fmt: skip
    return np.moveaxis(image, -1, 0) if planar else image, {"metadata": None, **more}


def window_of(draw, size):
    ends = [sorted(draw(st.tuples(*[st.integers(0, side)] * 2))) for side in size]
    return tuple(slice(start, max(stop, start + 1)) if start < side else slice(side - 1, side)
                 for (start, stop), side in zip(ends, size, strict=True))  # fmt: skip


@settings(max_examples=100, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(drawn=stored(), data=st.data())
def test_a_window_is_that_part_of_the_whole_image(tmp_path, drawn, data):
    image, how = drawn
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, image, **how)
    whole, reader = decode(path), open_windows(str(path), Limits())
    assert measure(path).windows == (reader is not None)
    assert reader is not None
    for _ in range(3):
        window = window_of(data.draw, whole.values.shape[:2])
        part = reader.read(window)
        np.testing.assert_array_equal(part.values, whole.values[window])
        assert part.values.dtype == whole.values.dtype
        assert (part.bands, part.step, part.nodata) == (whole.bands, whole.step, whole.nodata)


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("photometric", [0, 1, 3])  # 0 is white, 0 is black, palette
def test_windows_of_few_bits_and_of_palettes_are_those_of_the_whole(tmp_path, bits, photometric):
    path = tmp_path / "a.tif"
    values = np.random.default_rng(bits).integers(0, 1 << bits, (40, 45), np.uint8)
    colors = np.random.default_rng(0).integers(0, 65535, 3 << bits, np.uint16).tolist()
    packed = np.unpackbits(values[..., np.newaxis], axis=2)[:, :, 8 - bits :].reshape(40, -1)
    tags = [(320, "H", len(colors), colors, True)] if photometric == 3 else []
    tifffile.imwrite(path, np.packbits(packed, axis=1), metadata=None, rowsperstrip=7,
                     photometric="minisblack", extratags=tags)  # fmt: skip
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for tag, value in (("ImageWidth", 45), ("BitsPerSample", bits),
                           ("PhotometricInterpretation", photometric)):  # fmt: skip
            tiff.pages[0].tags[tag].overwrite(value)
    whole, reader = decode(path), open_windows(str(path), Limits())
    part = reader.read((slice(3, 30), slice(5, 44)))
    np.testing.assert_array_equal(part.values, whole.values[3:30, 5:44])
    assert part.step == whole.step
    if photometric == 3:
        np.testing.assert_array_equal(whole.values, values)
        np.testing.assert_array_equal(part.palette, whole.palette)


@pytest.fixture
def pair(tmp_path):
    """Write an image and its mask, each with its options; give a source of them."""

    def write(image, mask, of_image, of_mask, **options):
        for folder, values, more in (("i", image, of_image), ("m", mask, of_mask)):
            (tmp_path / folder).mkdir(exist_ok=True)
            more = {"photometric": "minisblack", "planarconfig": "contig"} | more
            tifffile.imwrite(tmp_path / folder / "a.tif", values, metadata=None, **more)
        return PairedFolders(tmp_path / "i", tmp_path / "m", **options)

    return write


TILED = {"tile": (32, 32), "compression": "zlib"}
SIZE = (100, 90)
RGB = pixels(np.random.default_rng(1), (*SIZE, 3), "uint8")
IDS = (np.add.outer(np.arange(100), np.arange(90)) // 40).astype(np.uint8)


@pytest.mark.parametrize("color", ["auto", "grey", "rgb", "rgba"])
@pytest.mark.parametrize(
    ("mask", "of_mask", "mask_map"),
    [
        (IDS, {}, ""),
        (IDS.astype("int32") * 100, TILED, "100=1,200..300=2,*=0"),
        (np.stack([IDS * 50, IDS * 0, IDS * 9], 2), {"photometric": "rgb", **TILED},
         "#000000=0,*=1"),
        (np.stack([n == IDS for n in range(5)], 2).astype("u1"), TILED, "one-hot=0"),
        (np.stack([IDS % n == 0 for n in (2, 3)], 2).astype("u1") * 255, TILED, "multi-hot"),
    ],
)  # fmt: skip
def test_a_window_of_a_sample_is_that_part_of_the_sample(pair, color, mask, of_mask, mask_map):
    source = pair(RGB, mask, {"photometric": "rgb", **TILED}, of_mask, color=color,
                  mask_map=mask_map)  # fmt: skip
    whole = source.read(0)
    assert source.reads_windows(0)
    for window in ((slice(0, 64), slice(0, 90)), (slice(31, 33), slice(7, 8)),
                   (slice(0, 100), slice(0, 90))):  # fmt: skip
        part = source.read_window(0, window)
        for found, values in zip(part, whole, strict=True):
            np.testing.assert_array_equal(found, values[window])
        assert part[0].dtype == whole[0].dtype
        assert part[0].flags.c_contiguous
        assert part[0].flags.writeable


def test_a_sample_of_which_one_file_must_be_decoded_as_a_whole_has_no_windows(pair, tmp_path):
    source = pair(RGB, IDS, {"photometric": "rgb", **TILED}, {})
    assert source.reads_windows(0)
    imagecodecs.imwrite(tmp_path / "m/a.tif", IDS, codec="png")
    assert not source.reads_windows(0)
    part = source.read_window(0, (slice(3, 9), slice(2, 90)))
    np.testing.assert_array_equal(part[0], RGB[3:9, 2:])
    np.testing.assert_array_equal(part[1], IDS[3:9, 2:])


def test_an_image_beyond_the_limit_is_read_in_windows_and_refused_as_a_whole(pair):
    image = np.zeros((3000, 3000), np.uint8)
    image[2500, 700:720] = 9
    limits = Limits(sample_nbytes=1 << 20)
    source = pair(image, image, {"tile": (256, 256), "compression": "zlib"},
                  {"rowsperstrip": 100}, limits=limits)  # fmt: skip
    assert source.probe(0).size == (3000, 3000)
    assert source.reads_windows(0)
    tracemalloc.start()
    part, ids = source.read_window(0, (slice(2400, 2600), slice(600, 800)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(part[:, :, 0], image[2400:2600, 600:800])
    np.testing.assert_array_equal(ids, image[2400:2600, 600:800])
    assert peak < 3 << 20
    with pytest.raises(SourceError, match=r"a\.tif: needed an image of at most 1 MiB.*--tile"):
        source.read(0)


def test_a_tile_beyond_the_limit_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((64, 64), np.uint8), tile=(2048, 2048), compression="zlib")
    with pytest.raises(SourceError, match=r"a\.tif: needed a tile of at most 1 MiB"):
        measure(path, Limits(sample_nbytes=1 << 20))


def test_one_strip_of_a_large_compressed_image_is_decoded_as_a_whole(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((5000, 5000), np.uint8), compression="zlib", rowsperstrip=5000)
    assert not measure(path).windows
    tifffile.imwrite(path, np.zeros((5000, 5000), np.uint8))  # as it is, one strip can be mapped
    assert measure(path).windows


def test_a_claim_of_more_pixels_than_the_file_has_strips_has_no_windows(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((16, 16), np.uint8), metadata=None, compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[0].tags["ImageLength"].overwrite(60000)
        tiff.pages[0].tags["ImageWidth"].overwrite(60000)
    with pytest.raises(SourceError, match=r"a\.tif: needed an image of at most 1 MiB"):
        measure(path, Limits(sample_nbytes=1 << 20))


@pytest.mark.parametrize("how", [TILED, {}, {"rowsperstrip": 10}])
def test_a_truncated_file_is_refused_before_its_windows_are_read(pair, tmp_path, how):
    source = pair(RGB, IDS, {"photometric": "rgb", **how}, {})
    path = tmp_path / "i/a.tif"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - 500])
    with pytest.raises(SourceError, match=r"i/a\.tif: (cannot be decoded|needed).*(end|fit)"):
        source.read_window(0, (slice(0, 1), slice(0, 1)))


def test_a_jpeg_tile_that_ends_early_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB, compression="jpeg", tile=(48, 64), metadata=None)
    whole, reader = decode(path).values, open_windows(str(path), Limits())
    np.testing.assert_array_equal(reader.read((slice(0, 9), slice(0, 9))).values, whole[:9, :9])
    with tifffile.TiffFile(path) as tiff:
        offset, count = (it[0] for it in (tiff.pages[0].dataoffsets, tiff.pages[0].databytecounts))
    data = bytearray(path.read_bytes())
    cut = bytes(data[offset : offset + count // 2]).rstrip(b"\xff") + b"\xff\xd9"
    data[offset : offset + count] = cut.ljust(count, b"\0")
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"a\.tif.*truncated"):
        reader.read((slice(0, 9), slice(0, 9)))
    np.testing.assert_array_equal(reader.read((slice(50, 99), slice(65, 80))).values,
                                  whole[50:99, 65:80])  # fmt: skip


def test_a_file_that_is_written_anew_is_opened_anew(pair):
    window = slice(0, 100), slice(0, 90)
    source = pair(RGB, IDS, {"photometric": "rgb", **TILED}, {})
    np.testing.assert_array_equal(source.read_window(0, window)[0], RGB)
    again = RGB[::-1].copy()
    pair(again, IDS, {"photometric": "rgb", "tile": (16, 16)}, {})
    np.testing.assert_array_equal(source.read_window(0, window)[0], again)


def test_sparse_offsets_are_refused_as_they_are_for_the_whole(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB, compression="zlib", tile=(32, 32), metadata=None)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        counts = list(tiff.pages[0].databytecounts)
        tiff.pages[0].tags["TileByteCounts"].overwrite([0, *counts[1:]])
    for read in (decode, lambda path: open_windows(str(path), Limits())):
        with pytest.raises(SourceError, match="contains 11 of its 12 strips or tiles"):
            read(path)


def test_an_offset_beyond_the_file_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB, compression="zlib", tile=(32, 32), metadata=None)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        offsets = list(tiff.pages[0].dataoffsets)
        tiff.pages[0].tags["TileOffsets"].overwrite([*offsets[:-1], (1 << 32) - 1])
    with pytest.raises(SourceError, match="its pixels end at byte"):
        open_windows(str(path), Limits())
