"""Pictures of arrays: colours of classes, RGB of any image, thumbnails, overlays, planes, PNG."""

from __future__ import annotations

import base64
import io
import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image

from zarrfeed.pictures.overlays import mask_colors, overlaid, transparent
from zarrfeed.pictures.palette import IGNORED, UNKNOWN, Palette, class_colors, number_colors
from zarrfeed.pictures.picture_files import data_uri, jpeg_bytes, png_bytes
from zarrfeed.pictures.planes import even_slices, middle_planes, montage, plane_size
from zarrfeed.pictures.thumbnails import pick, shrink, thumbnail_size
from zarrfeed.pictures.windows import Window, to_rgb, window_of

DTYPES = st.sampled_from(
    "bool u1 i1 u2 i2 u4 i4 i8 u8 f2 f4 f8 c8".split(" ")  # noqa: SIM905
)
SIZES = st.tuples(st.integers(1, 12), st.integers(1, 12))
LARGEST = np.finfo(np.float64).max
PLAIN = Palette(("background", "a", "b", "c"), ignore=255)
OVERLAPPING = Palette(("a", "b", "c"), multi_hot=True)


@st.composite
def images(draw: st.DrawFn) -> Any:
    channels = draw(st.sampled_from([(), (1,), (2,), (3,), (4,), (7,)]))
    return draw(npst.arrays(draw(DTYPES), (*draw(SIZES), *channels)))


# colours


def test_classes_have_colors_of_their_own_however_many():
    colors = number_colors(np.arange(1 << 16))
    assert len(np.unique(colors, axis=0)) == 1 << 16
    for other in (IGNORED, UNKNOWN, (0, 0, 0)):
        assert not (colors == other).all(axis=-1).any()


@pytest.mark.parametrize(("count", "least"), [(34, 16), (48, 12)])
def test_few_classes_have_colors_that_eyes_tell_apart(count, least):
    colors = class_colors([f"class {number}" for number in range(count)]).astype(int)
    for one, other in itertools.combinations(colors, 2):
        assert np.abs(one - other).sum() >= least


def test_the_background_is_black_and_no_other_first_class():
    assert class_colors(["Background", "cell"])[0].tolist() == [0, 0, 0]
    assert class_colors(["sky", "road"])[0].any()
    assert class_colors([]).shape == (0, 3)


def test_a_legend_names_what_it_is_given():
    assert [name for name, _ in PLAIN.legend()] == ["background", "a", "b", "c", "ignored"]
    assert PLAIN.legend([255, 9]) == [("ignored", IGNORED), ("9, no class", UNKNOWN)]
    assert Palette().legend([3])[0][0] == "3"
    assert [name for name, _ in OVERLAPPING.legend()] == ["a", "b", "c"]


# images


@given(images())
def test_every_image_becomes_rgb(image):
    picture = to_rgb(image)
    assert (picture.shape, picture.dtype) == ((*image.shape[:2], 3), np.uint8)


@given(npst.arrays("uint8", st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_pictures_stay_as_they_are(image):
    np.testing.assert_array_equal(to_rgb(image), image)


@given(
    npst.arrays(
        st.sampled_from(["int16", "float32", "uint32", "float64"]),
        st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(1)),
        elements={"allow_nan": False},
    )
)
@settings(deadline=None)
def test_brighter_values_are_never_darker(image):
    order = np.argsort(image, axis=None)
    shown = to_rgb(image)[..., 0].ravel()[order].astype(int)
    assert (np.diff(shown) >= 0).all()


def test_a_window_says_what_is_black_and_white():
    scan = np.array([[-1000, -160, 40, 240, 3000]], np.int16)
    shown = to_rgb(scan, Window(np.array([-160.0]), np.array([240.0])))
    assert shown[0, :, 0].tolist() == [0, 0, 127, 255, 255]


def test_a_few_broken_pixels_do_not_make_an_image_dark():
    image = np.linspace(0, 1, 10_000).reshape(100, 100).astype(np.float32)
    image[0, :10] = [1e30, np.nan, np.inf, -np.inf, *([1e30] * 6)]
    shown = to_rgb(image)
    assert 100 < shown[50, 50, 0] < 155
    assert shown[0, :4, 0].tolist() == [255, 0, 255, 0]


def test_sparse_bright_spots_are_seen():
    image = np.zeros((100, 100), np.uint16)
    image[5, 5] = 40_000
    assert to_rgb(image)[5, 5].tolist() == [255, 255, 255]


@pytest.mark.parametrize("value", [0.0, 7.0, np.nan, np.inf])
def test_an_image_of_one_value_is_black_without_a_warning(value):
    shown = to_rgb(np.full((3, 4, 1), value, np.float32))
    assert np.isinf(value) or not shown.any()


def test_two_channels_are_magenta_and_green():
    image = np.zeros((1, 2, 2), np.uint8)
    image[0, 0, 0] = image[0, 1, 1] = 200
    assert to_rgb(image)[0].tolist() == [[200, 0, 200], [0, 200, 0]]


def test_colour_images_have_one_window_and_others_one_per_channel():
    ramp = np.linspace(0, 1, 100).reshape(10, 10, 1)
    colour = np.concatenate([ramp, ramp / 2, ramp / 4], axis=-1)
    assert to_rgb(colour)[-1, -1].tolist()[0] > 2 * to_rgb(colour)[-1, -1].tolist()[2]
    assert to_rgb(np.concatenate([colour, ramp], axis=-1))[-1, -1].tolist() == [255, 255, 255]
    assert len(window_of(colour).low) == 3
    assert len(window_of(colour, together=True).low) == 1


def test_booleans_are_black_and_white_and_no_channel_is_black():
    assert to_rgb(np.array([[True, False]]))[0, :, 0].tolist() == [255, 0]
    assert not to_rgb(np.zeros((2, 2, 0), np.float32)).any()


# thumbnails


@given(st.tuples(st.integers(1, 10**6), st.integers(1, 10**6)), st.integers(1, 2000))
def test_a_thumbnail_keeps_the_aspect_and_is_never_larger(size, most):
    small = thumbnail_size(size, most)
    assert max(small) == min(most, max(size))
    assert min(small) >= 1
    scale = max(small) / max(size)
    for extent, old in zip(small, size, strict=True):
        assert abs(extent - old * scale) <= max(0.5, 1 - old * scale)


@pytest.mark.parametrize("least", [-LARGEST, LARGEST, np.nan, -np.inf])
def test_means_of_the_largest_numbers_are_finite(least):
    image = np.full((3, 6), LARGEST)
    image[:, 3:] = least
    known = image[np.isfinite(image)]
    small = shrink(image, (1, 1))
    assert known.min() <= small[0, 0] <= known.max()
    assert np.isfinite(shrink(image * (1 + 1j), (1, 1))).all() or not np.isfinite(least)


@given(images(), st.data())
@settings(deadline=None)
def test_means_lie_between_the_values(image, data):
    size = tuple(data.draw(st.integers(1, extent)) for extent in image.shape[:2])
    small = shrink(image, size)
    assert small.dtype == image.dtype
    assert small.shape == (*size, *image.shape[2:])
    if image.dtype.kind in "iub" and image.dtype.itemsize < 8:  # float64 tells others not apart
        assert image.min() <= small.min()
        assert small.max() <= image.max()
    np.testing.assert_array_equal(shrink(image, image.shape[:2]), image)


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 6), st.integers(1, 6))
def test_whole_blocks_are_averaged_as_numpy_does(rows, columns, down, across):
    rng = np.random.default_rng(rows * 7 + columns)
    image = rng.normal(size=(rows * down, columns * across, 2))
    blocks = image.reshape(rows, down, columns, across, 2)
    np.testing.assert_allclose(shrink(image, (rows, columns)), blocks.mean(axis=(1, 3)))


def test_nan_does_not_spread():
    image = np.array([[1.0, np.nan, 3.0, 5.0, np.nan, np.inf]])
    np.testing.assert_array_equal(shrink(image, (1, 3)), [[1.0, 4.0, np.nan]])


@given(npst.arrays("uint8", SIZES), SIZES)
def test_a_small_mask_has_no_class_that_the_mask_lacks(mask, size):
    small = pick(mask, size)
    assert small.shape == size
    assert set(np.unique(small)) <= set(np.unique(mask))
    np.testing.assert_array_equal(pick(mask, mask.shape), mask)
    enlarged = pick(mask, (mask.shape[0] * 3, mask.shape[1] * 2))
    np.testing.assert_array_equal(enlarged, mask.repeat(3, axis=0).repeat(2, axis=1))


# masks


@given(npst.arrays(st.sampled_from(["uint8", "int16", "int32", "float32"]), SIZES), st.data())
def test_an_overlay_leaves_the_background_as_it_is(mask, data):
    palette = data.draw(st.sampled_from([PLAIN, Palette()]))
    picture = np.random.default_rng(0).integers(0, 255, (*mask.shape, 3)).astype(np.uint8)
    over, (_, covered) = overlaid(picture, mask, palette), mask_colors(mask, palette)
    np.testing.assert_array_equal(over[~covered], picture[~covered])
    assert not covered[mask == 0].any()
    np.testing.assert_array_equal(overlaid(picture, mask, palette, alpha=0), picture)
    np.testing.assert_array_equal(transparent(mask, palette)[..., 3] == 255, covered)


@given(npst.arrays("uint8", SIZES, elements=st.integers(0, 5)))
def test_ids_have_the_colors_of_their_classes(mask):
    colors, _ = mask_colors(mask, PLAIN)
    for id_, color in enumerate(class_colors(PLAIN.names)):
        assert (colors[mask == id_] == color).all()
    assert (colors[mask > 3] == UNKNOWN).all()
    np.testing.assert_array_equal(mask_colors(mask[..., None].astype(np.float32), PLAIN)[0], colors)


@given(npst.arrays("uint8", SIZES, elements=st.integers(0, 2)))
def test_one_hot_masks_look_like_class_ids(mask):
    hot = mask[..., None] == np.arange(3)
    for dtype in (np.uint8, np.float32, np.bool_):
        colors, covered = mask_colors(hot.astype(dtype), OVERLAPPING)
        assert covered.all()
        np.testing.assert_array_equal(colors, class_colors(OVERLAPPING.names)[mask])
    palette = Palette(("background", "a", "b"), multi_hot=True)
    np.testing.assert_array_equal(mask_colors(hot, palette)[1], mask > 0)


def test_overlapping_classes_mix():
    colors, _ = mask_colors(np.array([[[1, 1, 0], [0, 0, 0]]], np.uint8), OVERLAPPING)
    a, b = class_colors(OVERLAPPING.names).astype(int)[:2]
    assert colors.tolist() == [[((a + b) // 2).tolist(), [0, 0, 0]]]


def test_ignored_pixels_are_grey_and_those_that_are_not_numbers_are_clear():
    mask = np.array([[255.0, np.nan, 1.0, -3.0, 1e30]])
    colors, covered = mask_colors(mask, PLAIN)
    assert covered.tolist() == [[True, False, True, True, True]]
    assert colors[0, 0].tolist() == list(IGNORED)
    assert colors[0, 3].tolist() == colors[0, 4].tolist() == list(UNKNOWN)


# volumes


@given(
    st.tuples(*[st.integers(1, 40)] * 3),
    st.one_of(st.none(), st.tuples(*[st.floats(0.05, 10) | st.sampled_from([0, math.nan])] * 3)),
)
def test_planes_cut_a_volume_and_keep_its_proportions(size, spacing):
    volume = np.arange(math.prod(size)).reshape(size)
    for axis, plane in enumerate(middle_planes(size, spacing)):
        assert plane.axis == axis
        np.testing.assert_array_equal(volume[plane.cut], volume.take(plane.place, axis=axis))
        flat = volume[plane.cut].shape
        assert all(new >= old for new, old in zip(plane.size, flat, strict=True))
        assert any(new == old for new, old in zip(plane.size, flat, strict=True))
    for plane in even_slices(size, 7, spacing):
        assert 0 <= plane.place < size[0]


def test_thick_slices_are_shown_thick():
    assert plane_size((10, 40, 50), 2, (3.0, 1.0, 1.0)) == (30, 40)
    assert plane_size((10, 40, 50), 0, (3.0, 1.0, 2.0)) == (40, 100)
    assert plane_size((10, 40, 50), 1, (1e9, 1.0, 1.0)) == (200, 50)


@given(st.integers(1, 9), st.integers(1, 4), st.data())
def test_a_montage_has_every_picture_in_its_place(count, columns, data):
    sizes = [data.draw(st.tuples(st.integers(1, 5), st.integers(1, 5))) for _ in range(count)]
    pictures = [np.full((*size, 3), n + 1, np.uint8) for n, size in enumerate(sizes)]
    sheet = montage(pictures, columns=columns)
    for number, picture in enumerate(pictures):
        assert (sheet[..., 0] == number + 1).sum() == picture[..., 0].size


# files


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (5, 7, 4)])
def test_a_png_holds_the_picture(shape):
    picture = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png_bytes(picture)))), picture)
    uri = data_uri(png_bytes(picture))
    assert base64.b64decode(uri.removeprefix("data:image/png;base64,")) == png_bytes(picture)


def photograph() -> Any:
    rng = np.random.default_rng(0)
    return (np.cumsum(rng.normal(size=(64, 64, 3)), axis=0) * 9 + 128).clip(0, 255).astype(np.uint8)


def test_fewer_colors_make_a_smaller_file_that_looks_alike():
    picture = photograph()
    small = png_bytes(picture, colors=64)
    assert len(small) < len(png_bytes(picture)) / 2
    again = np.asarray(Image.open(io.BytesIO(small)).convert("RGB")).astype(int)
    assert np.abs(again - picture).mean() < 20


@pytest.mark.parametrize("shape", [(64, 64), (64, 64, 3)])
def test_a_jpeg_is_smaller_yet(shape):
    picture = photograph().reshape(64, -1)[:, : math.prod(shape) // 64].reshape(shape)
    small = jpeg_bytes(picture, quality=90)
    assert len(small) < len(png_bytes(picture))
    assert np.asarray(Image.open(io.BytesIO(small))).shape == shape
    assert data_uri(small).startswith("data:image/jpeg;base64,/9j/")
