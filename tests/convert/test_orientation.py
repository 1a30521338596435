"""Turning a volume moves no voxel in the world, as in nibabel and SimpleITK."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st

from volume_spaces import (
    ORIENTATIONS,
    affines,
    itk_of,
    nifti_of,
    of_itk,
    of_nifti,
    sizes,
    values_of,
)
from zarrfeed.errors import SourceError
from zarrfeed_convert.affines import axis_codes
from zarrfeed_convert.orientation import CODES, require_codes, turn_to

codes = st.sampled_from(ORIENTATIONS)


def turned(values, affine, orientation):
    turn = turn_to(orientation, affine)
    if turn is None:
        return values, affine
    return turn.apply(values), affine @ turn.matrix(values.shape)


def test_there_are_48_orientations():
    assert sorted(CODES) == ORIENTATIONS
    assert len(ORIENTATIONS) == 48


@given(affines(), sizes, codes)
def test_turned_volumes_are_those_of_nibabel(affine, size, orientation):
    values = values_of(size, "int16")
    image = nifti_of(values, affine)
    change = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(image.affine), nibabel.orientations.axcodes2ornt(orientation)
    )
    expected, of_expected = of_nifti(image.as_reoriented(change))
    found, of_found = turned(values, affine, orientation)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(of_found, of_expected, atol=1e-9)
    assert axis_codes(of_found) == orientation


@given(affines(), sizes)
def test_ras_is_nibabels_closest_canonical(affine, size):
    values = values_of(size, "uint8")
    expected, _ = of_nifti(nibabel.as_closest_canonical(nifti_of(values, affine)))
    np.testing.assert_array_equal(turned(values, affine, "RAS")[0], expected)


@given(affines(), sizes, codes)
def test_turned_volumes_are_those_of_simpleitk(affine, size, orientation):
    values = values_of(size, "int16")
    expected, of_expected = of_itk(SimpleITK.DICOMOrient(itk_of(values, affine), orientation))
    found, of_found = turned(values, affine, orientation)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(of_found, of_expected, atol=1e-9)


@given(affines(), sizes, codes, st.data())
def test_each_voxel_stays_at_its_place_in_the_world(affine, size, orientation, data):
    place = tuple(data.draw(st.integers(0, extent - 1)) for extent in size)
    values = np.zeros(size, np.uint8)
    values[place] = 1
    found, of_found = turned(values, affine, orientation)
    now = np.argwhere(found)
    assert len(now) == 1
    np.testing.assert_allclose(of_found @ [*now[0], 1], affine @ [*place, 1], atol=1e-9)


@given(affines(), sizes, codes, st.data())
def test_a_window_is_that_of_the_whole(affine, size, orientation, data):
    values, turn = values_of(size, "int16"), turn_to(orientation, affine)
    if turn is None:
        return
    window = tuple(
        slice(*sorted(data.draw(st.tuples(*[st.integers(0, extent)] * 2))))
        for extent in turn.size(size)
    )
    part = turn.apply(values[turn.window(window, size)])
    np.testing.assert_array_equal(part, turn.apply(values)[window])


def test_a_worked_example():
    """A scan of sagittal slices from the left to the right, each from the top down."""
    affine = np.array([[3, 0, 0, -60], [0, 0, 1, -90], [0, -1, 0, 80], [0, 0, 0, 1.0]])
    assert axis_codes(affine) == "AIR"  # x of the array points to the anterior, y down, z right
    turn = turn_to("RAS", affine)
    assert turn is not None
    assert (turn.axes, turn.flipped) == ((1, 2, 0), (True, False, False))
    assert turn.size((40, 161, 181)) == (161, 181, 40)
    assert turn_to("AIR", affine) is None


@pytest.mark.parametrize("value", ["RAR", "RA", "", "RASX", "keep", 3, None, "RÄS"])
def test_what_is_no_orientation_is_refused(value):
    with pytest.raises(SourceError, match="orient: needed three letters"):
        require_codes(value)
