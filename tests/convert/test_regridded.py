"""A regridded source is a source of the volumes that it presents."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from volume_spaces import ORIENTATIONS, Scans, affines, sizes, spacings, values_of
from zarrfeed.errors import SourceError
from zarrfeed_convert import Header, Limits
from zarrfeed_convert.affines import axis_codes, spacing_of
from zarrfeed_convert.planning.spacing import regridded
from zarrfeed_convert.regridded import RegriddedSource
from zarrfeed_convert.source import Field

OBLIQUE = np.array(  # stored as (y, z, x): coronal planes from the front to the back
    [[0, 0, -0.8, 90], [-2, 0, 0, 70], [0, -0.5, 0, 30], [0, 0, 0, 1]]
)


def scan_of(size=(4, 6, 5), affine=OBLIQUE, *, dtype="int16", windows=False):
    image = values_of((*size, 2), dtype)
    return Scans([image], [affine], [values_of(size, "uint8", 1)], windows=windows)


def made(source):
    """Return the header of a sample that is not refused for having a single voxel along an axis."""
    try:
        return source.probe(0)
    except SourceError as error:
        assume("needed at least 2 voxels" not in str(error))
        raise


orients = st.none() | st.sampled_from(ORIENTATIONS)


@given(affines(), sizes, orients, st.none() | spacings)
def test_what_is_read_is_what_the_header_says(affine, size, orient, spacing):
    source = RegriddedSource(scan_of(size, affine), orient=orient, spacing=spacing)
    header = made(source)
    image, mask = source.read(0)
    assert header == Header.of_pair(image.shape, "int16", mask.shape)
    assert (image.dtype, mask.dtype) == (np.int16, np.uint8)
    assert image.flags.c_contiguous
    np.testing.assert_array_equal(source.read_mask(0), mask)
    found = np.array(header.affine)
    if orient:
        assert axis_codes(found) == orient
    if spacing:
        np.testing.assert_allclose(spacing_of(found), spacing, rtol=1e-3)


@given(affines(), sizes, orients, st.none() | spacings, st.data())
def test_a_window_is_that_of_the_whole_and_asks_for_no_more(affine, size, orient, spacing, data):
    scan = scan_of(size, affine, windows=True)
    source = RegriddedSource(scan, orient=orient, spacing=spacing)
    assert source.reads_windows(0)
    extents = made(source).size
    window = tuple(
        slice(first, data.draw(st.integers(first + 1, extent)))
        for extent in extents
        for first in [data.draw(st.integers(0, extent - 1))]
    )
    for part, whole in zip(source.read_window(0, window), source.read(0), strict=True):
        assert part.tobytes() == whole[window].tobytes()
    (asked,) = scan.asked
    for along, before in zip(asked, size, strict=True):
        assert 0 <= along.start < along.stop <= before
    if spacing is None:
        lengths = [sorted(s.stop - s.start for s in part) for part in (asked, window)]
        assert lengths[0] == lengths[1]


@given(affines(), sizes, st.sampled_from(ORIENTATIONS), spacings)
def test_the_world_stays_where_it_is(affine, size, orient, spacing):
    """An image that holds each voxel's place in the world still does, to within the border."""
    index = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), axis=-1)
    world = index @ affine[:3, :3].T + affine[:3, 3]
    source = RegriddedSource(Scans([world], [affine]), orient=orient, spacing=spacing)
    header = made(source)
    places = source.read(0)[0]
    index = np.stack(np.meshgrid(*map(np.arange, header.size), indexing="ij"), axis=-1)
    matrix = np.array(header.affine)
    expected = index @ matrix[:3, :3].T + matrix[:3, 3]
    # Voxels beyond the centres of the outer ones take the value of the border.
    back = np.linalg.inv(affine)
    before = expected @ back[:3, :3].T + back[:3, 3]
    inside = ((before >= -1e-9) & (before <= np.array(size) - 1 + 1e-9)).all(axis=-1)
    np.testing.assert_allclose(places[inside], expected[inside], atol=1e-7)


def test_nothing_is_changed_where_nothing_is_to_do():
    scan = scan_of()
    orient, spacing = axis_codes(OBLIQUE), spacing_of(OBLIQUE)
    source = RegriddedSource(scan, orient=orient, spacing=spacing)
    np.testing.assert_array_equal(source.read(0)[0], scan.images[0])
    np.testing.assert_array_equal(source.probe(0).affine, OBLIQUE)
    assert regridded(scan, orient=None, spacing=None) == (scan, None)


def test_fields_are_resampled_by_their_roles():
    """Further images are interpolated; multi-hot masks, weights and depths are not."""

    class Many(Scans):
        fields = (
            Field("image", "image"),
            Field("mask", "mask"),
            Field("t1", "image"),
            Field("weight", "target"),
        )

        def probe(self, sample):
            arrays = {
                "image": ((1, 1, 4, 1), "int16"),
                "mask": ((1, 1, 4, 2), None),
                "t1": ((1, 1, 4, 1), "float32"),
                "weight": ((1, 1, 4), "float32"),
            }
            return Header(arrays, affine=tuple(map(tuple, np.eye(4).tolist())))

        def read(self, sample):
            line = np.array([0, 10, 20, 40]).reshape(1, 1, 4)
            return (
                line[..., None].astype(np.int16),
                np.stack([line > 5, line > 15], axis=-1).astype(np.uint8),
                line[..., None].astype(np.float32),
                line.astype(np.float32),
            )

        def names(self, sample):
            return ("a", "b", "c", "d")

    source = RegriddedSource(Many([None], [None], [None]), spacing=(1, 1, 2))
    image, mask, t1, weight = source.read(0)
    assert image.ravel().tolist() == t1.ravel().tolist() == [5, 30]
    assert mask.tolist() == [[[[1, 0], [1, 1]]]]
    assert weight.tolist() == [[[10, 40]]]
    assert [shape for shape, _ in source.probe(0).arrays.values()] == [
        (1, 1, 2, 1), (1, 1, 2, 2), (1, 1, 2, 1), (1, 1, 2),
    ]  # fmt: skip


def test_all_else_is_that_of_the_other_source():
    scan = scan_of()
    scan.classes, scan.ignore = ("a", "b"), 255
    scan.left_out, scan.remarks = [("x", "why")], [("what", "value", "reason")]
    source = RegriddedSource(scan, orient="RAS")
    for what in ("keys", "classes", "ignore", "left_out", "remarks", "fields", "memory_nbytes"):
        assert getattr(source, what) == getattr(scan, what)
    assert source.describe() == scan.describe()
    assert source.names(0) == scan.names(0)
    assert not source.reads_windows(0)


def test_it_travels():
    source = RegriddedSource(scan_of(), orient="RAS", spacing=(1, 1, 1))
    source.read(0)
    again = pickle.loads(pickle.dumps(source))
    for ours, theirs in zip(source.read(0), again.read(0), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_headers_keep_what_else_they_say():
    class Palettes(Scans):
        def probe(self, sample):
            header = super().probe(sample)
            return Header(header.arrays, mask_colors=(1, 2), nodata=(-1.0,), affine=header.affine)

    scan = scan_of()
    source = RegriddedSource(Palettes(scan.images, scan.affines, scan.masks), spacing=(1, 1, 1))
    assert source.probe(0).mask_colors == (1, 2)
    assert source.probe(0).nodata == (-1.0,)


# -- What cannot be done ---------------------------------------------------------------------------


def refused(scan, message, limits=None, **asked):
    source = RegriddedSource(scan, limits=limits, **(asked or {"orient": "RAS"}))
    for use in (source.probe, source.read, source.read_mask):
        with pytest.raises(SourceError, match=rf"scan0\.nii: {message}"):
            use(0)


def test_volumes_that_do_not_say_where_they_are_are_refused():
    refused(scan_of(affine=None), "needed an affine, .* found none; use a format that has it")


def test_images_are_refused():
    class Images(Scans):
        def probe(self, sample):
            return Header.of_pair((4, 5, 3), "uint8", (4, 5), affine=((1, 0, 0),) * 3)

    refused(Images([None], [None], [None]), r"needed a volume .*, found an image .*--as volumes")


def test_affines_that_cannot_be_used_are_refused():
    refused(scan_of(affine=np.diag([1, 0, 1, 1])), "needed an affine that can be inverted")
    sheared = np.eye(4)
    sheared[0, 1] = 0.2
    refused(scan_of(affine=sheared), "needed axes at right angles", spacing=(1, 1, 1))


def test_a_result_beyond_the_limit_is_refused_before_it_is_made():
    """A small file whose header claims a huge spacing."""
    limits, spacing = Limits(sample_nbytes=1 << 20), (1, 1, 1)
    huge = np.diag([100, 100, 100, 1.0])
    refused(scan_of((5, 5, 5), huge), "needed a resampled volume of at most 1 MiB", limits,
            spacing=spacing)  # fmt: skip
    refused(scan_of((5, 5, 5), huge, windows=True), "needed a resampled volume of at most", limits,
            spacing=spacing)  # fmt: skip
    refused(scan_of((5, 5, 5), np.diag([1e12, 1, 1, 1])), "needed fewer than 2147483648 voxels",
            spacing=spacing)  # fmt: skip
    # Of volumes that are read in windows, not all of the result is in memory.
    large = scan_of((50, 50, 50), np.diag([3.0, 3, 3, 1]), windows=True)
    assert RegriddedSource(large, spacing=spacing, limits=limits).probe(0).size == (150, 150, 150)


@pytest.mark.parametrize("height", [2, 40])
def test_volumes_that_would_shrink_to_a_voxel_are_refused_with_the_unit(height):
    """As of stacks whose files say micrometres."""
    affine = np.diag([1, 0.0005, 1, 1])
    said = (
        rf"needed at least 2 voxels along H after resampling, found {height} voxels of 0\.0005 mm, "
        rf"as the file says, {height * 0.0005:.3g} mm together, which are 1 of 1 mm; .*in "
        r"millimetres.*choose a smaller --spacing, or correct the unit in the file"
    )
    refused(scan_of((5, height, 30), affine), said, spacing=(1, 1, 1))


def test_an_axis_of_one_voxel_stays_one():
    source = RegriddedSource(scan_of((1, 8, 30), np.diag([5e-4, 1, 0.5, 1])), spacing=(1, 1, 1))
    assert source.probe(0).size == source.read(0)[1].shape == (1, 8, 15)


def test_arrays_that_are_not_what_the_header_says_are_refused():
    class Claims(Scans):
        def probe(self, sample):
            return scan_of((4, 6, 5)).probe(0)

    scan = scan_of((4, 5, 5))
    source = RegriddedSource(Claims(scan.images, scan.affines, scan.masks), spacing=(1, 1, 1))
    with pytest.raises(SourceError, match=r"scan0\.nii: needed 4x6x5 voxels, as its header says"):
        source.read(0)
    with pytest.raises(SourceError, match=r"labels0\.nii: needed 4x6x5 voxels"):
        source.read_mask(0)


@pytest.mark.parametrize(
    "spacing",
    [(1, 1), (1, 1, 0), (1, -1, 1), (1, np.nan, 1), "1,1,1", 1.5, (True, 1, 1), (1, "2", 3)],
)
def test_what_is_no_spacing_is_refused(spacing):
    with pytest.raises(SourceError, match="spacing: needed three positive numbers"):
        RegriddedSource(scan_of(), spacing=spacing)


# -- What is decided for all volumes ---------------------------------------------------------------


def test_the_median_is_that_of_the_turned_volumes():
    """Two axial volumes and a sagittal one, whose slices are 5 mm apart."""
    axial = np.diag([1, 1, 1, 1.0])[[2, 1, 0, 3]]
    affines = [axial @ np.diag([s, 0.5, w, 1]) for s, w in ((5, 0.7), (4, 0.9))]
    affines.append(np.diag([5.0, 1, 1, 1]))  # D points to the right
    scans = Scans([values_of((3, 3, 3, 1), "int16")] * 3, affines)
    source, spacing = regridded(scans, orient="RAS", spacing="median")
    assert spacing == (4, 0.5, 0.9)
    decisions = {what: (value, reason) for what, value, reason in source.remarks}
    assert decisions["orient"][0] == "RAS"
    assert "1 of 3 volumes turn" in decisions["orient"][1]
    assert decisions["spacing"][0] == "4, 0.5, 0.9 mm"
    assert "the median of all volumes" in decisions["spacing"][1]
    assert "2 of 3 volumes are resampled" in decisions["spacing"][1]


def test_volumes_that_cannot_be_used_do_not_count():
    broken = [None, np.zeros((4, 4)), np.eye(4) * np.nan]
    scans = Scans([values_of((3, 3, 3, 1), "int16")] * 4, [np.diag([2, 3, 4, 1]), *broken])
    source, spacing = regridded(scans, orient=None, spacing="median")
    assert spacing == (2, 3, 4)
    with pytest.raises(SourceError, match="scan2"):
        source.probe(2)


def test_the_median_of_no_volumes_says_why():
    scans = Scans([values_of((3, 3, 3, 1), "int16")] * 2, [None, None])
    with pytest.raises(SourceError, match=r"scan0\.nii: needed an affine"):
        regridded(scans, orient=None, spacing="median")


def test_memory_is_that_of_the_volume_before():
    scans = scan_of((8, 8, 8), np.diag([1.0, 1, 1, 1]))
    image, mask = scans.read(0)
    nbytes = image.nbytes + 2 * mask.size  # it may get ids of 16 bits
    coarse, _ = regridded(scans, orient=None, spacing=(2, 2, 2))
    assert coarse.memory_nbytes == 4 * (nbytes - nbytes // 8)
    fine, _ = regridded(scans, orient=None, spacing=(0.5, 0.5, 0.5))
    assert fine.memory_nbytes == 0
