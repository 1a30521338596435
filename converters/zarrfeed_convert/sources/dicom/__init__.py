"""Datasets that are DICOM series, with segments or label volumes."""
