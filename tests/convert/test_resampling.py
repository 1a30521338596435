"""Resampled volumes are those of SimpleITK and nibabel on the same grid, part by part or whole."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK
from hypothesis import assume, given, reject
from hypothesis import strategies as st
from nibabel.processing import resample_from_to

from volume_spaces import (
    affines,
    itk_of,
    nifti_of,
    of_itk,
    of_nifti,
    set_grid,
    sizes,
    spacings,
    values_of,
)
from zarrfeed.errors import SourceError
from zarrfeed_convert.affines import spacing_of
from zarrfeed_convert.resampling import resample, resampling_to

DTYPES = ["uint8", "int8", "int16", "uint16", "int32", "uint32", "float16", "float32", "float64"]


def change(new, old, size):
    found = resampling_to(new, old, size, name="ct")
    if found is None:
        reject()
    return found


def whole(grid):
    return tuple(slice(0, extent) for extent in grid.after)


def resampled(values, grid, role, window=None):
    """A window of the result, made of nothing but the voxels that it needs."""
    taps = grid.taps(window or whole(grid))
    part = values[tuple(along.span for along in taps)]
    taps = tuple(along.part(slice(None), along.span.start) for along in taps)
    return resample(part, taps, role)


def on_grid_of_itk(values, affine, grid, interpolator):
    """What SimpleITK gives for the voxels of a grid; beyond the border, the border's."""
    resampler = SimpleITK.ResampleImageFilter()
    set_grid(resampler, affine @ grid.matrix)
    resampler.SetSize(list(grid.after[::-1]))
    resampler.SetInterpolator(interpolator)
    resampler.SetUseNearestNeighborExtrapolator(True)
    if interpolator == SimpleITK.sitkLinear:
        resampler.SetOutputPixelType(SimpleITK.sitkFloat64)
    return of_itk(resampler.Execute(itk_of(values, affine)))[0]


@given(affines(), sizes, spacings)
def test_images_are_interpolated_as_by_nibabel(affine, size, spacing):
    values = values_of(size, "float64")
    grid = change(spacing, spacing_of(affine), size)
    target = nifti_of(np.zeros(grid.after, np.uint8), affine @ grid.matrix)
    image = resample_from_to(nifti_of(values, affine), target, order=1, mode="nearest")
    expected, of_expected = of_nifti(image)
    np.testing.assert_allclose(
        resampled(values[..., None], grid, "image")[..., 0], expected, atol=1e-9
    )
    np.testing.assert_allclose(of_expected, affine @ grid.matrix, atol=1e-9)


@given(affines(degrees=0), sizes, spacings)
def test_inside_the_border_images_are_interpolated_as_by_simpleitk(affine, size, spacing):
    values = values_of(size, "float64")
    grid = change(spacing, spacing_of(affine), size)
    expected = on_grid_of_itk(values, affine, grid, SimpleITK.sitkLinear)
    found = resampled(values[..., None], grid, "image")[..., 0]
    # Beyond the centres of the outer voxels, SimpleITK takes the nearest voxel as a whole.
    inside = np.ix_(
        *(
            (place > 1e-9) & (place < extent - 1 - 1e-9) | (step == 1)
            for place, extent, step in (
                ((np.arange(after) + 0.5) * step - 0.5, before, step)
                for after, before, step in zip(grid.after, grid.before, grid.steps, strict=True)
            )
        )
    )
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-8)


@given(affines(degrees=0), sizes, spacings, st.integers(0, 99))
def test_masks_take_the_nearest_voxel_as_by_simpleitk(affine, size, spacing, seed):
    values = values_of(size, "uint8", seed)
    grid = change(spacing, spacing_of(affine), size)
    for step, after in zip(grid.steps, grid.after, strict=True):
        place = (np.arange(after) + 0.5) * step
        assume((np.abs(place - np.rint(place)) > 1e-6).all() or step == 1)  # no ties
    expected = on_grid_of_itk(values, affine, grid, SimpleITK.sitkNearestNeighbor)
    np.testing.assert_array_equal(resampled(values, grid, "mask"), expected)


@given(sizes, spacings, spacings, st.sampled_from(DTYPES), st.integers(1, 3), st.data())
def test_a_window_has_the_bits_of_the_whole(size, new, old, dtype, channels, data):
    grid = change(new, old, size)
    values = values_of((*size, channels), dtype)
    window = tuple(
        slice(first, data.draw(st.integers(first + 1, extent)))
        for extent in grid.after
        for first in [data.draw(st.integers(0, extent - 1))]
    )
    for role in ("image", "mask"):
        everything = resampled(values, grid, role)
        part = resampled(values, grid, role, window)
        assert part.dtype == everything.dtype == values.dtype
        assert part.flags.c_contiguous
        assert part.tobytes() == everything[window].tobytes()


@given(sizes, spacings, spacings, st.sampled_from(DTYPES[:6]))
def test_integers_are_rounded_half_to_even(size, new, old, dtype):
    grid = change(new, old, size)
    values = values_of((*size, 1), dtype)
    exact = resampled(values.astype(np.float64), grid, "image")
    np.testing.assert_array_equal(resampled(values, grid, "image"), np.rint(exact))


@given(sizes, spacings, spacings)
def test_masks_get_no_new_ids(size, new, old):
    grid = change(new, old, size)
    values = np.random.default_rng(0).choice(np.array([0, 7, 200], np.uint8), (*size, 2))
    for role in ("mask", "target"):
        assert set(resampled(values, grid, role).ravel()) <= set(values.ravel())


@given(sizes, spacings, spacings)
def test_the_extent_is_kept_to_half_a_voxel(size, new, old):
    grid = change(new, old, size)
    for before, after, s_old, s_new in zip(size, grid.after, old, new, strict=True):
        if abs(s_new / s_old - 1) >= 1e-3:
            assert after == max(1, round(before * s_old / s_new))
        else:
            assert after == before
    # The outer border of the first voxel stays where it is.
    np.testing.assert_allclose(grid.matrix @ [-0.5, -0.5, -0.5, 1], [-0.5, -0.5, -0.5, 1])


@given(sizes, spacings, spacings, st.floats(-1e4, 1e4))
def test_even_values_stay_even(size, new, old, value):
    grid = change(new, old, size)
    assert (resampled(np.full((*size, 1), value), grid, "image") == value).all()


def test_a_worked_example():
    """Four voxels of 1 mm become two of 2 mm, and eight of 0.5 mm."""
    values = np.array([0, 10, 20, 41], np.int16).reshape(4, 1, 1, 1)
    coarse = change((2, 1, 1), (1, 1, 1), (4, 1, 1))
    assert resampled(values, coarse, "image").ravel().tolist() == [5, 30]  # 30.5 to even
    assert resampled(values, coarse, "mask").ravel().tolist() == [10, 41]
    fine = change((0.5, 1, 1), (1, 1, 1), (4, 1, 1))
    assert resampled(values, fine, "image").ravel().tolist() == [0, 2, 8, 12, 18, 25, 36, 41]
    assert resampled(values, fine, "mask").ravel().tolist() == [0, 0, 10, 10, 20, 20, 41, 41]


def test_large_planes_are_interpolated_block_by_block():
    values = values_of((2, 700, 900, 1), "int16")
    grid = change((1.0, 0.9, 1.1), (1.5, 1, 1), values.shape[:3])
    target = nifti_of(np.zeros(grid.after, np.uint8), grid.matrix)
    image = nifti_of(values[..., 0].astype(np.float64), np.eye(4))
    expected, _ = of_nifti(resample_from_to(image, target, order=1, mode="nearest"))
    found = resampled(values, grid, "image")[..., 0]
    assert (np.abs(found - expected) <= 0.5 + 1e-5).all()  # nibabel inverts matrices


def test_infinite_and_missing_values_do_not_spread_to_voxels_that_are_elsewhere():
    values = np.arange(5, dtype=np.float32).reshape(1, 1, 5, 1)
    values[..., 2, 0], values[..., 4, 0] = np.inf, np.nan
    grid = change((1, 1, 0.5), (1, 1, 1), (1, 1, 5))
    third = change((1, 1, 1 / 3), (1, 1, 1), (1, 1, 5))  # every third voxel is an old one
    assert np.isfinite(resampled(values, grid, "image").ravel()[:3]).all()
    np.testing.assert_array_equal(resampled(values, third, "image").ravel()[1::3], values.ravel())


@pytest.mark.parametrize("factor", [1.0, 1.0009, 0.9991])
def test_spacings_that_hardly_differ_are_the_same(factor):
    assert resampling_to((1.5 * factor, 1, 1), (1.5, 1, 1), (9, 9, 9), name="ct") is None


def test_only_the_axes_that_differ_are_resampled():
    grid = change((1.0005, 2, 1), (1, 1, 1), (9, 9, 9))
    assert (grid.after, grid.steps) == ((9, 4, 9), (1, 2, 1))


@pytest.mark.parametrize(("new", "old"), [(1e-9, 1e3), (1e-308, 1e300), (5e-324, 1)])
def test_spacings_that_claim_endless_volumes_are_refused(new, old):
    with pytest.raises(SourceError, match=r"ct: needed fewer than 2147483648 voxels .*--spacing"):
        resampling_to((new, 1, 1), (old, 1, 1), (10, 10, 10), name="ct")


def test_a_volume_never_vanishes():
    grid = change((1e100, 50, 1), (1e-100, 1, 1), (3, 4, 5))
    assert grid.after == (1, 1, 5)
    assert resampled(values_of((3, 4, 5, 1), "int16"), grid, "image").shape == (1, 1, 5, 1)
