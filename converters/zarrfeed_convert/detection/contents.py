"""What do the first bytes of a file say about it?

Every function reads little, and returns nothing rather than fail: a file that says nothing is no
reason for a format.
"""

from __future__ import annotations

import json
import re
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import tifffile

from zarrfeed_convert.decoding.limits import require_regular
from zarrfeed_convert.decoding.tiff_directories import require_end

_HEAD = 1 << 16
_GEOREFERENCE = (33550, 33922, 34264, 34735)  # GeoTIFF 1.1: scale, tie points, matrix, keys
_FILE_NAME = re.compile(r'"file_name"\s*:\s*"((?:[^"\\]|\\.)+)"')


def edges(path: str) -> str:
    """Return the first and the last 64 KiB of a text file; empty if it cannot be read."""
    with suppress(OSError, ValueError):
        require_regular(Path(path))
        with Path(path).open("rb") as file:
            head = file.read(_HEAD)
            rest = b""
            if len(head) == _HEAD:
                file.seek(max(_HEAD, Path(path).stat().st_size - _HEAD))
                rest = file.read(_HEAD)
        return (head + b"\n" + rest).decode("utf-8-sig", errors="replace")
    return ""


def names_in_json(text: str, *names: str) -> bool:
    """Return whether all these names are in :func:`edges` of a JSON file."""
    return text.lstrip()[:1] in ("{", "[") and all(f'"{name}"' in text for name in names)


def first_file_name(text: str) -> str:
    """Return the first ``file_name`` in :func:`edges` of a JSON file; empty if there is none."""
    found = _FILE_NAME.search(text)
    if found is None:
        return ""
    with suppress(ValueError):
        return str(json.loads(f'"{found[1]}"'))
    return found[1]


def tiff_kind(path: str) -> str:
    """Return ``geotiff``, ``tiff`` for several pages, or ``paired`` for a plain image."""
    with suppress(Exception):  # tifffile raises anything on damaged files
        require_regular(Path(path))
        with Path(path).open("rb") as file:
            require_end(file, path)
            with tifffile.TiffFile(file) as tiff:
                page: Any = tiff.pages[0]
                if any(tag in page.tags for tag in _GEOREFERENCE):
                    return "geotiff"
                if (
                    len(tiff.pages) > 1
                    and len(tiff.series) == 1
                    and not tiff.series[0].is_pyramidal
                ):
                    return "tiff"
    return "paired"


def array_names(path: str) -> list[str]:
    """Return the names of the arrays in an NPZ or HDF5 file."""
    if path.lower().endswith(".npz"):
        with suppress(OSError, ValueError, zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
        return []
    with suppress(Exception):  # h5py may be absent, and raises anything on damaged files
        import h5py

        with h5py.File(path, "r") as file:
            found: list[str] = []
            for name in file:
                if isinstance(file.get(name, getlink=True), h5py.HardLink):
                    inside = file[name]
                    if isinstance(inside, h5py.Group):
                        found += [f"{name}/{below}" for below in inside]
                    else:
                        found.append(str(name))
            return found
    return []


def is_dicom(path: str) -> bool:
    """Return whether a file has the mark of DICOM behind its preamble."""
    with suppress(OSError, ValueError):
        require_regular(Path(path))
        with Path(path).open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    return False


def is_ome(store: str) -> bool:
    """Return whether a Zarr group says that it is an OME-Zarr image, or a container of them."""
    return any(
        re.search(r'"(multiscales|plate|bioformats2raw\.layout)"', edges(str(Path(store, name))))
        for name in ("zarr.json", ".zattrs")
    )
