"""Pages of TIFF stacks are what tifffile reads, one at a time, however the stack was written."""

from __future__ import annotations

import contextlib
import logging
import pickle
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from zarrfeed.errors import SourceError
from zarrfeed_convert import convert
from zarrfeed_convert.formats import open_source, source_of
from zarrfeed_convert.sources.stacks.tiff_axes import axes_of, mask_sample
from zarrfeed_convert.sources.stacks.tiff_stack import TiffStacks

PAGES, HEIGHT, WIDTH = 5, 12, 10


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # damage is what is tested


def values(*shape, dtype="uint8", seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.random(shape).astype(dtype)
    low = np.iinfo(dtype).min
    return rng.integers(low, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def labels(*shape, ids=3):
    return np.random.default_rng(7).integers(0, ids, shape, "uint8")


def write(path, array, **options):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, array, photometric=options.pop("photometric", "minisblack"), **options)
    return path


def write_by_pillow(path, array, **options):
    pages = [Image.fromarray(page) for page in array]
    pages[0].save(path, save_all=True, append_images=pages[1:], **options)
    return Path(path)


def images_of(source):
    return [source.read(sample)[0] for sample in range(len(source.keys))]


def masks_of(source):
    return [source.read_mask(sample) for sample in range(len(source.keys))]


KINDS = {
    "plain": {"metadata": None},
    "shaped": {},
    "deflate": {"compression": "zlib", "predictor": True, "metadata": None},
    "lzw": {"compression": "lzw", "metadata": {"axes": "ZYX"}},
    "big": {"bigtiff": True, "byteorder": ">"},
    "imagej": {"imagej": True, "metadata": {"axes": "ZYX"}},
    "imagej compressed": {"imagej": True, "compression": "zlib", "metadata": {"axes": "TYX"}},
    "ome": {"ome": True, "metadata": {"axes": "TYX"}},
    "ome tiles": {"ome": True, "metadata": {"axes": "ZYX"}, "tile": (16, 16), "compression": "lzw"},
    "strips": {"rowsperstrip": 5, "compression": "zlib"},
    "volumetric": {"volumetric": True, "tile": (2, 16, 16), "compression": "zlib"},
    "one ifd": {"contiguous": True, "metadata": None},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_every_page_is_the_one_that_tifffile_reads(kind, dtype):
    stack = values(PAGES, HEIGHT, WIDTH, dtype=dtype)
    write("stack.tif", stack, **KINDS[kind])
    write("masks.tif", labels(PAGES, HEIGHT, WIDTH), compression="lzw")
    source = TiffStacks("stack.tif", "masks.tif")
    assert source.keys == [f"stack/000{page}" for page in range(PAGES)]
    expected = tifffile.imread("stack.tif")
    for page in reversed(range(PAGES)):
        image, mask = source.read(page)
        header = source.probe(page)
        np.testing.assert_array_equal(image[:, :, 0], expected[page])
        np.testing.assert_array_equal(mask, tifffile.imread("masks.tif")[page])
        assert image.shape == header.image.shape == (HEIGHT, WIDTH, 1)
        assert image.dtype == header.dtype == dtype
        assert image.flags.c_contiguous
        assert image.dtype.isnative


def test_what_pillow_writes_is_read():
    stack = values(PAGES, HEIGHT, WIDTH)
    write_by_pillow("a.tif", stack, compression="tiff_lzw")
    write_by_pillow("m.tif", labels(PAGES, HEIGHT, WIDTH))
    np.testing.assert_array_equal(np.stack(images_of(TiffStacks("a.tif", "m.tif")))[..., 0], stack)


@pytest.mark.parametrize("how", [{"imagej": True}, {"ome": True}, {"ome": True, "compression": 8}])
def test_planes_of_channels_are_channels_and_all_other_axes_samples(how):
    stack = values(2, 4, 3, HEIGHT, WIDTH)
    if "compression" in how:
        how = {**how, "compression": "zlib"}
    write("a.tif", stack, metadata={"axes": "TZCYX"}, **how)
    write("m.tif", labels(8, HEIGHT, WIDTH))
    source = TiffStacks("a.tif", "m.tif")
    assert len(source.keys) == 8
    assert source.names(6) == ("a.tif[t=1,z=2]", "m.tif[page=6]")
    np.testing.assert_array_equal(source.read(6)[0], np.moveaxis(stack[1, 2], 0, 2))
    one = TiffStacks("a.tif", "m.tif", channel=1)
    np.testing.assert_array_equal(one.read(6)[0][:, :, 0], stack[1, 2, 1])
    assert one.probe(6).channels == 1
    with pytest.raises(SourceError, match=r"needed the channel 3 .* found 3 channels"):
        TiffStacks("a.tif", "m.tif", channel=3)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_rgb_pages_keep_their_channels(planar, compression):
    stack = values(PAGES, HEIGHT, WIDTH, 3)
    stored = stack if planar == "contig" else np.moveaxis(stack, 3, 1)
    write("a.tif", stored, photometric="rgb", planarconfig=planar, compression=compression)
    write("m.tif", labels(PAGES, HEIGHT, WIDTH))
    np.testing.assert_array_equal(np.stack(images_of(TiffStacks("a.tif", "m.tif"))), stack)
    grey = TiffStacks("a.tif", "m.tif", color="grey")
    assert grey.read(0)[0].shape == (HEIGHT, WIDTH, 1)


def test_rgb_hyperstacks_of_imagej_count_pages_along_their_channels():
    stack = values(4, HEIGHT, WIDTH, 3)
    write("a.tif", stack, photometric="rgb", imagej=True)
    write("m.tif", labels(4, HEIGHT, WIDTH))
    np.testing.assert_array_equal(np.stack(images_of(TiffStacks("a.tif", "m.tif"))), stack)


@pytest.mark.parametrize("count", [2, 7])
def test_channels_are_as_many_as_they_are_and_one_may_be_chosen(count):
    stack = values(PAGES, count, HEIGHT, WIDTH)
    write("a.tif", stack, imagej=True, metadata={"axes": "ZCYX"})
    write("m.tif", labels(PAGES, HEIGHT, WIDTH))
    source = TiffStacks("a.tif", "m.tif")
    assert source.probe(0).channels == count
    np.testing.assert_array_equal(np.stack(images_of(source)), np.moveaxis(stack, 1, -1))
    with pytest.raises(SourceError, match=r"needed the channel 7 .* found"):
        TiffStacks("a.tif", "m.tif", channel=7)
    assert TiffStacks("a.tif", "m.tif", channel=0).probe(0).channels == 1


@pytest.mark.parametrize("options", [{"compression": "zlib"}, {}])
@pytest.mark.parametrize("count", [3, 9])
def test_channels_that_have_a_mask_each_are_samples(count, options):
    stack = values(count, HEIGHT, WIDTH)
    write("a.tif", stack, imagej=True, metadata={"axes": "CYX"}, **options)
    write("m.tif", labels(count, HEIGHT, WIDTH))
    write("c.tif", labels(count, HEIGHT, WIDTH), imagej=True)
    for masks in ("m.tif", "c.tif"):
        source = TiffStacks("a.tif", masks)
        np.testing.assert_array_equal(np.stack(images_of(source))[..., 0], stack)
        assert source.probe(0).channels == 1
    write("one.tif", labels(HEIGHT, WIDTH))
    assert TiffStacks("a.tif", "one.tif").probe(0).channels == count


@pytest.mark.parametrize("options", [{"compression": "zlib"}, {}])
def test_samples_of_a_pixel_may_count_pages(options):
    stack = values(9, HEIGHT, WIDTH)
    write("a.tif", stack, planarconfig="separate", **options)
    write("m.tif", labels(9, HEIGHT, WIDTH))
    with pytest.raises(SourceError, match=r"--option axis=S"):
        TiffStacks("a.tif", "m.tif")
    source = open_source("tiff", {"images": "a.tif", "masks": "m.tif", "axis": "s"})
    np.testing.assert_array_equal(np.stack(images_of(source))[..., 0], stack)
    assert source.probe(0).channels == 1
    with pytest.raises(SourceError, match=r"needed the axis R .* found the axes"):
        TiffStacks("a.tif", "m.tif", axis="R")


def test_masks_follow_axes_of_the_same_letters_in_any_order():
    write("a.tif", values(2, 3, HEIGHT, WIDTH), ome=True, metadata={"axes": "TZYX"})
    masks = labels(3, 2, HEIGHT, WIDTH)
    write("m.tif", masks, ome=True, metadata={"axes": "ZTYX"})
    source = TiffStacks("a.tif", "m.tif")
    assert source.names(5) == ("a.tif[t=1,z=2]", "m.tif[z=2,t=1]")
    np.testing.assert_array_equal(source.read_mask(5), masks[2, 1])


def test_images_of_any_integers_keep_their_dtype():
    stack = values(PAGES, HEIGHT, WIDTH, dtype="int16")
    write("a.tif", stack)
    write("m.tif", labels(PAGES, HEIGHT, WIDTH).astype(np.int32))
    source = TiffStacks("a.tif", "m.tif")
    image, mask = source.read(2)
    assert source.probe(2).dtype == image.dtype == "int16"
    np.testing.assert_array_equal(image[:, :, 0], stack[2])
    assert mask.dtype == np.uint8


def test_bits_are_black_and_white_and_mask_values_are_mapped():
    masks = labels(PAGES, HEIGHT, WIDTH, ids=2).astype(bool)
    write("a.tif", values(PAGES, HEIGHT, WIDTH))
    write("m.tif", masks)
    source = TiffStacks("a.tif", "m.tif", mask_map="255=1")
    np.testing.assert_array_equal(np.stack(masks_of(source)), masks)


def test_folders_pair_by_stem_whatever_the_extension_and_the_rest_is_left_out():
    for name in ("x", "u/y"):
        write(f"i/{name}_img.ome.tif", values(2, 4, 5), ome=True)
        write(f"m/{name}.tiff", labels(2, 4, 5))
    write("i/lone_img.tif", values(2, 4, 5))
    write("m/short.tif", labels(3, 4, 5))
    write("i/short_img.tif", values(2, 4, 5))
    Path("m/odd.tif").write_bytes(b"II*\0damaged")
    write("i/odd_img.tif", values(2, 4, 5))
    source = TiffStacks("i", "m", image_suffix="_img")
    assert source.keys == ["u/y/0000", "u/y/0001", "x/0000", "x/0001"]
    left_out = dict(source.left_out)
    assert left_out.keys() == {"i/lone_img.tif", "i/short_img.tif", "m/odd.tif"}
    assert "found 2 pages (axes QYX) and 3 (axes QYX) in m/short" in left_out["i/short_img.tif"]
    assert left_out["i/lone_img.tif"] == "this image has no mask"
    assert TiffStacks("i/**/*_img.ome.tif", "m/**/*.tiff").keys[0] == "u/y_img/0000"
    with pytest.raises(SourceError, match="same 5 files"):
        TiffStacks("i", "i")


def test_pages_of_different_sizes_are_refused_wherever_they_are():
    write("m.tif", labels(PAGES, HEIGHT, WIDTH))
    for odd in (1, 2):
        with tifffile.TiffWriter("a.tif") as writer:
            for page in range(PAGES):
                shape = (7, 8) if page == odd else (5, 6)
                writer.write(np.zeros(shape, "u1"), metadata=None, photometric="minisblack")
        with pytest.raises(SourceError, match=r"^a\.tif: needed pages of one size .*5x6.*7x8"):
            TiffStacks("a.tif", "m.tif")


@pytest.mark.parametrize("kind", ["plain", "imagej", "imagej compressed", "ome", "lzw", "strips"])
def test_a_stack_that_ends_early_never_loses_pages_in_silence(kind):
    stack = values(PAGES, HEIGHT, WIDTH)
    path = write("a.tif", stack, **KINDS[kind])
    write("m.tif", labels(PAGES, HEIGHT, WIDTH))
    whole = path.read_bytes()
    said = []
    for end in range(0, len(whole) - 40, max(1, len(whole) // 40)):
        path.write_bytes(whole[:end])
        try:
            source = TiffStacks("a.tif", "m.tif")
        except SourceError as error:
            said.append(str(error))
            continue
        assert len(source.keys) == PAGES
        for page in range(PAGES):
            with contextlib.suppress(SourceError):
                np.testing.assert_array_equal(source.read(page)[0][:, :, 0], stack[page])
    assert all(text.startswith("a.tif: ") for text in said)
    assert any("needed as many masks" not in text for text in said)


def test_a_page_of_imagejs_virtual_stack_that_ends_early_is_refused():
    write("a.tif", values(40, HEIGHT, WIDTH), imagej=True)
    data = Path("a.tif").read_bytes()
    with tifffile.TiffFile("a.tif") as tiff:
        first, page = tiff.pages[0], tiff.pages[0]
        end = page.dataoffsets[0] + 40 * page.nbytes
        # As ImageJ itself writes stacks of more than 4 GiB: one directory, then all pixels.
        at = page.offset + 2 + 12 * len(first.tags)
    virtual = bytearray(data[:end])
    virtual[at : at + 4] = b"\0\0\0\0"
    Path("a.tif").write_bytes(virtual)
    write("m.tif", labels(40, HEIGHT, WIDTH))
    source = TiffStacks("a.tif", "m.tif")
    assert len(source.keys) == 40
    Path("a.tif").write_bytes(virtual[:-200])
    with pytest.raises(SourceError, match=r"^a\.tif\[.*=39\]: "):
        source.read(39)
    with pytest.raises(SourceError, match="ends"):
        TiffStacks("a.tif", "m.tif")


def test_what_goes_wrong_names_the_page():
    write("a.tif", values(PAGES, HEIGHT, WIDTH), compression="zlib", metadata=None)
    write("m.tif", labels(PAGES, HEIGHT, WIDTH))
    source = TiffStacks("a.tif", "m.tif")
    with tifffile.TiffFile("a.tif") as tiff:
        at, size = tiff.pages[3].dataoffsets[0], tiff.pages[3].databytecounts[0]
    data = bytearray(Path("a.tif").read_bytes())
    data[at : at + size] = b"\xff" * size
    Path("a.tif").write_bytes(data)
    source.read(2)
    with pytest.raises(SourceError, match=r"^a\.tif\[page=3\]: cannot be read: "):
        source.read(3)
    Path("m.tif").unlink()
    with pytest.raises(SourceError, match=r"^m\.tif\[page=3\]: cannot be read: .*No such file"):
        source.read_mask(3)


def test_there_is_nothing_to_pack():
    write("a.tif", values(PAGES, HEIGHT, WIDTH))
    with pytest.raises(SourceError, match="no such file or folder: nowhere"):
        TiffStacks("a.tif", "nowhere")
    write("m.tif", labels(PAGES + 1, HEIGHT, WIDTH))
    with pytest.raises(SourceError, match=r"needed as many masks as images, found 5 pages"):
        TiffStacks("a.tif", "m.tif")
    write("c.tif", labels(PAGES, 2, HEIGHT, WIDTH), imagej=True, metadata={"axes": "ZCYX"})
    with pytest.raises(SourceError, match=r"^c\.tif: needed masks of one value per pixel, found 2"):
        TiffStacks("a.tif", "c.tif")
    write("cmyk.tif", values(PAGES, HEIGHT, WIDTH, 4), photometric="separated")
    with pytest.raises(SourceError, match=r"^cmyk\.tif: needed grey, RGB or palette pages"):
        TiffStacks("cmyk.tif", "m.tif")


@pytest.mark.parametrize("options", [{"imagej": True}, {"compression": "zlib", "metadata": None}])
def test_a_page_is_read_without_the_others(options):
    write("a.tif", np.zeros((500, 64, 64), "u1"), **options)
    write("m.tif", np.zeros((500, 64, 64), "u1"), **options)
    source = TiffStacks("a.tif", "m.tif")
    source.read(0)
    tracemalloc.start()
    try:
        source.read(321)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * 64 * 64  # pages, of 500


def test_threads_may_read_one_stack():
    stack = values(64, 32, 32)
    write("a.tif", stack, compression="zlib")
    write("m.tif", labels(64, 32, 32), compression="zlib")
    source, wrong = TiffStacks("a.tif", "m.tif"), []

    def read(start):
        pages = range(start, 64, 4)
        wrong.extend(page for page in pages if (source.read(page)[0][..., 0] != stack[page]).any())

    threads = [threading.Thread(target=read, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_source_travels_and_opens_again_by_its_description():
    write("i/a.tif", values(PAGES, HEIGHT, WIDTH))
    write("m/a.tif", labels(PAGES, HEIGHT, WIDTH))
    source = TiffStacks(Path("i"), Path("m"), mask_map="2=1")
    source.read(0)
    for again in (pickle.loads(pickle.dumps(source)), source_of(source.describe())):
        assert again.keys == source.keys
        assert again.describe() == source.describe()
        np.testing.assert_array_equal(again.read(3)[1], source.read(3)[1])


def test_packed_pages_are_the_stacks(tmp_path):
    stack, masks = values(11, HEIGHT, WIDTH, dtype="uint16"), labels(11, HEIGHT, WIDTH)
    write("a.tif", stack, imagej=True)
    write("m.tif", masks, compression="lzw")
    convert(TiffStacks("a.tif", "m.tif"), tmp_path / "o.zarr", split="train", workers=2)
    split = zarr.open_group(str(tmp_path / "o.zarr/train"), mode="r")
    pages = [int(bytes(key).rstrip(b"\0").decode().removeprefix("a/")) for key in split["key"][:]]
    assert sorted(pages) == list(range(11))
    np.testing.assert_array_equal(split["image"][:][..., 0], stack[pages])
    np.testing.assert_array_equal(split["mask"][:], masks[pages])


@given(st.data())
def test_law_partners_are_at_the_same_place_along_every_axis(data):
    sizes = data.draw(st.dictionaries(st.sampled_from("TZRA"), st.integers(1, 4), max_size=3))
    orders = [data.draw(st.permutations(sorted(sizes))) for _ in range(2)]
    images, masks = (
        axes_of(
            "".join(order) + "YX",
            [sizes[letter] for letter in order] + [6, 5],
            along="",
            must=True,
            name="a.tif",
        )
        for order in orders
    )
    found = [mask_sample(images, masks, sample) for sample in range(images.count)]
    assert sorted(found) == list(range(masks.count))
    for sample, other in enumerate(found):
        one = dict(zip(images.counted, images.place(sample), strict=True))
        assert one == dict(zip(masks.counted, masks.place(other), strict=True))
