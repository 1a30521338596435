"""DICOM series and NIfTI labels on their slices, written by pydicom and nibabel."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    generate_uid,
)

COUNT, ROWS, COLUMNS = 5, 8, 6
SPACING, STEP, ORIGIN = (0.7, 0.9), 2.5, np.array([-31.25, 17.5, 402.0])
# An oblique stack: no axis of the patient, and none of its planes, is one of the images'.
TURN = np.linalg.qr(np.array([[0.9, 0.2, 0.1], [-0.3, 0.8, 0.2], [0.1, -0.25, 0.95]]))[0]
ALONG_COLUMNS, ALONG_ROWS = TURN[:, 0], TURN[:, 1]
NORMAL = np.cross(ALONG_COLUMNS, ALONG_ROWS)


def values(count=COUNT, dtype="int16", seed=0, rows=ROWS, columns=COLUMNS):
    rng = np.random.default_rng(seed)
    low = -1000 if np.dtype(dtype).kind == "i" else 0
    top = min(1000, np.iinfo(dtype).max)
    return rng.integers(low, top, (count, rows, columns)).astype(dtype)


def labels(count=COUNT, ids=3, seed=3, rows=ROWS, columns=COLUMNS):
    return np.random.default_rng(seed).integers(0, ids, (count, rows, columns), "uint8")


def new_dataset(sop_class, syntax=ExplicitVRLittleEndian):
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = sop_class
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.Modality = "CT"
    data.PatientID, data.PatientName, data.PatientBirthDate, data.PatientSex = "1", "A", "", ""
    data.StudyDate = data.StudyTime = data.AccessionNumber = data.StudyID = ""
    data.ReferringPhysicianName = data.Manufacturer = ""
    return data


def set_pixels(data, pixels, bits=None):
    data.Rows, data.Columns = pixels.shape[-2:] if pixels.ndim < 4 else pixels.shape[1:3]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = 8 * pixels.itemsize
    data.BitsStored = bits or data.BitsAllocated
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    little = data.file_meta.TransferSyntaxUID != ExplicitVRBigEndian
    data.PixelData = pixels.astype(pixels.dtype.newbyteorder("<" if little else ">")).tobytes()
    data["PixelData"].VR = "OB" if pixels.itemsize == 1 else "OW"


def position(number):
    return [float(f"{x:.6f}") for x in ORIGIN + number * STEP * NORMAL]


def orientation():
    return [float(f"{x:.9f}") for x in (*ALONG_COLUMNS, *ALONG_ROWS)]


def write_series(
    folder, pixels, *, slope=None, intercept=None, syntax=ExplicitVRLittleEndian, number=1, seed=1,
    named="IM{}.dcm",
):  # fmt: skip
    """Write a slice per file; neither names nor instance numbers are in the patient's order."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    study, series, frame_of_reference = (generate_uid() for _ in range(3))
    order = np.random.default_rng(seed).permutation(len(pixels))
    written = []
    for place, at in enumerate(order):
        data = new_dataset(CTImageStorage, syntax)
        data.StudyInstanceUID, data.SeriesInstanceUID = study, series
        data.FrameOfReferenceUID, data.SeriesNumber = frame_of_reference, number
        data.InstanceNumber = place + 1
        data.ImagePositionPatient, data.ImageOrientationPatient = position(at), orientation()
        data.PixelSpacing, data.SliceThickness = list(SPACING), STEP
        if slope is not None:
            data.RescaleSlope, data.RescaleIntercept = slope, intercept
        set_pixels(data, pixels[at])
        path = Path(folder, named.format(place))
        data.save_as(path, enforce_file_format=True)
        written.append((at, path))
    return [path for _, path in sorted(written)]


def edit(path, **attributes):
    """Change attributes of a written file; None removes one."""
    data = dcmread(path)
    for name, value in attributes.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    data.save_as(path)


def affine_of_series():
    """Give the affine of an array (column, row, slice), RAS, as the DICOM standard has it."""
    matrix = np.eye(4)
    matrix[:3, 0] = ALONG_COLUMNS * SPACING[1]
    matrix[:3, 1] = ALONG_ROWS * SPACING[0]
    matrix[:3, 2] = NORMAL * STEP
    matrix[:3, 3] = ORIGIN
    return np.diag([-1.0, -1, 1, 1]) @ matrix


def write_nifti(path, masks, axcodes=None):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(masks.transpose(2, 1, 0), affine_of_series())
    if axcodes:
        to = nib.orientations.axcodes2ornt(axcodes)
        turn = nib.orientations.ornt_transform(nib.io_orientation(image.affine), to)
        image = image.as_reoriented(turn)
    nib.save(image, path)


def write_enhanced(path, pixels):
    """Write a series as frames of one file, not in the patient's order."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    data = new_dataset(EnhancedCTImageStorage)
    data.StudyInstanceUID, data.SeriesInstanceUID = generate_uid(), generate_uid()
    data.FrameOfReferenceUID, data.SeriesNumber, data.InstanceNumber = generate_uid(), 1, 1
    order = np.random.default_rng(2).permutation(len(pixels))
    set_pixels(data, pixels[order])
    data.NumberOfFrames = len(pixels)
    shared, frames = Dataset(), []
    directions, measures, transformation = Dataset(), Dataset(), Dataset()
    directions.ImageOrientationPatient = orientation()
    measures.PixelSpacing = list(SPACING)
    transformation.RescaleSlope, transformation.RescaleIntercept = 2, -7
    shared.PlaneOrientationSequence = Sequence([directions])
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PixelValueTransformationSequence = Sequence([transformation])
    for at in order:
        frame, place = Dataset(), Dataset()
        place.ImagePositionPatient = position(at)
        frame.PlanePositionSequence = Sequence([place])
        frames.append(frame)
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    data.PerFrameFunctionalGroupsSequence = Sequence(frames)
    data.save_as(path, enforce_file_format=True)
    return [int(at) for at in order], data
