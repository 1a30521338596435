"""Datasets that are arrays in files: HDF5, NumPy, Zarr, OME-Zarr."""
