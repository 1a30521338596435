"""DICOM segments, written by highdicom."""

from __future__ import annotations

import warnings
from pathlib import Path

import highdicom as hd
import pydicom
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, generate_uid


def described(number, label, kind=codes.SCT.Organ):
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=label,
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=kind,
        algorithm_type="MANUAL",
    )


def write_seg(path, paths, masks, names, *, kind="BINARY", syntax=ExplicitVRLittleEndian, **other):
    """Write segments; masks are (slices, rows, columns, segments), or numbers without segments."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    sources = [pydicom.dcmread(one) for one in paths]
    kinds = other.pop("kinds", [codes.SCT.Organ] * len(names))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what highdicom thinks of missing attributes
        seg = hd.seg.Segmentation(
            source_images=sources,
            pixel_array=masks,
            segmentation_type=kind,
            segment_descriptions=[
                described(number, name, of)
                for number, (name, of) in enumerate(zip(names, kinds, strict=True), 1)
            ],
            series_instance_uid=generate_uid(),
            series_number=900,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer="A",
            manufacturer_model_name="B",
            software_versions="1",
            device_serial_number="1",
            transfer_syntax_uid=syntax,
            **other,
        )
    seg.save_as(path)
    return seg
