"""Every format, as every kind of image that it can hold, decodes to the pixels that went in."""

from __future__ import annotations

import io

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.decode import decode, measure
from zarrfeed_convert.decoding.pixels import Pixels, as_image

SHAPES = {"grey": (9, 7), "rgb": (9, 7, 3), "rgba": (9, 7, 4)}
LOSSLESS = [
    *((".png", kind, dtype) for kind in SHAPES for dtype in ("uint8", "uint16")),
    *((".tif", kind, dtype) for kind in SHAPES for dtype in ("uint8", "uint16", "float32")),
    *((".bmp", kind, "uint8") for kind in ("grey", "rgb")),
    *((".webp", kind, "uint8") for kind in ("rgb", "rgba")),
]


def random_image(kind, dtype):
    rng = np.random.default_rng(7)
    if dtype == "float32":
        return rng.random(SHAPES[kind], np.float32)
    image = rng.integers(0, np.iinfo(dtype).max, SHAPES[kind], dtype, endpoint=True)
    if kind == "rgba":
        image[..., 3] |= 1  # WebP drops the colours of what cannot be seen
    return image


@pytest.mark.parametrize(("extension", "kind", "dtype"), LOSSLESS)
def test_lossless_files_give_their_pixels(tmp_path, save, extension, kind, dtype):
    image = random_image(kind, dtype)
    path = save(tmp_path / f"a{extension}", image)
    decoded = as_image(decode(path), "auto")
    np.testing.assert_array_equal(decoded, image.reshape(9, 7, -1))
    head = measure(path)
    assert (head.height, head.width, head.channels, head.dtype) == (*decoded.shape, dtype)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpegs_look_as_pillow_shows_them(tmp_path, mode):
    smooth = np.add.outer(np.arange(32), np.arange(48)).astype(np.uint8)
    path = tmp_path / "a.jpg"
    Image.fromarray(smooth).convert("RGB").convert(mode).save(path, quality=95)
    expected = np.array(Image.open(path).convert("L" if mode == "L" else "RGB"))
    decoded = as_image(decode(path), "auto")
    assert abs(decoded.astype(int) - expected.reshape(decoded.shape)).max() <= 2
    assert measure(path).channels == decoded.shape[2]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp"])
def test_exif_orientation_turns_images_as_viewers_do(tmp_path, orientation, extension):
    image = Image.fromarray(np.add.outer(np.arange(16) * 8, np.arange(24) * 4).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a{extension}"
    image.convert("RGB").save(path, exif=exif, **({"lossless": True} if "w" in extension else {}))
    expected = np.array(ImageOps.exif_transpose(Image.open(path)))
    decoded = as_image(decode(path), "auto")
    assert decoded.shape == expected.shape
    assert abs(decoded.astype(int) - expected).max() <= 3
    assert (measure(path).height, measure(path).width) == expected.shape[:2]


def test_tiff_orientation_turns_images(tmp_path):
    path = tmp_path / "a.tif"
    values = np.arange(6, dtype=np.uint8).reshape(2, 3)
    tifffile.imwrite(path, values, extratags=[(274, "H", 1, 6, True)])
    np.testing.assert_array_equal(decode(path).values, np.rot90(values, -1))
    assert (measure(path).height, measure(path).width) == (3, 2)


def test_palette_pixels_are_indices_with_their_colors(tmp_path):
    image = Image.fromarray(np.array([[0, 2], [1, 2]], np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    for name in ("a.png", "a.bmp", "a.tif"):
        image.save(tmp_path / name)
        pixels = decode(tmp_path / name)
        assert pixels.values.tolist() == [[0, 2], [1, 2]]
        assert as_image(pixels, "auto")[0].tolist() == [[255, 0, 0], [0, 0, 255]]
        assert measure(tmp_path / name).channels == 3


def test_a_transparent_palette_is_rgba(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.save(tmp_path / "a.png", transparency=1)
    assert as_image(decode(tmp_path / "a.png"), "auto")[0].tolist() == [
        [255, 0, 0, 255],
        [0, 255, 0, 0],
    ]
    assert measure(tmp_path / "a.png").channels == 4


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_transparent_color_key_is_no_channel(tmp_path, dtype):
    values = np.array([[3, 4]], dtype)
    Image.fromarray(values).save(tmp_path / "a.png", transparency=3)
    np.testing.assert_array_equal(decode(tmp_path / "a.png").values, values)


def test_grey_with_alpha_is_rgba(tmp_path):
    values = np.array([[[9, 255], [8, 0]]], np.uint8)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(values))
    decoded = as_image(decode(tmp_path / "a.png"), "auto")
    assert decoded[0].tolist() == [[9, 9, 9, 255], [8, 8, 8, 0]]
    assert measure(tmp_path / "a.png").channels == 4
    assert as_image(decode(tmp_path / "a.png"), "grey")[0].tolist() == [[9], [8]]


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif"])
def test_one_bit_files_are_black_and_white(tmp_path, name):
    Image.fromarray(np.array([[0, 255, 255]], np.uint8)).convert("1").save(tmp_path / name)
    assert decode(tmp_path / name).values.tolist() == [[0, 255, 255]]
    assert measure(tmp_path / name).dtype == "uint8"


def test_a_tiff_whose_zero_is_white_is_inverted(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0, 5]], np.uint8), photometric="miniswhite")
    assert decode(tmp_path / "a.tif").values.tolist() == [[255, 250]]


def test_tiff_planes_become_channels(tmp_path):
    values = random_image("rgb", "uint16")
    tifffile.imwrite(
        tmp_path / "a.tif", np.moveaxis(values, 2, 0), photometric="rgb", planarconfig="separate"
    )
    np.testing.assert_array_equal(decode(tmp_path / "a.tif").values, values)


def test_a_tiff_stack_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((3, 8, 8), np.uint8), photometric="minisblack")
    with pytest.raises(SourceError, match="found 3 TIFF pages"):
        measure(tmp_path / "a.tif")


@pytest.mark.parametrize("extension", [".png", ".jpg", ".tif", ".bmp", ".webp"])
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.97])
def test_a_file_that_ends_early_is_refused_by_name(tmp_path, save, extension, keep):
    rng = np.random.default_rng(0)
    path = save(tmp_path / f"broken{extension}", rng.integers(0, 255, (64, 64, 3), np.uint8))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(SourceError, match=r"broken.*cannot be decoded"):
        decode(path)


def test_a_damaged_file_is_described_in_peoples_words(tmp_path, save):
    path = save(tmp_path / "a.png", np.random.default_rng(0).integers(0, 9, (64, 64, 3), np.uint8))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(SourceError, match=r"a\.png: cannot be decoded: truncated; the file"):
        decode(path)
    path.write_bytes(b"text")
    for read in (measure, decode):
        with pytest.raises(SourceError, match="it does not begin like an image;") as error:
            read(path)
        assert "<_io" not in str(error.value)


@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
def test_a_tiff_that_ends_early_is_refused_under_every_compression(tmp_path, compression):
    path = tmp_path / "broken.tif"
    values = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    tifffile.imwrite(path, values, compression=compression, rowsperstrip=16)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SourceError, match="cannot be decoded"):
        decode(path)


@pytest.mark.parametrize("profile", [b"", bytes(70_000)], ids=["", "colour profile"])
def test_the_orientation_is_found_wherever_it_stands_before_the_pixels(tmp_path, profile):
    path, exif = tmp_path / "a.jpg", Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(np.arange(16 * 24 * 3, dtype=np.uint8).reshape(16, 24, 3))
    image.save(path, exif=exif, icc_profile=profile, comment=b"x")
    start, app1 = path.read_bytes().split(b"\xff\xe1", 1)
    length = int.from_bytes(app1[:2], "big")
    tables = app1[length:].index(b"\xff\xdb")  # the Exif segment goes behind all other words
    before, after = app1[length:][:tables], app1[length:][tables:]
    path.write_bytes(start + before + b"\xff\xe1" + app1[:length] + after)
    expected = np.array(ImageOps.exif_transpose(Image.open(path)))
    assert expected.shape == (24, 16, 3)
    np.testing.assert_array_equal(decode(path).values, expected)


def test_of_several_pictures_in_a_jpeg_the_first_is_taken(tmp_path):
    colors = [Image.new("RGB", (16, 8), color) for color in ((200, 9, 9), (9, 200, 9))]
    colors[0].save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=colors[1:])
    with Image.open(tmp_path / "a.jpg") as image:
        expected = np.array(image)
    np.testing.assert_array_equal(decode(tmp_path / "a.jpg").values, expected)


def test_zeros_after_the_end_of_a_jpeg_do_no_harm(tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (9, 9, 9)).save(buffer, "JPEG")
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue() + bytes(64))
    assert decode(tmp_path / "a.jpg").values.shape == (8, 8, 3)


def test_a_text_with_an_images_name_is_refused(tmp_path):
    (tmp_path / "a.png").write_text("not an image")
    with pytest.raises(SourceError, match=r"a\.png: cannot be decoded"):
        measure(tmp_path / "a.png")


@given(st.integers(0, 2**32 - 1))
def test_luma_is_pillows(seed):
    values = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), np.uint8)
    expected = np.array(Image.fromarray(values).convert("L"))
    np.testing.assert_array_equal(as_image(Pixels(values), "grey")[..., 0], expected)


@pytest.mark.parametrize(("dtype", "opaque"), [("uint8", 255), ("uint16", 65535), ("float32", 1)])
def test_a_new_alpha_is_opaque(dtype, opaque):
    image = as_image(Pixels(np.zeros((2, 2), dtype)), "rgba")
    assert image.dtype == dtype
    assert image[0, 0].tolist() == [0, 0, 0, opaque]


@pytest.mark.parametrize("end", [".gif", ".png", ".webp"])
def test_of_an_animation_no_picture_is_taken_for_all(tmp_path, end):
    frames = [Image.new("RGB", (8, 6), color) for color in ((200, 9, 9), (9, 200, 9))]
    path = tmp_path / f"a{end}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    for look in (measure, decode):
        with pytest.raises(SourceError, match="needed one image in the file, found an animation"):
            look(path)
    frames[0].save(path)
    assert (measure(path).height, measure(path).width) == decode(path).values.shape[:2] == (6, 8)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [2, 4])
def test_colors_that_were_multiplied_by_their_opacity_are_divided(tmp_path, dtype, channels):
    top = 1 if dtype == np.float32 else np.iinfo(dtype).max
    values = (np.random.default_rng(0).random((9, 8, channels)) * top).astype(dtype)
    values[0, 0, -1] = 0
    options = {"photometric": "minisblack" if channels == 2 else "rgb", "planarconfig": "contig"}
    tifffile.imwrite(tmp_path / "a.tif", values, extrasamples=["assocalpha"], **options)
    found = decode(tmp_path / "a.tif").values
    np.testing.assert_array_equal(found[..., -1], values[..., -1])
    assert not found[0, 0].any()
    shown = values[..., :-1] / np.where(values[..., -1:] == 0, 1, values[..., -1:]) * top
    expected = np.minimum(np.floor(shown + 1e-6) if top > 1 else shown, top)
    np.testing.assert_allclose(found[1:, :, :-1], expected[1:], rtol=1e-6)
    if channels == 4 and dtype == np.uint8:
        with Image.open(tmp_path / "a.tif") as image:
            np.testing.assert_array_equal(found, np.array(image))


def test_a_palette_of_eight_bits_in_sixteen_shows_its_colors(tmp_path):
    colors = np.zeros((3, 256), np.uint16)
    colors[:, 1] = 9, 200, 255
    values = np.array([[0, 1]], np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="palette", colormap=colors)
    image = as_image(decode(tmp_path / "a.tif"), "rgb")
    assert image.tolist() == [[[0, 0, 0], [9, 200, 255]]]
    assert measure(tmp_path / "a.tif").palette[3:6] == bytes([9, 200, 255])


def test_black_and_white_in_a_palette_of_a_bmp_are_where_they_are(tmp_path):
    indices = np.random.default_rng(0).integers(0, 2, (6, 9), np.uint8)
    image = Image.fromarray(indices, "P")
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.save(tmp_path / "a.bmp")
    np.testing.assert_array_equal(decode(tmp_path / "a.bmp").values, indices * 255)
    assert measure(tmp_path / "a.bmp").channels == 1
    image.convert("L").save(tmp_path / "b.bmp")
    image.convert("1").save(tmp_path / "c.bmp")
    for name in "bc":
        np.testing.assert_array_equal(decode(tmp_path / f"{name}.bmp").values, indices * 255)
