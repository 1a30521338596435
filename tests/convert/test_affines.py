"""Affines are checked before they are used, and say what nibabel says."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from hypothesis import given

from volume_spaces import affines, nifti_of
from zarrfeed.errors import SourceError
from zarrfeed_convert.affines import (
    axis_codes,
    require_affine,
    require_orthogonal,
    rows_of,
    spacing_of,
)

EYE = np.eye(4).tolist()


@given(affines())
def test_spacings_are_nibabels_zooms(affine):
    zooms = nibabel.affines.voxel_sizes(nifti_of(np.zeros((1, 1, 1), np.uint8), affine).affine)
    np.testing.assert_allclose(spacing_of(affine), zooms[::-1], rtol=1e-12)


@given(affines(degrees=180))
def test_axis_codes_are_nibabels(affine):
    image = nifti_of(np.zeros((1, 1, 1), np.uint8), affine)
    assert axis_codes(affine) == "".join(nibabel.aff2axcodes(image.affine))


@pytest.mark.parametrize("shear", [0.0, 0.3, -0.3])
def test_axis_codes_of_sheared_axes_are_nibabels(shear):
    affine = np.array([[0, 0, -2, 1], [shear, 3, 0, 2], [4, 0, shear, 3], [0, 0, 0, 1]])
    image = nifti_of(np.zeros((1, 1, 1), np.uint8), affine)
    assert axis_codes(affine) == "".join(nibabel.aff2axcodes(image.affine))


def test_the_spacing_of_images_is_along_rows_and_columns():
    assert spacing_of([[0, 10, 500_000], [-20, 0, 4_000_000], [0, 0, 1]]) == (20, 10)


@given(affines())
def test_valid_affines_pass_and_survive_as_rows(affine):
    rows = rows_of(affine)
    np.testing.assert_array_equal(require_affine(rows, 3, name="a.nii"), affine)
    require_orthogonal(affine, name="a.nii")


@pytest.mark.parametrize(
    ("affine", "message"),
    [
        (EYE[:3], "needed an affine of 4 rows of 4 numbers"),
        ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], "needed an affine of 4 rows"),
        ([*EYE[:3], [0, 0, 1, 1]], "the last row"),
        ([["x"] * 4] * 4, "needed an affine of 4 rows"),
        ([[1, 2], [3]], "needed an affine of 4 rows"),
        (np.diag([1, 0, 1, 1]), "can be inverted"),
        (np.diag([1, np.nan, 1, 1]), "can be inverted"),
        (np.diag([1, np.inf, 1, 1]), "can be inverted"),
        (np.diag([1, 1e-320, 1, 1]), "can be inverted"),
        (np.diag([1, 1e300, 1, 1]), "can be inverted"),
        ([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "can be inverted"),
        ([[1, 1, 0, 0], [0, 1e-9, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "can be inverted"),
        ([[1, 0, 0, np.nan], *EYE[1:]], "can be inverted"),
    ],
)
def test_affines_that_say_no_place_are_refused(affine, message):
    with pytest.raises(SourceError, match=rf"a\.nii: .*{message}"):
        require_affine(affine, 3, name="a.nii")


def test_a_tilted_gantry_is_refused_with_its_angle():
    tilt = np.radians(12)
    affine = np.eye(4)[[2, 1, 0, 3]]
    affine[:3, 0] = 5 * np.array([0, np.sin(tilt), np.cos(tilt)])
    with pytest.raises(SourceError, match=r"ct: needed axes at right angles.* 78\.0 degrees"):
        require_orthogonal(affine, name="ct")


def test_axes_rounded_to_float32_are_at_right_angles():
    turn = np.radians(30)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    require_orthogonal(affine.astype(np.float32).astype(np.float64), name="ct")
