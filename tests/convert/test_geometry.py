"""Image and mask become one size together; pixels are covered, ids are never invented."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrfeed.errors import SourceError
from zarrfeed_convert.geometry import Geometry, resize_image
from zarrfeed_convert.source import PAIR, Field

extents = st.tuples(st.integers(1, 40), st.integers(1, 40))
IGNORE = 9


def pair(size, channels=3, dtype="uint8", seed=0):
    rng = np.random.default_rng(seed)
    image = (rng.random((*size, channels)) * 200 + 1).astype(dtype)
    return image, rng.choice(np.array([0, 3, 7], np.uint8), size)


def fitted(geometry, image, mask, **how):
    return geometry.apply({"image": image, "mask": mask}, PAIR, **how).values()


@given(extents, extents)
def test_tiles_cover_every_pixel_and_lie_inside_it(size, tile):
    geometry = Geometry(tile, "tile")
    covered = np.zeros(size, int)
    for y, x in geometry.windows(*size):
        assert y == 0 or y + tile[0] <= size[0]
        assert x == 0 or x + tile[1] <= size[1]
        covered[y : y + tile[0], x : x + tile[1]] += 1
    assert covered.min() >= 1
    assert len(set(geometry.windows(*size))) == len(geometry.windows(*size))


@given(extents, extents)
def test_tiles_put_together_are_the_sample(size, tile):
    geometry = Geometry(tile, "tile")
    image, mask = pair(size)
    whole, ids = np.zeros_like(image), np.zeros_like(mask)
    for y, x in geometry.windows(*size):
        part, part_ids = fitted(geometry, image, mask, window=(y, x), ignore=IGNORE)
        height, width = min(tile[0], size[0] - y), min(tile[1], size[1] - x)
        whole[y : y + height, x : x + width] = part[:height, :width]
        ids[y : y + height, x : x + width] = part_ids[:height, :width]
    np.testing.assert_array_equal(whole, image)
    np.testing.assert_array_equal(ids, mask)


@given(
    extents,
    extents,
    st.sampled_from(["resize", "crop", "pad", "tile"]),
    st.sampled_from(["uint8", "uint16", "float32"]),
    st.sampled_from([1, 3, 4]),
)
def test_every_fit_gives_the_size_the_dtype_and_only_known_ids(size, wanted, fit, dtype, channels):
    geometry = Geometry(wanted, fit)
    try:
        geometry.check(*size, name="sample")
    except SourceError:
        assert fit in ("crop", "pad")
        return
    image, mask = pair(size, channels, dtype)
    for window in geometry.windows(*size):
        cut, ids = fitted(geometry, image, mask, window=window, ignore=IGNORE)
        assert cut.shape == (*wanted, channels)
        assert cut.dtype == dtype
        assert ids.shape == wanted
        allowed = set(np.unique(mask)) | ({IGNORE} if geometry.pads(*size) else set())
        assert set(np.unique(ids)) <= allowed


def test_a_crop_is_the_centre():
    image, mask = pair((6, 8))
    cut, ids = fitted(Geometry((2, 4), "crop"), image, mask, window=(0, 0), ignore=None)
    np.testing.assert_array_equal(cut, image[2:4, 2:6])
    np.testing.assert_array_equal(ids, mask[2:4, 2:6])


def test_padding_is_below_and_at_the_right():
    image, mask = pair((2, 2))
    cut, ids = fitted(Geometry((3, 3), "pad"), image, mask, window=(0, 0), ignore=300)
    np.testing.assert_array_equal(cut[:2, :2], image)
    assert not cut[2].any()
    assert not cut[:, 2].any()
    assert ids[2].tolist() == ids[:, 2].tolist() == [300, 300, 300]


def test_a_crop_from_less_and_a_padding_of_more_are_refused():
    with pytest.raises(SourceError, match="cat: is 4x9, too small to crop 5x5"):
        Geometry((5, 5), "crop").check(4, 9, name="cat")
    with pytest.raises(SourceError, match="cat: is 4x9, too large to pad to 5x5"):
        Geometry((5, 5), "pad").check(4, 9, name="cat")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_resizing_averages_and_keeps_constant_images(dtype):
    assert (resize_image(np.full((16, 16, 4), 77, dtype), (5, 3)) == 77).all()
    board = np.indices((32, 32)).sum(axis=0)[..., np.newaxis] % 2 * 200
    small = resize_image(board.astype(dtype), (4, 4))
    assert abs(small.astype(float) - 100).max() <= 10


@pytest.mark.parametrize("fit", ["resize", "crop", "pad", "tile"])
def test_a_target_shows_the_same_pixels_as_the_mask_and_is_never_interpolated(fit):
    image, mask = pair((12, 10))
    depth = np.stack([mask * 0.5, mask * 2.0], axis=-1)
    fields = (*PAIR, Field("depth", "target"))
    geometry = Geometry((16, 16) if fit == "pad" else (5, 7), fit)
    for window in geometry.windows(12, 10):
        found = geometry.apply(
            {"image": image, "mask": mask, "depth": depth}, fields, window=window, ignore=None
        )
        assert found["depth"].dtype == depth.dtype
        np.testing.assert_array_equal(found["depth"][..., 0], found["mask"] * 0.5)
        np.testing.assert_array_equal(found["depth"][..., 1], found["mask"] * 2.0)
