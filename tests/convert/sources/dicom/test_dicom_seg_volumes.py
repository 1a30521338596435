"""Segments lie on the voxels of the volumes that they were drawn on."""

from __future__ import annotations

import numpy as np
import pytest

import zarrfeed
from source_contract import require_source
from zarrfeed.errors import SourceError
from zarrfeed_convert import convert, verify

pydicom = pytest.importorskip("pydicom")
hd = pytest.importorskip("highdicom")
DicomSeries = pytest.importorskip("zarrfeed_convert.sources.dicom.dicom").DicomSeries

from pydicom.uid import generate_uid  # noqa: E402 (may be absent)

from dicom_segments import write_seg  # noqa: E402
from dicom_writing import (  # noqa: E402
    COUNT,
    edit,
    labels,
    values,
    write_enhanced,
    write_nifti,
    write_series,
)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def volumes(images="t", masks="", **options):
    return DicomSeries(images, masks, as_="volumes", **options)


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_segments_are_the_mask_of_a_volume(kind):
    masks = labels(ids=4)
    masks[1] = 0  # no frame shows it
    write_seg("t/seg.dcm", write_series("t/ct", values()), masks, ["A", "B", "C"], kind=kind)
    source = volumes()
    require_source(source, [values()[..., None]], [masks])
    assert source.classes == ("background", "A", "B", "C")
    assert source.names(0) == ("t/ct", "t/seg.dcm")
    again = hd.seg.segread("t/seg.dcm").get_volume(combine_segments=True, skip_overlap_checks=True)
    affine = np.array(source.probe(0).affine)
    if kind == "BINARY":  # where highdicom has the segments
        for number in (0, 2, COUNT - 1):
            place = np.diag([-1.0, -1, 1, 1]) @ affine @ [number, 1, 2, 1]
            z, y, x = np.rint(again.map_reference_to_indices(place[None, :3])[0]).astype(int)
            assert again.array[z, y, x] == masks[number, 1, 2]


def test_segments_on_frames_of_an_enhanced_file():
    order, _ = write_enhanced("i/ct.dcm", values())
    masks = labels(ids=2)
    write_seg("m/seg.dcm", ["i/ct.dcm"], masks[order], ["Liver"])
    require_source(volumes("i", "m"), [(values() * 2.0 - 7)[..., None]], [masks])


@pytest.mark.parametrize("kind", ["SEG", "NIfTI"])
def test_labels_stay_on_their_slices_where_a_localizer_and_a_copy_are_left_out(kind):
    paths, masks = write_series("i", values()), labels(ids=2)
    for number, path in enumerate(paths, 1):
        edit(path, InstanceNumber=number)
    if kind == "SEG":
        write_seg("m/seg.dcm", paths, masks, ["Liver"])
    else:
        write_nifti("m/i.nii.gz", masks)
    for number, name in ((1, "again"), (3, "scout")):
        data = pydicom.dcmread(paths[number])
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        data.PixelData, data.InstanceNumber = bytes(len(data.PixelData)), 99
        if name == "scout":
            data.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
            data.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
        data.save_as(f"i/{name}.dcm")
    with pytest.raises(SourceError, match=r"^i: needed slices of a volume, found 1 of 7 images"):
        volumes("i", "m")
    source = volumes("i", "m", geometry="warn")
    require_source(source, [values()[..., None]], [masks])
    assert [remark[:2] for remark in source.remarks] == [
        ("geometry", "localizers in 1 series"),
        ("geometry", "slices at the same position in 1 series"),
    ]


def test_segments_of_a_series_that_is_no_volume_are_left_out_with_it():
    for name in ("bad", "good"):
        paths = write_series(f"t/{name}", values())
        write_seg(f"t/{name}.dcm", paths, labels(ids=2), ["Liver"])
        if name == "bad":
            paths[2].unlink()
    source = volumes()
    assert source.keys == ["good"]
    ((place, why),) = source.left_out
    assert place == "t/bad"
    assert "missing at" in why


def test_volumes_without_a_label_may_be_left_out():
    for name, masks in {"empty": labels() * 0, "full": labels()}.items():
        write_series(f"i/{name}", values())
        write_nifti(f"m/{name}.nii", masks)
    source = volumes("i", "m", skip_empty=True)
    assert source.keys == ["full"]
    assert source.describe()["facts"]["empty_volumes_left_out"] == 1


def test_segments_are_packed_with_their_volumes_and_failures_may_be_skipped(tmp_path):
    masks = labels(ids=3)
    write_seg("t/seg.dcm", write_series("t/ct", values()), masks, ["Liver", "Tumor"])
    write_series("t/alone", values())
    source = volumes()
    out = tmp_path / "o.zarr"
    with pytest.raises(SourceError, match="alone"):
        convert(source, out, split="train", tile=(2, 4, 4), workers=1)
    convert(source, out, split="train", tile=(2, 4, 4), workers=2, on_error="skip")
    np.testing.assert_array_equal(zarrfeed.open_case(out / "train", "ct", "mask")[:], masks)
    assert verify(out, source=source, workers=1).ok
