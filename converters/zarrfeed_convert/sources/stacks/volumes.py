"""What does a NIfTI file hold, and how is a part of it read?"""

from __future__ import annotations

import gzip
import struct
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import nibabel as nib
import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed_convert.sources.rescale import rescaled, rescaled_dtype
from zarrfeed_convert.sources.stacks.decompressed import MOST_DEFLATED, DecompressedCopies

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_UNITS = {"meter": 1e3, "micron": 1e-3}  # in millimetres, which most say, or mean
EXTENSIONS = (".nii", ".nii.gz")  # extensions
_HEADER = 540  # bytes, of NIfTI-2; NIfTI-1 has 348
_MOST_BEFORE = 64 << 20  # bytes before the voxels: header and extensions
NOWHERE = np.full((4, 4), np.nan)


@dataclass(frozen=True, slots=True)
class Volume:
    """A NIfTI file, by its header.

    Attributes
    ----------
    path
        The file.
    shape
        The number of voxels along each axis (3,).
    channels
        The number of values per voxel: along the fourth axis, or as colours.
    colors
        Whether values are stored as RGB or RGBA.
    stored, dtype
        The dtype in the file, and the one in which it is packed.
    affine
        (4, 4), from voxels to millimetres, RAS; all NaN if the format has none (:data:`NOWHERE`).
    nbytes
        The size of the uncompressed file up to the end of its voxels.
    planes_first
        Whether the axes are z, y, x, as of TIFF stacks and arrays, rather than x, y, z.
    """

    path: str
    shape: tuple[int, int, int]
    channels: int
    colors: bool
    stored: str
    dtype: str
    affine: NDArray[np.float64] = field(compare=False)
    nbytes: int = 0
    planes_first: bool = False


class VolumeFiles(Protocol):
    """Files of one kind that hold volumes. Picklable."""

    def measure(self, path: str) -> Volume:
        """Read a file's header."""
        ...

    def read(self, volume: Volume, index: tuple[int | slice, ...]) -> NDArray[Any]:
        """Read a part of a volume into new memory: (…) or (…, C), by an index of its three axes."""
        ...


def measure_volume(path: str) -> Volume:
    """Read a file's header.

    Raises
    ------
    SourceError
        The file is no volume, or has more axes than voxels and channels.
    """
    _require_near_voxels(path)
    image: Any = nib.load(path)
    dtype, extent = image.get_data_dtype(), _extent(image.shape, path)
    nbytes = _require_voxels(image, path)
    if dtype.names:
        channels, numbers = len(dtype.names) * extent[3], dtype[0]
    else:
        channels, numbers = extent[3], dtype
    return Volume(
        path,
        extent[:3],
        channels,
        bool(dtype.names),
        numbers.name,
        rescaled_dtype(numbers, *_scale(image), path),
        _millimetres(image),
        nbytes,
    )


def _require_near_voxels(path: str) -> None:
    """Refuse a header with gigabytes of extensions before the voxels, which nibabel would read."""
    with gzip.GzipFile(path) if _is_packed(path) else Path(path).open("rb") as file:
        head = file.read(_HEADER)
    for order in "<>":
        size = int.from_bytes(head[:4], "little" if order == "<" else "big")
        place = {348: (f"{order}f", 108), 540: (f"{order}q", 168)}.get(size)
        if place is None or len(head) < _HEADER:
            continue
        (offset,) = struct.unpack_from(place[0], head, place[1])
        if not abs(offset) <= _MOST_BEFORE:
            raise SourceError(
                f"{path}: needed voxels within the first {_MOST_BEFORE} bytes, found them at "
                f"{offset:g}; the file is damaged: restore it, or take it out"
            )


def _require_voxels(image: Any, path: str) -> int:
    """Refuse a file that cannot hold all its voxels; return its size up to their end."""
    needed = int(image.dataobj.offset) + int(prod(image.shape)) * int(
        image.get_data_dtype().itemsize
    )
    size = Path(path).stat().st_size
    most = size * MOST_DEFLATED if _is_packed(path) else size
    if needed > most:
        found = f"{size} bytes, at most {most} decompressed," if _is_packed(path) else f"{size}"
        raise SourceError(
            f"{path}: needed {needed} bytes of voxels ({'×'.join(map(str, image.shape))}), found "
            f"{found}; the file ends early: restore it, or take it out"
        )
    return needed


def _is_packed(path: str) -> bool:
    return path.lower().endswith(".gz")


def _millimetres(image: Any) -> NDArray[np.float64]:
    """Return a volume's affine in millimetres; nibabel ignores the header's unit."""
    affine = np.array(image.affine, np.float64)
    unit = image.header.get_xyzt_units()[0]
    affine[:3] *= _UNITS.get(unit, 1.0)
    return affine


class VolumeReader:
    """Reads parts of volumes from mapped files. Picklable and thread-safe."""

    def __init__(self, paths: Sequence[str]) -> None:
        packed = any(path.lower().endswith(".gz") for path in paths)
        self._copies = DecompressedCopies() if packed else None

    def measure(self, path: str) -> Volume:
        """Read a file's header; see :func:`measure_volume`."""
        return measure_volume(path)

    def read(self, volume: Volume, index: tuple[int | slice, ...]) -> NDArray[Any]:
        """Read a part of a volume into new memory.

        Parameters
        ----------
        volume
            The volume.
        index
            An index along its three axes.

        Returns
        -------
        (…) or (…, C)
            Values, rescaled in 64 bits if the file says how.
        """
        path = volume.path
        if self._copies is not None and path.lower().endswith(".gz"):
            path = self._copies.plain(path, extension=".nii", nbytes=volume.nbytes)
        image: Any = nib.load(path)
        # Mapped, and without a copy: axes of length 1 come and go.
        stored = image.dataobj.get_unscaled().reshape(_extent(image.shape, volume.path))
        part = np.array(stored[(*index, slice(None))])
        if volume.colors:
            part = np.stack([part[..., 0][name] for name in part.dtype.names or ()], axis=-1)
        elif volume.channels == 1:
            part = part[..., 0]
        return rescaled(part, *_scale(image), volume.dtype)


def _scale(image: Any) -> tuple[float, float]:
    """Return slope and intercept, 1 and 0 if the file has none."""
    return float(image.dataobj.slope), float(image.dataobj.inter)


def _extent(shape: Sequence[int], path: str) -> tuple[int, int, int, int]:
    """Return the lengths of three axes and the number of channels; a fourth axis of 1 is time."""
    voxels = [*shape[:3], 1, 1, 1][:3]
    channels = [size for size in shape[3:] if size > 1]
    if len(channels) > 1:
        raise SourceError(
            f"{path}: needed a volume of 3 axes, or 4 of which the last are channels, found "
            f"{'×'.join(map(str, shape))}"
        )
    return voxels[0], voxels[1], voxels[2], channels[0] if channels else 1
