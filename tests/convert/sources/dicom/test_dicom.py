"""Slices of series are what pydicom decodes, in the patient's order, and labels lie on them."""

from __future__ import annotations

import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrfeed.errors import SourceError
from zarrfeed_convert import convert
from zarrfeed_convert.formats import open_source, source_of

pydicom = pytest.importorskip("pydicom")
nib = pytest.importorskip("nibabel")
DicomSeries = pytest.importorskip("zarrfeed_convert.sources.dicom.dicom").DicomSeries
slices = pytest.importorskip("zarrfeed_convert.sources.dicom.slices")

from pydicom import Dataset, dcmread  # noqa: E402 (may be absent)
from pydicom.pixels import apply_modality_lut  # noqa: E402
from pydicom.uid import (  # noqa: E402
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    RLELossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from dicom_writing import (  # noqa: E402
    COLUMNS,
    COUNT,
    NORMAL,
    ORIGIN,
    ROWS,
    SPACING,
    STEP,
    affine_of_series,
    labels,
    new_dataset,
    orientation,
    position,
    set_pixels,
    values,
    write_enhanced,
    write_nifti,
    write_series,
)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def all_of(source):
    pairs = [source.read(sample) for sample in range(len(source.keys))]
    return np.stack([image for image, _ in pairs]), np.stack([mask for _, mask in pairs])


@pytest.mark.parametrize("axcodes", [None, "RAS", "LPS", "SAR", "PIL", "ILA"])
@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
def test_nifti_labels_lie_on_the_slices_whatever_way_they_are_stored(axcodes, extension):
    pixels, masks = values(), labels()
    paths = write_series("i/case", pixels)
    write_nifti(f"m/case{extension}", masks, axcodes)
    source = DicomSeries("i", "m")
    assert source.keys == [f"case/000{number}" for number in range(COUNT)]
    images, found = all_of(source)
    np.testing.assert_array_equal(images[..., 0], pixels)
    np.testing.assert_array_equal(found, masks)
    assert source.names(2) == (str(paths[2]), f"m/case{extension}[slice=2]")
    for sample in range(COUNT):
        header, (image, mask) = source.probe(sample), source.read(sample)
        assert image.shape == header.image.shape
        assert mask.shape == header.mask.shape
        assert header.dtype == image.dtype == "int16"
        assert image.flags.c_contiguous


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless]
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_every_slice_is_the_one_that_pydicom_decodes(syntax, dtype):
    pixels = values(dtype=dtype)
    paths = write_series(
        "i", pixels, syntax=ExplicitVRLittleEndian if syntax == RLELossless else syntax
    )
    if syntax == RLELossless:
        for path in paths:
            data = pydicom.dcmread(path)
            data.compress(RLELossless)
            data.save_as(path)
    write_nifti("m.nii", labels())
    source = DicomSeries("i", "m.nii")
    for number, path in enumerate(paths):
        image = source.read(number)[0][..., 0]
        np.testing.assert_array_equal(image, pydicom.dcmread(path).pixel_array)
        np.testing.assert_array_equal(image, pixels[number])
        assert image.dtype == source.probe(number).dtype == dtype
        assert image.dtype.isnative


@pytest.mark.parametrize(("dtype", "channels"), [("uint8", 1), ("uint16", 1), ("uint8", 3)])
def test_lossless_jpeg_is_decoded_without_any_other_package(dtype, channels):
    imagecodecs = pytest.importorskip("imagecodecs")
    jpeg = pytest.importorskip("zarrfeed_convert.sources.dicom.frames")
    pixels = values(dtype=dtype, seed=4)
    pixels = pixels if channels == 1 else np.stack([pixels, pixels[::-1], pixels // 2], axis=3)
    paths = write_series("i", values(dtype=dtype))
    for path, image in zip(paths, pixels, strict=True):
        data = pydicom.dcmread(path)
        data.file_meta.TransferSyntaxUID = JPEGLosslessSV1
        if channels == 3:
            data.SamplesPerPixel, data.PlanarConfiguration = 3, 0
            data.PhotometricInterpretation = "RGB"
        frame = imagecodecs.jpeg8_encode(
            image, lossless=True, bitspersample=8 * image.itemsize,
            **({"colorspace": "rgb", "outcolorspace": "rgb"} if channels == 3 else {}),
        )  # fmt: skip
        data.PixelData = pydicom.encaps.encapsulate([frame])
        data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
        data.save_as(path)
    decoded = jpeg.get_decoder(JPEGLosslessSV1).as_array(
        pydicom.dcmread(paths[1]), decoding_plugin="imagecodecs"
    )[0]
    np.testing.assert_array_equal(decoded, pixels[1])
    write_nifti("m.nii", labels())
    found, _ = all_of(DicomSeries("i", "m.nii"))
    np.testing.assert_array_equal(found.reshape(pixels.shape), pixels)


def test_lossy_jpeg_of_12_bits_is_decoded_nearly():
    imagecodecs = pytest.importorskip("imagecodecs")
    paths = write_series("i", values(dtype="uint16"))
    smooth = np.add.outer(np.arange(ROWS) * 300, np.arange(COLUMNS) * 200).astype("uint16")
    data = pydicom.dcmread(paths[1])
    data.file_meta.TransferSyntaxUID, data.BitsStored, data.HighBit = JPEGExtended12Bit, 12, 11
    frame = imagecodecs.jpeg8_encode(smooth, level=98, bitspersample=12)
    data.PixelData = pydicom.encaps.encapsulate([frame])
    data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
    data.save_as(paths[1])
    write_nifti("m.nii", labels())
    image, _ = DicomSeries("i", "m.nii").read(1)
    np.testing.assert_allclose(image[..., 0], smooth, atol=25)


def test_fractions_of_a_unit_are_float32_and_stored_values_may_be_kept():
    pixels = values(dtype="uint16")
    write_series("i", pixels, slope=0.5, intercept=-1024)
    write_nifti("m.nii", labels())
    images, _ = all_of(DicomSeries("i", "m.nii"))
    np.testing.assert_array_equal(images[..., 0], (pixels * 0.5 - 1024).astype("float32"))
    stored = open_source("dicom", {"images": "i", "masks": "m.nii", "rescale": "no"})
    assert stored.probe(0).dtype == "uint16"
    np.testing.assert_array_equal(all_of(stored)[0][..., 0], pixels)


@pytest.mark.parametrize(
    ("bits", "dtype", "slope", "intercept", "packed"),
    [
        (12, "uint16", 1, -1024, "int16"),
        (16, "uint16", 1, -1024, "int16"),
        (12, "int16", 1, -1024, "int16"),
        (16, "int16", 1, 0, "int16"),
        (16, "uint16", 1, 0, "uint16"),
        (7, "uint8", 1, 0.0, "uint8"),
        (7, "uint8", -1, -1, "int8"),
        (12, "uint16", 2**20, 0, "float32"),
        (12, "uint16", 1, 0.25, "float32"),
    ],
)
def test_hounsfield_units_are_whole_numbers_of_as_many_bits_as_they_need(
    bits, dtype, slope, intercept, packed
):
    pixels = (values(dtype="uint16") % 2 ** (bits - 1)).astype(dtype)
    for path in write_series("i", pixels, slope=slope, intercept=intercept):
        data = dcmread(path)
        data.BitsStored, data.HighBit = bits, bits - 1
        data.save_as(path)
    write_nifti("m.nii", labels())
    source = DicomSeries("i", "m.nii")
    images, _ = all_of(source)
    assert source.probe(0).dtype == images.dtype == packed
    np.testing.assert_array_equal(images[..., 0], pixels.astype(np.float64) * slope + intercept)


@pytest.mark.parametrize(
    ("slopes", "packed"), [((None, 2), "int32"), ((None, 0.5), "float32"), ((2, 0.5), "float32")]
)
def test_slices_of_two_dtypes_become_one_that_holds_both(slopes, packed):
    pixels = values(dtype="uint16")
    for name, slope in zip("ab", slopes, strict=True):
        write_series(f"i/{name}", pixels, slope=slope, intercept=slope and 0)
        write_nifti(f"m/{name}.nii", labels())
    images, _ = all_of(DicomSeries("i", "m"))
    assert images.dtype == packed
    meant = np.concatenate([pixels * float(slope or 1) for slope in slopes])
    np.testing.assert_array_equal(images[..., 0], meant)


def test_series_of_one_folder_are_told_apart():
    for number, seed in ((3, 1), (7, 2)):
        write_series("i/p1", values(seed=seed), number=number, named=f"{number}-{{}}")
        write_nifti(f"m/p1/series{number}.nii.gz", labels(seed=seed))
    write_series("i/p2", values(seed=5), named="{}.IMA")
    write_nifti("m/p2.nii.gz", labels(seed=5))
    Path("i/p2/notes.txt").write_text("no DICOM")
    source = DicomSeries("i", "m")
    assert source.keys[:: len(source.keys) // 3] == [
        "p1/series3/0000",
        "p1/series7/0000",
        "p2/0000",
    ]
    images, masks = all_of(source)
    for place, seed in enumerate((1, 2, 5)):
        part = slice(place * COUNT, (place + 1) * COUNT)
        np.testing.assert_array_equal(images[part, ..., 0], values(seed=seed))
        np.testing.assert_array_equal(masks[part], labels(seed=seed))
    assert source.describe()["facts"]["ignored_files"] == 1


def test_suffixes_pair_series_with_volumes():
    for name in ("c1", "c2"):
        write_series(f"i/{name}/CT", values())
        write_nifti(f"m/{name}_seg.nii.gz", labels())
    source = DicomSeries("i", "m", image_suffix="/CT", mask_suffix="_seg")
    assert source.keys[0] == "c1/CT/0000"
    assert DicomSeries("i", "m").keys == source.keys


def test_labels_on_another_grid_are_refused():
    write_series("i/a", values())
    write_series("i/b", values())
    write_nifti("m/a.nii", labels())
    matrix = affine_of_series()
    matrix[:3, 3] += 0.4 * matrix[:3, 0]  # between pixels
    nib.save(nib.Nifti1Image(labels().transpose(2, 1, 0), matrix), "m/b.nii")
    source = DicomSeries("i", "m")
    assert {key[0] for key in source.keys} == {"a"}
    ((name, why),) = source.left_out
    assert name == "i/b"
    assert "between voxels of m/b.nii or outside; resample" in why
    write_nifti("short.nii", labels(COUNT - 1))
    with pytest.raises(SourceError, match=r"between voxels of short\.nii or outside"):
        DicomSeries("i/a", "short.nii")


@given(
    st.permutations(range(3)),
    st.lists(st.sampled_from([1, -1]), min_size=3, max_size=3),
    st.floats(-100, 100),
)
def test_law_a_slice_is_found_in_the_volume_however_it_is_stored(order, signs, shift):
    masks = np.arange(COUNT * ROWS * COLUMNS).reshape(COUNT, ROWS, COLUMNS)
    matrix = affine_of_series()
    matrix[:3, 3] += shift
    stored = nib.Nifti1Image(masks.transpose(2, 1, 0).astype("int32"), matrix)
    stored = stored.as_reoriented(np.array(list(zip(order, signs, strict=True))))
    for number in range(COUNT):
        origin = ORIGIN + number * STEP * NORMAL + np.array([-shift, -shift, shift])
        plane = slices.plane_of(origin, orientation(), SPACING)
        patch = slices.patch_of(plane, (ROWS, COLUMNS), stored.affine, stored.shape)
        part = patch.turn(np.asarray(stored.dataobj)[patch.index])
        np.testing.assert_array_equal(part, masks[number])
    outside = slices.plane_of(ORIGIN + 99 * NORMAL, orientation(), SPACING)
    assert slices.patch_of(outside, (ROWS, COLUMNS), stored.affine, stored.shape) is None


def test_frames_of_an_enhanced_file_are_slices():
    pixels = values()
    order, _ = write_enhanced("i/ct.dcm", pixels)
    write_nifti("m/ct.nii.gz", labels())
    source = DicomSeries("i/ct.dcm", "m/ct.nii.gz")
    assert source.keys[0] == "ct/0000"
    images, masks = all_of(source)
    np.testing.assert_array_equal(images[..., 0], pixels * 2.0 - 7)
    np.testing.assert_array_equal(masks, labels())
    assert source.names(0)[0] == f"i/ct.dcm[frame={order.index(0) + 1}]"


def test_colours_palettes_and_white_as_zero():
    rng = np.random.default_rng(0)

    def write(name, change, pixels, bits=None):
        data = new_dataset(SecondaryCaptureImageStorage)
        data.StudyInstanceUID, data.SeriesInstanceUID = generate_uid(), generate_uid()
        set_pixels(data, pixels, bits)
        data.ImagePositionPatient, data.ImageOrientationPatient = position(0), orientation()
        data.PixelSpacing = list(SPACING)
        change(data)
        Path("i").mkdir(exist_ok=True)
        data.save_as(f"i/{name}.dcm", enforce_file_format=True)
        write_nifti(f"m/{name}.nii", labels(1))

    def as_rgb(data):
        data.SamplesPerPixel, data.PhotometricInterpretation, data.PlanarConfiguration = 3, "RGB", 1
        data.Rows, data.Columns = ROWS, COLUMNS

    def as_palette(data):
        data.PhotometricInterpretation = "PALETTE COLOR"
        for number, color in enumerate(("Red", "Green", "Blue")):
            setattr(data, f"{color}PaletteColorLookupTableDescriptor", [256, 0, 8])
            table = np.roll(np.arange(256, dtype="uint8"), 40 * number)
            setattr(data, f"{color}PaletteColorLookupTableData", table.tobytes())

    def as_negative(data):
        data.PhotometricInterpretation = "MONOCHROME1"

    rgb = rng.integers(0, 256, (3, ROWS, COLUMNS), "uint8")
    indices = rng.integers(0, 256, (ROWS, COLUMNS), "uint8")
    negative = rng.integers(0, 4096, (ROWS, COLUMNS)).astype("uint16")
    write("rgb", as_rgb, rgb)
    np.testing.assert_array_equal(DicomSeries("i", "m").read(0)[0], np.moveaxis(rgb, 0, 2))
    shutil.rmtree("i"), shutil.rmtree("m")
    write("palette", as_palette, indices)
    image = DicomSeries("i", "m").read(0)[0]
    np.testing.assert_array_equal(image[..., 1], (indices.astype(int) - 40) % 256)
    assert image.dtype == np.uint8
    shutil.rmtree("i"), shutil.rmtree("m")
    write("negative", as_negative, negative, bits=12)
    image = DicomSeries("i", "m").read(0)[0]
    np.testing.assert_array_equal(image[..., 0], 4095 - negative)


RESCALES = [
    {"RescaleSlope": 1, "RescaleIntercept": 0},
    {"RescaleSlope": 1, "RescaleIntercept": 0, "RescaleType": "US"},
    {},
]


@pytest.mark.parametrize("rescale", RESCALES)
@pytest.mark.parametrize("dtype", ["uint16", "int16"])
def test_pictures_that_look_alike_are_packed_alike(rescale, dtype):
    shown = values(1, dtype)[0] & 0x3FF
    stored = {"MONOCHROME2": shown, "MONOCHROME1": 1023 - shown if dtype[0] == "u" else -1 - shown}
    for photometric, pixels in stored.items():
        data = new_dataset(SecondaryCaptureImageStorage)
        data.Modality = "DX"
        data.StudyInstanceUID, data.SeriesInstanceUID = generate_uid(), generate_uid()
        set_pixels(data, pixels.astype(dtype), bits=10 if dtype[0] == "u" else 16)
        data.PhotometricInterpretation = photometric
        data.ImagePositionPatient, data.ImageOrientationPatient = position(0), orientation()
        data.PixelSpacing = list(SPACING)
        for name, value in rescale.items():
            setattr(data, name, value)
        Path("i").mkdir(exist_ok=True)
        data.save_as(f"i/{photometric}.dcm", enforce_file_format=True)
        write_nifti(f"m/{photometric}.nii", labels(1))
    source = DicomSeries("i", "m")
    assert len(source.keys) == 2
    for sample in range(2):
        np.testing.assert_array_equal(source.read(sample)[0][..., 0], shown)


def test_hounsfield_units_are_never_turned_over():
    [path] = write_series("i", values(1), slope=1, intercept=-1024)
    data = dcmread(path)
    data.PhotometricInterpretation, data.RescaleType = "MONOCHROME1", "HU"
    data.save_as(path)
    write_nifti("m/i.nii", labels(1))
    expected = apply_modality_lut(data.pixel_array, data)
    np.testing.assert_array_equal(DicomSeries("i", "m").read(0)[0][..., 0], expected)


def test_a_table_of_a_negative_is_turned_over_after_it():
    [path] = write_series("i", values(1, "uint16") & 3)
    data, table = dcmread(path), Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [4, 0, 12], "US"
    table.LUTData = np.array([4095, 3000, 77, 0], "<u2").tobytes()
    data.ModalityLUTSequence, data.PhotometricInterpretation = [table], "MONOCHROME1"
    data.save_as(path)
    write_nifti("m/i.nii", labels(1))
    expected = 4095 - np.array([4095, 3000, 77, 0])[data.pixel_array]
    np.testing.assert_array_equal(DicomSeries("i", "m").read(0)[0][..., 0], expected)


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"PresentationLUTShape": "INVERSE"}, "MONOCHROME2.*PresentationLUTShape INVERSE"),
        ({"HighBit": 15, "BitsStored": 12}, "HighBit 11 for 12 BitsStored, found HighBit 15"),
    ],
)
def test_files_that_contradict_themselves_are_refused(tags, said):
    [path] = write_series("i", values(1, "uint16"))
    data = dcmread(path)
    for name, value in tags.items():
        setattr(data, name, value)
    data.save_as(path)
    write_nifti("m/i.nii", labels(1))
    with pytest.raises(SourceError, match=said):
        DicomSeries("i", "m")


@pytest.mark.parametrize("dtype", ["uint16", "int16"])
def test_unused_bits_are_no_part_of_values(dtype):
    shown = values(1, dtype)[0] // 4
    shown = shown & 0xFFF if dtype == "uint16" else shown
    [path] = write_series("i", [shown.astype(dtype)])
    data = dcmread(path)
    high = (shown.astype("uint16") & 0x0FFF) | 0x5000
    data.BitsStored, data.HighBit, data.PixelData = 12, 11, high.astype("<u2").tobytes()
    data.save_as(path)
    write_nifti("m/i.nii", labels(1))
    np.testing.assert_array_equal(DicomSeries("i", "m").read(0)[0][..., 0], shown)


def test_single_images_are_named_by_their_files():
    for name in ("x1", "x2"):
        data = new_dataset(SecondaryCaptureImageStorage)
        data.StudyInstanceUID, data.SeriesInstanceUID = generate_uid(), generate_uid()
        data.ImagePositionPatient, data.ImageOrientationPatient = position(0), orientation()
        data.PixelSpacing = list(SPACING)
        set_pixels(data, values(1, "uint16")[0])
        Path("i").mkdir(exist_ok=True)
        data.save_as(f"i/{name}.dcm", enforce_file_format=True)
        write_nifti(f"m/{name}.nii", labels(1))
    assert DicomSeries("i", "m").keys == ["x1/0000", "x2/0000"]


def test_slices_without_positions_have_no_nifti_labels():
    paths = write_series("i", values())
    for path in paths:
        data = pydicom.dcmread(path)
        del data.ImagePositionPatient
        data.save_as(path)
    write_nifti("m.nii", labels())
    with pytest.raises(SourceError, match="needed position, orientation and pixel spacing"):
        DicomSeries("i", "m.nii")


def test_empty_slices_may_be_left_out_and_are_counted():
    masks = labels()
    masks[[0, 3]] = 0
    write_series("i", values())
    write_nifti("m.nii.gz", masks)
    source = DicomSeries("i", "m.nii.gz", skip_empty=True)
    assert source.keys == ["i/0001", "i/0002", "i/0004"]
    assert source.describe()["facts"]["empty_slices_left_out"] == 2
    np.testing.assert_array_equal(source.read(1)[1], masks[2])


def test_copies_of_an_image_are_packed_once_and_counted(tmp_path):
    paths = write_series("i", values())
    write_nifti("m.nii", labels())
    Path("i/old").mkdir()
    for path in paths[1:3]:
        shutil.copy(path, f"i/old/{path.name}")
    source = DicomSeries("i", "m.nii")
    np.testing.assert_array_equal(all_of(source)[0][..., 0], values())
    assert source.describe()["facts"]["ignored_files"] == 2
    report = convert(source, tmp_path / "o.zarr", split="s", workers=1)
    about = {each.what: each for each in report.decisions}["repeated files"]
    assert about.value == "2 ignored"
    kept = min(paths[1:3])
    assert f"i/old/{kept.name}, a copy of {kept} " in about.reason


def test_images_that_a_tool_gave_one_uid_are_all_packed():
    paths = write_series("i", values())
    for path in paths:
        data = pydicom.dcmread(path)
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
        data.save_as(path)
    write_nifti("m.nii", labels())
    source = DicomSeries("i", "m.nii")
    np.testing.assert_array_equal(all_of(source)[0][..., 0], values())
    assert source.remarks == ()


def test_slices_of_a_series_at_the_same_place_are_told(tmp_path):
    paths = write_series("i", values())
    data = pydicom.dcmread(paths[2])
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    data.save_as("i/again.dcm")
    write_nifti("m.nii", labels())
    source = DicomSeries("i", "m.nii")
    assert len(source.keys) == COUNT + 1
    ((what, count, why),) = source.remarks
    assert (what, count) == ("same position", "1 slice")
    assert {"i/again.dcm", str(paths[2])} <= set(re.split("[ ,]", why))
    report = convert(source, tmp_path / "o.zarr", split="s", workers=1, dry_run=True)
    assert why in [each.reason for each in report.decisions]


def test_what_goes_wrong_names_the_slice():
    paths = write_series("i", values())
    write_nifti("m.nii", labels())
    source = DicomSeries("i", "m.nii")
    data = paths[2].read_bytes()
    paths[2].write_bytes(data[:-20])
    with pytest.raises(SourceError, match=rf"^{paths[2]}: cannot be read: "):
        source.read(2)
    paths[3].unlink()
    with pytest.raises(SourceError, match=rf"^{paths[3]}: cannot be read: .*No such file"):
        source.read(3)
    Path("m.nii").unlink()
    with pytest.raises(SourceError, match=r"^m\.nii\[slice=4\]: cannot be read: "):
        source.read_mask(4)


def test_there_is_nothing_to_pack():
    paths = write_series("i", values())
    write_nifti("m.nii", labels())
    Path("empty").mkdir()
    Path("empty/a.txt").write_text("no DICOM")
    with pytest.raises(SourceError, match="found no DICOM image in empty"):
        DicomSeries("empty", "m.nii")
    with pytest.raises(SourceError, match=r"found neither in empty"):
        DicomSeries("i", "empty")
    with pytest.raises(SourceError, match=r"option names_from: needed one of label, type"):
        DicomSeries("i", "m.nii", names_from="colour")
    with pytest.raises(SourceError, match=r"option threshold: needed a fraction above 0, found 0"):
        DicomSeries("i", "m.nii", threshold=0)
    paths[0].write_bytes(b"no preamble")
    source = DicomSeries("i", "m.nii")
    assert len(source.keys) == COUNT - 1
    assert source.left_out == (
        (str(paths[0]), "needed a DICOM file, found one without its preamble"),
    )
    for path in paths:
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(SourceError, match="found no DICOM image in i; check --images; i/IM"):
        DicomSeries("i", "m.nii")


def test_the_source_travels_and_opens_again_by_its_description():
    write_series("i", values())
    write_nifti("m.nii.gz", labels())
    source = DicomSeries(Path("i"), Path("m.nii.gz"), mask_map="2=1", skip_empty=True)
    source.read(0)
    for again in (pickle.loads(pickle.dumps(source)), source_of(source.describe())):
        assert again.keys == source.keys
        assert again.describe() == source.describe()
        np.testing.assert_array_equal(again.read(3)[1], source.read(3)[1])
