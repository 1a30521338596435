"""Which format do the names of files suggest, where another one was asked for?"""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# Ending → the format that reads such files; only where there is one.
ENDINGS: Mapping[str, str] = {
    ".nii": "nifti",
    ".nii.gz": "nifti",
    ".nrrd": "itk",
    ".nhdr": "itk",
    ".mha": "itk",
    ".mhd": "itk",
    ".gipl": "itk",
    ".gipl.gz": "itk",
    ".dcm": "dicom",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".npz": "npz",
    ".tfrecord": "tfrecord",
    ".parquet": "parquet",
    ".tar": "webdataset",
    ".zarr": "zarr",
    ".ome.zarr": "ome-zarr",
}
_LOOKED_AT = 100  # files of a folder


def format_of_ending(place: str) -> str:
    """Return the format that a path, a glob or the files of a folder suggest; empty if none.

    Examples
    --------
    >>> [format_of_ending(place) for place in ("ct.h5:/images", "a.ome.zarr/0", "scans/*.nii.gz")]
    ['hdf5', 'ome-zarr', 'nifti']
    >>> format_of_ending("cells/*.png")
    ''
    """
    path = place.partition(":")[0]
    found = [kind for part in Path(path).parts if (kind := _kind_of(part))]
    if found:
        return found[-1]
    with suppress(OSError, ValueError), os.scandir(path) as entries:  # a null byte is a ValueError
        kinds = {_kind_of(entry.name) for entry in islice(entries, _LOOKED_AT)}
        if len(kinds) == 1:
            return kinds.pop()
    return ""


def _kind_of(name: str) -> str:
    ends = [ending for ending in ENDINGS if name.lower().endswith(ending)]
    return ENDINGS[max(ends, key=len)] if ends else ""
