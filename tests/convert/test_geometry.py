"""Image and mask become one size together; pixels are covered, ids are never invented."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrfeed.errors import SourceError
from zarrfeed_convert.geometry import GRID, Coverage, Geometry, size_text
from zarrfeed_convert.resizing import resize_image, resize_nearest
from zarrfeed_convert.source import PAIR, Field
from zarrfeed_convert.verification.former_tiles import FormerTiles

of_images = st.tuples(st.integers(1, 40), st.integers(1, 40))
of_volumes = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
pairs_of_sizes = st.sampled_from([of_images, of_volumes]).flatmap(lambda of: st.tuples(of, of))
IGNORE = 9


def pair(size, channels=3, dtype="uint8", seed=0):
    rng = np.random.default_rng(seed)
    image = (rng.random((*size, channels)) * 200 + 1).astype(dtype)
    return image, rng.choice(np.array([0, 3, 7], np.uint8), size)


def fitted(geometry, image, mask, **how):
    return geometry.apply({"image": image, "mask": mask}, PAIR, **how).values()


def boxes(geometry, size):
    """The part of the sample, and that of the tile, for each origin."""
    for origin in geometry.origins(size):
        inside = [
            min(new, old - at) for at, new, old in zip(origin, geometry.size, size, strict=True)
        ]
        here = tuple(slice(at, at + extent) for at, extent in zip(origin, inside, strict=True))
        yield origin, here, tuple(map(slice, inside))


@given(pairs_of_sizes, st.none() | st.integers(0, 8))
def test_tiles_cover_every_pixel(sizes, overlap):
    """Those of now once; those of splits of before, which have an overlap, lie inside."""
    size, tile = sizes
    geometry = Geometry(tile, GRID)
    if overlap is not None:
        geometry = FormerTiles(tile, GRID, overlap=min(overlap, min(tile) - 1))
    covered = np.zeros(size, int)
    for origin, here, _ in boxes(geometry, size):
        assert overlap is None or all(
            at == 0 or at + new <= old for at, new, old in zip(origin, tile, size, strict=True)
        )
        covered[here] += 1
    assert covered.min() >= 1
    assert overlap is not None or covered.max() == 1
    origins = geometry.origins(size)
    assert len(set(origins)) == len(origins)
    assert geometry.is_cut_into(size, set(origins))
    assert not geometry.is_cut_into(size, set(origins[1:]))
    padded = len(origins) * np.prod(tile) - covered.sum()
    assert geometry.pads(size) == (padded > 0)
    if overlap is None:
        assert geometry.coverage(size) == Coverage(lost=0, padded=padded)


@given(pairs_of_sizes, st.booleans())
def test_tiles_put_together_are_the_sample(sizes, former):
    size, tile = sizes
    geometry = FormerTiles(tile, GRID) if former else Geometry(tile, GRID)
    image, mask = pair(size)
    whole, ids = np.zeros_like(image), np.zeros_like(mask)
    for origin, here, inside in boxes(geometry, size):
        part, part_ids = fitted(geometry, image, mask, origin=origin, ignore=IGNORE)
        whole[here], ids[here] = part[inside], part_ids[inside]
    np.testing.assert_array_equal(whole, image)
    np.testing.assert_array_equal(ids, mask)


@given(
    pairs_of_sizes,
    st.sampled_from(["resize", "crop", "pad", GRID]),
    st.sampled_from(["uint8", "uint16", "int16", "int32", "float16", "float32", "float64"]),
    st.sampled_from([1, 3, 4]),
)
def test_every_fit_gives_the_size_the_dtype_and_only_known_ids(sizes, fit, dtype, channels):
    size, wanted = sizes
    geometry = Geometry(wanted, fit)
    try:
        geometry.check(size, name="sample")
    except SourceError:
        assert fit in ("crop", "pad")
        return
    image, mask = pair(size, channels, dtype)
    for origin in geometry.origins(size):
        cut, ids = fitted(geometry, image, mask, origin=origin, ignore=IGNORE)
        assert cut.shape == (*wanted, channels)
        assert cut.dtype == dtype
        assert ids.shape == wanted
        allowed = set(np.unique(mask)) | ({IGNORE} if geometry.pads(size) else set())
        assert set(np.unique(ids)) <= allowed


def test_a_crop_is_the_centre():
    image, mask = pair((6, 8))
    cut, ids = fitted(Geometry((2, 4), "crop"), image, mask, origin=(0, 0), ignore=None)
    np.testing.assert_array_equal(cut, image[2:4, 2:6])
    np.testing.assert_array_equal(ids, mask[2:4, 2:6])


def test_padding_is_below_and_at_the_right():
    image, mask = pair((2, 2))
    cut, ids = fitted(Geometry((3, 3), "pad"), image, mask, origin=(0, 0), ignore=300)
    np.testing.assert_array_equal(cut[:2, :2], image)
    assert not cut[2].any()
    assert not cut[:, 2].any()
    assert ids[2].tolist() == ids[:, 2].tolist() == [300, 300, 300]


def test_a_crop_from_less_and_a_padding_of_more_are_refused():
    with pytest.raises(SourceError, match="cat: is 4x9, too small to crop 5x5"):
        Geometry((5, 5), "crop").check((4, 9), name="cat")
    with pytest.raises(SourceError, match="cat: is 4x9, too large to pad to 5x5"):
        Geometry((5, 5), "pad").check((4, 9), name="cat")


@given(st.lists(of_volumes, min_size=1, max_size=4), of_volumes, st.sampled_from(["crop", "pad"]))
def test_what_the_error_advises_suits_all_samples(sizes, wanted, fit):
    message = ""
    for size in sizes:
        try:
            Geometry(wanted, fit).check(size, name="ct", others=sizes)
        except SourceError as error:
            message = str(error)
    if not message:
        return
    advice = re.search(
        r"; use --fit (.*), or --size (\S+) --fit (\w+), or --tile (\S+) without", message
    )
    assert advice is not None
    fits, extent, same, tile = advice.groups()
    assert (same, tile) == (fit, size_text(wanted))
    advised = [GRID, *fits.split(" or ")]
    assert "resize" in advised
    for size in sizes:
        Geometry(tuple(map(int, extent.split("x"))), fit).check(size, name="ct")
        for other in advised:
            Geometry(wanted, other).check(size, name="ct")


def test_a_volume_is_brought_to_a_size_of_three_axes_alone():
    with pytest.raises(
        SourceError, match=r"ct: needed as many axes as 5x5 has, found 7x4x9; .* DxHxW"
    ):
        Geometry((5, 5), "resize").check((7, 4, 9), name="ct")


def test_a_damaged_size_takes_no_memory():
    for geometry in (Geometry((4, 4), GRID), FormerTiles((4, 4), GRID, overlap=1)):
        assert not geometry.is_cut_into((2**60, 2**60), {(0, 0)})


@given(of_volumes, st.integers(1, 9))
def test_resizing_along_one_axis_leaves_the_others(size, wanted):
    image, mask = pair(size, 2, "float32")
    same = (size[0], *size[1:])
    np.testing.assert_array_equal(resize_image(image, same), image)
    deep = resize_image(np.broadcast_to(image[:1], image.shape), (wanted, *size[1:]))
    np.testing.assert_allclose(deep, np.broadcast_to(image[:1], deep.shape), rtol=1e-6)
    assert set(np.unique(resize_nearest(mask, (wanted, *size[1:])))) <= set(np.unique(mask))


def triangle_weights(old, new):
    """Weights of old pixels (columns) in new ones: a triangle, wider where pixels are averaged."""
    step = old / new
    places = (np.arange(new) + 0.5) * step
    distance = np.abs(np.arange(old) + 0.5 - places[:, None]) / max(1, step)
    weights = np.maximum(0, 1 - distance)
    return weights / weights.sum(axis=1, keepdims=True)


@given(of_volumes, of_volumes, st.sampled_from(["uint8", "int16", "uint16", "int32", "float32"]))
def test_volumes_are_interpolated_along_each_axis_and_rounded_once(size, wanted, dtype):
    image, mask = pair(size, 2, dtype)
    expected = image.astype(np.float64)
    for axis, (old, new) in enumerate(zip(size, wanted, strict=True)):
        weights = triangle_weights(old, new)
        expected = np.moveaxis(np.tensordot(weights, expected, (1, axis)), 0, axis)
    found = resize_image(image, wanted)
    assert found.dtype == image.dtype
    within = 1e-6 * np.abs(image).max() + (0 if dtype == "float32" else 0.5)
    assert np.abs(found - expected).max() <= within
    places = [
        ((np.arange(new) + 0.5) * old / new) // 1 for old, new in zip(size, wanted, strict=True)
    ]
    nearest = mask[np.ix_(*(place.astype(int) for place in places))]
    np.testing.assert_array_equal(resize_nearest(mask, wanted), nearest)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(2**24 + 1, "int32"), (2**24 + 1, "uint32"), (1e39, "float64"), (-1e300, "float64")],
)
def test_numbers_that_float32_does_not_hold_are_not_interpolated(value, dtype):
    with pytest.raises(SourceError, match="use --fit crop or pad"):
        resize_image(np.full((4, 4, 1), value, dtype), (2, 2))


@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", "int8", "int16", "int32", "float16", "float32", "float64"]
)
def test_resizing_averages_and_keeps_constant_images(dtype):
    assert (resize_image(np.full((16, 16, 4), 77, dtype), (5, 3)) == 77).all()
    assert (resize_image(np.full((6, 16, 16, 4), 77, dtype), (4, 5, 3)) == 77).all()
    if dtype == "int8":
        return
    board = np.indices((32, 32)).sum(axis=0)[..., np.newaxis] % 2 * 200
    small = resize_image(board.astype(dtype), (4, 4))
    assert abs(small.astype(float) - 100).max() <= 10


@pytest.mark.parametrize("fit", ["resize", "crop", "pad", GRID])
def test_a_target_shows_the_same_pixels_as_the_mask_and_is_never_interpolated(fit):
    image, mask = pair((12, 10))
    depth = np.stack([mask * 0.5, mask * 2.0], axis=-1)
    fields = (*PAIR, Field("depth", "target"))
    geometry = Geometry((16, 16) if fit == "pad" else (5, 7), fit)
    for origin in geometry.origins((12, 10)):
        found = geometry.apply(
            {"image": image, "mask": mask, "depth": depth}, fields, origin=origin, ignore=None
        )
        assert found["depth"].dtype == depth.dtype
        np.testing.assert_array_equal(found["depth"][..., 0], found["mask"] * 0.5)
        np.testing.assert_array_equal(found["depth"][..., 1], found["mask"] * 2.0)
