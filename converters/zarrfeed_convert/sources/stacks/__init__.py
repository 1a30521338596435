"""Datasets whose samples are slices or pages of a stack: NIfTI volumes, multi-page TIFFs."""
