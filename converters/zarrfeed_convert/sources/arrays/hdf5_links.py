"""Does an array of an HDF5 file lie in that file, or does the file lead to others?

A file can link to any path of the machine (external links), say that an array's bytes are those of
some other file (raw storage), and put an array together from arrays of other files (virtual
datasets). HDF5 follows all of them without a word.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    from zarrfeed_convert.decoding.limits import Limits

_MOST_LINKS = 32  # one after the other
_THIS = "."  # the file itself, as a virtual dataset's source


def find_dataset(
    file: h5py.File, array: str, path: str, limits: Limits, *, depth: int = 0
) -> h5py.Dataset | None:
    """Find an array by its name, which may lead over links.

    Parameters
    ----------
    file, path
        The open file and its own path, for errors.
    array
        The name.
    limits
        Whether links may leave the file.
    depth
        Of virtual datasets that led here.

    Returns
    -------
    h5py.Dataset or None
        None where there is no array of the name.

    Raises
    ------
    SourceError
        A link leaves the file, or links lead to each other.
    """
    _follow(file, array, path, limits)
    found = file.get(array)
    if not isinstance(found, h5py.Dataset):
        return None
    require_own_bytes(found, path, limits, depth=depth)
    return found


def require_own_bytes(dataset: h5py.Dataset, path: str, limits: Limits, *, depth: int = 0) -> None:
    """Refuse an array whose bytes are elsewhere, unless that is allowed.

    Raises
    ------
    SourceError
        They are in a raw file; or in another HDF5 file, outside the folder of this one.
    """
    name = f"{path}:{dataset.name}"
    if dataset.external:
        limits.require_external(name, f"raw storage in {dataset.external[0][0]}")
    if not dataset.is_virtual:
        return
    if depth > _MOST_LINKS:
        raise SourceError(f"{name}: needed an array, found virtual datasets of each other")
    folder = str(Path(path).absolute().parent)
    for source, array in {(one.file_name, one.dset_name) for one in dataset.virtual_sources()}:
        other = path
        if source != _THIS:
            other = str(Path(folder, source))
            limits.require_own(os.path.relpath(other, folder), folder, name)
        if limits.external or not Path(other).is_file():
            continue  # that one is not there is found out when it is read
        with h5py.File(other, "r") as file:
            find_dataset(file, array, other, limits, depth=depth + 1)


def _follow(file: h5py.File, array: str, path: str, limits: Limits) -> None:
    """Go along the parts of a name, and refuse the first that is in another file."""
    hops = 0
    done, left = "", [part for part in array.split("/") if part not in ("", ".")]
    while left:
        part = left.pop(0)
        link: Any = file.get(f"{done}/{part}", getlink=True)
        if isinstance(link, h5py.ExternalLink):
            where = f"{path}:{done}/{part}"
            limits.require_external(where, f"an array of another file, {link.filename}")
            return
        if isinstance(link, h5py.SoftLink):
            hops += 1
            if hops > _MOST_LINKS:
                raise SourceError(f"{path}:{array}: needed an array, found links to each other")
            target = [name for name in link.path.split("/") if name not in ("", ".")]
            left = target + left
            done = "" if link.path.startswith("/") else done
        else:
            done = f"{done}/{part}"
