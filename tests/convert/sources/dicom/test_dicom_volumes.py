"""Volumes of series are what SimpleITK reads, at the positions it gives, and no series is bent."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from source_contract import require_source
from zarrfeed.errors import SourceError
from zarrfeed_convert.formats import open_source
from zarrfeed_convert.source import IMAGES_ONLY

pydicom = pytest.importorskip("pydicom")
nib = pytest.importorskip("nibabel")
sitk = pytest.importorskip("SimpleITK")
DicomSeries = pytest.importorskip("zarrfeed_convert.sources.dicom.dicom").DicomSeries

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


def require_same_points(source, image):
    """Require that voxels are where SimpleITK has them."""
    affine = np.array(source.probe(0).affine)
    for index in np.ndindex(*(2,) * 3):
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
    slices, whole = DicomSeries("i", "m"), volumes("i", "m")
    for number in range(COUNT):
        for one, all_of in zip(slices.read(number), whole.read(0), strict=True):
            np.testing.assert_array_equal(one, all_of[number])
        assert slices.probe(number).affine is None
    assert not slices.reads_windows(0)
    assert slices.describe().keys() == whole.describe().keys() - {"as_"}
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
    assert [one[0] for one in others] == ["missing slices"][
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
