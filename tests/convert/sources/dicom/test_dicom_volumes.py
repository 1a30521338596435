"""Volumes of series are what SimpleITK reads, at the positions it gives, and no series is bent."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zarrfeed
from source_contract import require_source
from zarrfeed.errors import SourceError
from zarrfeed_convert import convert, verify
from zarrfeed_convert.formats import open_source
from zarrfeed_convert.source import IMAGES_ONLY

pydicom = pytest.importorskip("pydicom")
nib = pytest.importorskip("nibabel")
sitk = pytest.importorskip("SimpleITK")
DicomSeries = pytest.importorskip("zarrfeed_convert.sources.dicom.dicom").DicomSeries
slices = pytest.importorskip("zarrfeed_convert.sources.dicom.slices")
stacking = pytest.importorskip("zarrfeed_convert.sources.dicom.stacking")

from pydicom.data import get_testdata_file  # noqa: E402 (may be absent)
from pydicom.uid import generate_uid  # noqa: E402 (may be absent)

from dicom_writing import (  # noqa: E402
    ALONG_COLUMNS,
    ALONG_ROWS,
    COLUMNS,
    COUNT,
    NORMAL,
    ORIGIN,
    ROWS,
    SPACING,
    STEP,
    edit,
    labels,
    position,
    values,
    write_enhanced,
    write_nifti,
    write_series,
)

UPRIGHT = np.diag([-1.0, -1, 1, 1])  # between LPS and RAS


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def volumes(images="i", masks="", **options):
    return DicomSeries(images, masks, as_="volumes", **options)


def read_by_itk(folder):
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def require_same_points(source, image, sample=0, planes=2):
    """Require that voxels are where SimpleITK has them."""
    affine = np.array(source.probe(sample).affine)
    for index in np.ndindex(planes, 2, 2):
        z, y, x = index
        place = np.array(image.TransformContinuousIndexToPhysicalPoint((x + 0.5, 3.0 * y, 2.0 * z)))
        ours = affine @ [2 * z, 3 * y, x + 0.5, 1]
        np.testing.assert_allclose(ours[:3], UPRIGHT[:3, :3] @ place, atol=1e-4)


PLANES = {
    "oblique": (ALONG_COLUMNS, ALONG_ROWS),
    "axial": ([1, 0, 0], [0, 1, 0]),
    "sagittal": ([0, 1, 0], [0, 0, -1]),
    "coronal": ([1, 0, 0], [0, 0, -1]),
    "head first": ([-1, 0, 0], [0, 1, 0]),
}


def turn(paths, columns, rows, *, step=STEP, spacing=SPACING):
    normal = np.cross(columns, rows)
    for number, path in enumerate(paths):
        place = [round(float(x), 6) for x in ORIGIN + number * step * normal]
        directions = [round(float(x), 9) for x in (*columns, *rows)]
        edit(path, ImagePositionPatient=place, ImageOrientationPatient=directions,
             PixelSpacing=list(spacing))  # fmt: skip


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize(("step", "spacing"), [(STEP, SPACING), (0.4, (3, 0.25))])
def test_a_volume_is_what_simpleitk_reads_where_it_has_it(plane, step, spacing):
    turn(write_series("i", values()), *PLANES[plane], step=step, spacing=spacing)
    source = volumes()
    assert source.fields == IMAGES_ONLY
    assert source.keys == ["i"]
    image = read_by_itk("i")
    np.testing.assert_array_equal(source.read(0)[0][..., 0], sitk.GetArrayFromImage(image))
    np.testing.assert_array_equal(source.read(0)[0][..., 0], values())
    require_same_points(source, image)
    spacing_of = np.linalg.norm(np.array(source.probe(0).affine)[:3, :3], axis=0)
    np.testing.assert_allclose(spacing_of, image.GetSpacing()[::-1], rtol=1e-5)
    require_source(source, [values()[..., None]])


@pytest.mark.parametrize(("slope", "intercept"), [(1, -1024), (2, 7), (0.5, -3.25)])
@pytest.mark.parametrize("dtype", ["uint16", "int16"])
def test_units_are_those_of_simpleitk(slope, intercept, dtype):
    write_series("i", values(dtype=dtype), slope=slope, intercept=intercept)
    source = volumes()
    found = source.read(0)[0][..., 0]
    np.testing.assert_array_equal(found, sitk.GetArrayFromImage(read_by_itk("i")))
    assert found.dtype.kind == "f" if slope == 0.5 else "i"


def test_slices_are_the_volume_and_nothing_else_changes():
    write_series("i/a", values())
    write_nifti("m/a.nii", labels())
    single, whole = DicomSeries("i", "m"), volumes("i", "m")
    for number in range(COUNT):
        for one, all_of in zip(single.read(number), whole.read(0), strict=True):
            np.testing.assert_array_equal(one, all_of[number])
        assert single.probe(number).affine is None
    assert not single.reads_windows(0)
    assert single.describe().keys() == whole.describe().keys() - {"as_"}
    assert open_source("dicom", {"images": "i", "masks": "m", "as_": "volumes"}).keys == ["a"]
    with pytest.raises(SourceError, match=r"^--as: needed slices or volumes, found 'volume'"):
        DicomSeries("i", "m", as_="volume")


@pytest.mark.parametrize("axcodes", [None, "RAS", "SAR", "PIL"])
def test_nifti_labels_lie_on_the_voxels_however_they_are_stored(axcodes):
    for name, seed in (("b", 1), ("a", 2)):
        write_series(f"i/{name}", values(seed=seed))
        write_nifti(f"m/{name}.nii.gz", labels(seed=seed), axcodes)
    source = volumes("i", "m")
    images = [values(seed=seed)[..., None] for seed in (2, 1)]
    require_source(source, images, [labels(seed=seed) for seed in (2, 1)])
    assert source.names(1) == ("i/b", "m/b.nii.gz")
    with nib.openers.ImageOpener("m/a.nii.gz"):
        stored = nib.load("m/a.nii.gz")
    for index in np.ndindex(COUNT, 2, 2):  # the affine agrees with that of the labels
        world = np.array(source.probe(0).affine) @ [*index, 1]
        i, j, k = np.rint(np.linalg.inv(stored.affine) @ world).astype(int)[:3]
        assert np.asarray(stored.dataobj)[i, j, k] == labels(seed=2)[index]


def test_frames_of_an_enhanced_file_are_a_volume():
    write_enhanced("i/ct.dcm", values())
    source = volumes("i/ct.dcm")
    require_source(source, [(values() * 2.0 - 7)[..., None]])
    write_series("other", values())
    np.testing.assert_allclose(source.probe(0).affine, volumes("other").probe(0).affine, atol=1e-6)


def test_colours_are_channels():
    colors = np.random.default_rng(0).integers(0, 256, (COUNT, ROWS, COLUMNS, 3), "uint8")
    for path, image in zip(write_series("i", values(dtype="uint8")), colors, strict=True):
        edit(path, SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0,
             PixelData=image.tobytes())  # fmt: skip
    require_source(volumes(), [colors])
    assert volumes(color="grey").read(0)[0].shape == (COUNT, ROWS, COLUMNS, 1)


def test_a_window_decodes_its_slices_alone(monkeypatch):
    write_series("i", values())
    write_nifti("m.nii", labels())
    source = volumes("i", "m.nii")
    decoded, read_slice = [], type(source._values.frames).read_slice

    def counted(self, one, **options):
        decoded.append(one.name)
        return read_slice(self, one, **options)

    monkeypatch.setattr(type(source._values.frames), "read_slice", counted)
    assert source.reads_windows(0)
    image, mask = source.read_window(0, (slice(1, 3), slice(2, 7), slice(0, 4)))
    np.testing.assert_array_equal(image[..., 0], values()[1:3, 2:7, :4])
    np.testing.assert_array_equal(mask, labels()[1:3, 2:7, :4])
    assert len(decoded) == 2


@given(st.data())
def test_law_a_window_is_a_part_of_the_whole(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("law")
    write_series(folder / "i", values())
    source = volumes(str(folder / "i"))
    ends = [sorted(data.draw(st.sets(st.integers(0, size), min_size=2, max_size=2)))
            for size in source.probe(0).size]  # fmt: skip
    window = tuple(slice(*end) for end in ends)
    (part,) = source.read_window(0, window)
    np.testing.assert_array_equal(part[..., 0], values()[window])


IRREGULAR = {}


def irregular(change):
    IRREGULAR[change.__name__] = change
    return change


@irregular
def tilted(paths):
    for number, path in enumerate(paths):
        place = ORIGIN + number * (STEP * NORMAL + 0.5 * ALONG_ROWS)
        edit(path, ImagePositionPatient=[round(float(x), 6) for x in place])
    return r"2 mm beside the normal through .*, a gantry tilt of 11\.3°; correct the tilt", COUNT


@irregular
def bent(paths):
    place = ORIGIN + 2 * STEP * NORMAL + 0.2 * ALONG_ROWS
    edit(paths[2], ImagePositionPatient=[round(float(x), 6) for x in place])
    return r"0\.2 mm beside the normal through .*, not on one line; resample", COUNT


@irregular
def missing(paths):
    paths[2].unlink()
    at = re_of(position(2))
    return rf"5 mm between {paths[1]} and {paths[3]}; missing at {at}; restore", 4


@irregular
def uneven(paths):
    place = ORIGIN + (4 * STEP + 0.8) * NORMAL
    edit(paths[4], ImagePositionPatient=[round(float(x), 6) for x in place])
    return rf"3\.3 mm between {paths[3]} and {paths[4]}; restore", COUNT


@irregular
def doubled(paths):
    data = pydicom.dcmread(paths[1])
    data.SOPInstanceUID = generate_uid()
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.InstanceNumber = 90
    data.PixelData = bytes(len(data.PixelData))
    data.save_as("i/bad/again.dcm")
    return (
        rf"found {paths[1]} and i/bad/again\.dcm at {re_of(position(1))} \(1 of 6 slices\); take",
        COUNT,
    )


@irregular
def turned(paths):
    edit(paths[3], ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    return rf"one ImageOrientationPatient, found .* in .*, but 1\\0\\0\\0\\1\\0 in {paths[3]}", 4


@irregular
def coarser(paths):
    edit(paths[0], PixelSpacing=[0.8, 0.9])
    return rf"slices of one PixelSpacing, found .*0\.7\\0\.9 in .*, but 0\.8\\0\.9 in {paths[0]}", 4


@irregular
def larger(paths):
    pixels = values(1, rows=ROWS + 1)[0]
    edit(paths[0], Rows=ROWS + 1, PixelData=pixels.tobytes())
    return rf"slices of one size, found 8x6 in .*, but 9x6 in {paths[0]}; split", 4


@irregular
def colored(paths):
    edit(paths[0], SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0,
         BitsAllocated=8, BitsStored=8, HighBit=7, PixelRepresentation=0,
         PixelData=bytes(ROWS * COLUMNS * 3))  # fmt: skip
    return rf"one number of channels, found 1 in .*, but 3 in {paths[0]}; split", 4


@irregular
def unsigned(paths):
    edit(paths[3], PixelRepresentation=0)
    return r"numbers of one kind in every slice, found int16 in .* but uint16 in .*; convert", COUNT


@irregular
def unknown(paths):
    edit(paths[2], ImagePositionPatient=None)
    return rf"not all of them in 1 of 5, such as {paths[2]}; restore", 4


@irregular
def absurd(paths):
    edit(paths[2], PixelSpacing=[0, 0])
    return rf"not all of them in 1 of 5, such as {paths[2]}; restore", 4


@irregular
def scouted(paths):
    edit(paths[4], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], PixelSpacing=[3, 3])
    return rf"1 of 5 images to be localizers \(scouts\), such as {paths[4]}; take them out", 4


def re_of(place):
    return r"\\".join(f"{x:.6g}".replace(".", r"\.") for x in place)


@pytest.mark.parametrize("what", IRREGULAR)
def test_an_irregular_series_is_left_out_with_the_reason_or_becomes_the_nearest_volume(what):
    paths = write_series("i/bad", values())
    why, depth = IRREGULAR[what](shift(paths))
    with pytest.raises(SourceError, match=rf"^i/bad: needed .*{why}.*; with --geometry warn, "):
        volumes()
    write_series("i/good", values())
    strict = volumes()
    assert strict.keys == ["good"]
    ((place, reason),) = strict.left_out
    assert place == "i/bad"
    source = volumes(geometry="warn")
    assert source.keys == ["bad", "good"]
    assert source.left_out == ()
    header = source.probe(0)
    assert header.size[0] == depth
    # Where a slice in the middle is left out, it is missing, too.
    remark, *others = (one for one in source.remarks if "i/bad" in one[2])
    assert [one[1] for one in others] == ["missing slices in 1 series"][
        : what in ("turned", "unknown", "absurd")
    ]
    assert reason.split("found ")[1].split(";")[0] in remark[2]
    image = source.read(0)[0]
    assert image.shape == header.image.shape
    if what in ("doubled", "tilted", "bent", "uneven"):
        np.testing.assert_array_equal(image[..., 0], values())
    assert DicomSeries("i").left_out == ()


def shift(paths):
    """Number slices by position, so that the first is the lowest."""
    for number, path in enumerate(paths, 1):
        edit(path, InstanceNumber=number)
    return paths


@pytest.mark.parametrize("said", [{"SpacingBetweenSlices": 3.25}, {"SliceThickness": 3.25}, {}])
def test_a_single_slice_is_a_volume_whose_depth_the_file_says_or_nothing(said):
    (path,) = write_series("i", values(1))
    edit(path, SliceThickness=None)
    edit(path, **said)
    source = volumes()
    require_source(source, [values(1)[..., None]])
    affine = source.probe(0).affine
    if not said:
        assert affine is None
        return
    _, _, thickness = np.linalg.norm(np.array(affine)[:3, :3], axis=0)[::-1]
    assert thickness == pytest.approx(3.25)
    # SimpleITK takes 1 mm where SpacingBetweenSlices is not said.
    planes = 2 if "SpacingBetweenSlices" in said else 1
    require_same_points(source, sitk.ReadImage(str(path)), planes=planes)


def test_thickness_is_not_the_distance_of_slices():
    for path in write_series("i", values()):
        edit(path, SliceThickness=5.0, SpacingBetweenSlices=-1.0)
    np.testing.assert_allclose(np.linalg.norm(np.array(volumes().probe(0).affine)[:3, 0]), STEP)


def test_a_tilted_series_has_a_sheared_affine():
    tilted(shift(write_series("i", values())))
    affine = np.array(volumes(geometry="warn").probe(0).affine)
    for number in range(COUNT):
        place = ORIGIN + number * (STEP * NORMAL + 0.5 * ALONG_ROWS)
        np.testing.assert_allclose(affine @ [number, 0, 0, 1], UPRIGHT @ [*place, 1], atol=1e-5)


def test_slices_of_unknown_position_are_stacked_by_number_if_they_may():
    paths = shift(write_series("i", values()))
    for path in paths:
        edit(path, ImageOrientationPatient=None)
    with pytest.raises(
        SourceError, match=r"needed ImagePositionPatient.*not all of them in 5 of 5"
    ):
        volumes()
    source = volumes(geometry="warn")
    assert source.probe(0).affine is None
    np.testing.assert_array_equal(source.read(0)[0][..., 0], values())


def test_localizers_alone_are_left_out():
    for path in write_series("i", values()):
        edit(path, ImageType=["DERIVED", "SECONDARY", "LOCALIZER"])
    with pytest.raises(SourceError, match=r"5 of 5 images to be localizers"):
        volumes()
    np.testing.assert_array_equal(volumes(geometry="warn").read(0)[0][..., 0], values())


def test_all_missing_positions_are_counted_and_the_first_ones_named():
    paths = write_series("i", values(12))
    for number in (3, 6, 7, 9):
        paths[number].unlink()
    expected = ", ".join(re_of(position(number)) for number in (3, 6, 7))
    with pytest.raises(SourceError, match=rf"; missing at {expected} and 1 more; restore missing"):
        volumes()


@pytest.mark.parametrize("jitter", [0.05, 0.15])
def test_positions_may_be_rounded_by_a_tenth_of_their_distance(jitter):
    for number, path in enumerate(write_series("i", values())):
        place = ORIGIN + (number + (number == 2) * jitter) * STEP * NORMAL
        edit(path, ImagePositionPatient=[round(float(x), 6) for x in place])
    if jitter < 0.1:
        assert volumes().left_out == ()
    else:
        with pytest.raises(SourceError, match=r"slices at even distances, 2\.5 mm within a tenth"):
            volumes()


@given(st.integers(3, 40), st.data())
def test_law_any_slices_missing_inside_are_found(count, data):
    lost = data.draw(
        st.sets(st.integers(1, count - 2), min_size=1, max_size=max(1, (count - 2) // 2))
    )
    kept = [number for number in range(count) if number not in lost]
    even = len({second - first for first, second in pairwise(kept)}) <= 1
    found = [slice_at(ORIGIN + number * STEP * NORMAL, number) for number in kept]
    stacker = stacking.Stacker(strict=True)
    series = slices.Series("1", "a", "a", tuple(data.draw(st.permutations(found))))
    if even:
        assert [one.number for one in stacker.stack(series).slices] == kept
    else:
        with pytest.raises(SourceError, match="needed slices at even distances"):
            stacker.stack(series)


def slice_at(place, number):
    plane = slices.plane_of(place, [*ALONG_COLUMNS, *ALONG_ROWS], SPACING)
    return slices.Slice(f"{number}.dcm", 0, 1, (ROWS, COLUMNS), 1, "int16", None, None, False,
                        "MONOCHROME2", 16, False, "1", str(number), number, plane)  # fmt: skip


def test_hostile_positions_are_unknown():
    for position_of in ([np.nan, 0, 0], [1e300, 0, 0], [0, np.inf, 0]):
        stacker = stacking.Stacker(strict=False)
        found = (slice_at(np.array(position_of), 0), slice_at(ORIGIN, 1))
        series = stacker.stack(slices.Series("1", "a", "a", found))
        assert [one.number for one in series.slices] == [1]


REAL = ["CT_small.dcm", "MR_small.dcm", "693_J2KI.dcm", "examples_overlay.dcm"]


@pytest.mark.parametrize("name", REAL)
def test_real_files_are_what_simpleitk_reads(name):
    path = get_testdata_file(name)
    if path is None:
        pytest.skip(f"pydicom has no {name} here")
    source, image = volumes(str(path), "none"), sitk.ReadImage(str(path))
    np.testing.assert_array_equal(source.read(0)[0][..., 0], sitk.GetArrayFromImage(image))
    require_same_points(source, image, planes=1)
    depth, *within = np.linalg.norm(np.array(source.probe(0).affine)[:3, :3], axis=0)
    np.testing.assert_allclose(within, image.GetSpacing()[1::-1], rtol=1e-6)
    header = pydicom.dcmread(path, stop_before_pixels=True)
    said = header.get("SpacingBetweenSlices") or header.SliceThickness
    np.testing.assert_allclose(depth, float(said))


def test_real_series_are_what_simpleitk_reads_and_irregular_ones_are_told():
    folder = Path(pydicom.data.__file__).parent / "test_files/dicomdirtests"
    if not folder.is_dir():
        pytest.skip("pydicom has no series here")
    source = volumes(str(folder), "none")
    head = source.keys.index("98892001/CT5N")
    image = read_by_itk(folder / "98892001/CT5N")
    np.testing.assert_array_equal(source.read(head)[0][..., 0], sitk.GetArrayFromImage(image))
    require_same_points(source, image, head)
    reasons = {Path(path).relative_to(folder).as_posix(): why for path, why in source.left_out}
    assert "missing at -125" in reasons["77654033/CT2"]
    assert "localizers (scouts)" in reasons["98892001/CT2N"]
    assert "one ImageOrientationPatient" in reasons["98892003/MR700"]
    assert "ImagePositionPatient" in reasons["77654033/CR1/6154"]


def test_cases_in_a_store_are_what_simpleitk_reads(tmp_path):
    sizes = {"a": (7, 20, 11), "b": (3, 5, 30)}
    for seed, (name, (count, rows, columns)) in enumerate(sizes.items()):
        pixels = values(count, seed=seed, rows=rows, columns=columns)
        write_series(f"i/{name}", pixels, slope=1, intercept=-7)
        write_nifti(f"m/{name}.nii.gz", labels(count, seed=seed, rows=rows, columns=columns), "RAS")
    out = tmp_path / "o.zarr"
    convert(volumes("i", "m"), out, split="train", tile=(4, 8, 8), workers=1, shard_size=4096)
    for seed, (name, (count, rows, columns)) in enumerate(sizes.items()):
        image = read_by_itk(f"i/{name}")
        case = zarrfeed.open_case(out / "train", name)
        np.testing.assert_array_equal(case[:][..., 0], sitk.GetArrayFromImage(image))
        masks = labels(count, seed=seed, rows=rows, columns=columns)
        np.testing.assert_array_equal(zarrfeed.open_case(out / "train", name, "mask")[:], masks)
        np.testing.assert_allclose(case.spacing, image.GetSpacing()[::-1], rtol=1e-5)
        place = np.array(case.affine) @ [1, 2, 3, 1]
        itk = [*image.TransformContinuousIndexToPhysicalPoint((3.0, 2.0, 1.0)), 1]
        np.testing.assert_allclose(place, UPRIGHT @ itk, atol=1e-4)
    assert verify(out, source=volumes("i", "m"), workers=1).ok


def test_the_report_says_what_was_irregular(tmp_path):
    missing(write_series("i/bad", values()))
    report = convert(volumes(geometry="warn"), tmp_path / "o.zarr", split="s", tile=(4, 8, 8),
                     workers=1)  # fmt: skip
    assert "geometry: missing slices in 1 series: such as i/bad: found 5 mm between" in str(report)
