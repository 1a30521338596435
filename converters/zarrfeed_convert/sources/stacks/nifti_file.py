"""What does a NIfTI file hold, and how is a part of it read?"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import nibabel as nib
import numpy as np

from zarrfeed.errors import SourceError, look_up
from zarrfeed_convert.decoding.limits import require_regular
from zarrfeed_convert.sources.rescale import rescaled, rescaled_dtype
from zarrfeed_convert.sources.stacks.decompressed import MOST_DEFLATED, DecompressedCopies
from zarrfeed_convert.sources.stacks.gzip_files import open_gzip
from zarrfeed_convert.sources.stacks.inflated import InflatedFiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_UNITS = {"meter": 1e3, "micron": 1e-3}  # in millimetres, which most say, or mean
EXTENSIONS = (".nii", ".nii.gz")  # extensions
_HEADER = 540  # bytes, of NIfTI-2; NIfTI-1 has 348
_MOST_BEFORE = 64 << 20  # bytes before the voxels: header and extensions
_MOST_IN_MEMORY = 1 << 30  # bytes: decompressing them again, in another process, takes 1.3 s
NOWHERE = np.full((4, 4), np.nan)


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a NIfTI file stores its voxels: in Fortran order.

    Attributes
    ----------
    offset
        Where they begin, in bytes.
    dtype
        Dtype of the stored values, in the file's byte order; of colours, with a name for each.
    extent
        Number of voxels along x, y and z, and number of channels.
    slope, intercept
        What stored values are multiplied by, and what is added; 1 and 0 if the file has none.
    """

    offset: int
    dtype: np.dtype[Any]
    extent: tuple[int, int, int, int]
    slope: float
    intercept: float

    @property
    def end(self) -> int:
        """Where the voxels end."""
        return self.offset + math.prod(self.extent) * self.dtype.itemsize

    def end_of(self, index: tuple[int | slice, ...]) -> int:
        """Where the voxels end that an index along x, y and z needs, in bytes."""
        if self.extent[3] > 1:  # of which each is a volume
            return self.end
        last = index[2] + 1 if isinstance(index[2], int) else index[2].indices(self.extent[2])[1]
        return self.offset + math.prod(self.extent[:2]) * last * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Volume:
    """A file of a volume, by its header.

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
    encoding
        How a NIfTI file stores its voxels; None of other files.
    planes_first
        Whether the axes are z, y, x, as of TIFF stacks and arrays, rather than x, y, z.
    oriented
        Whether the file says the orientation of the affine; if not, it is a guess of nibabel.
    """

    path: str
    shape: tuple[int, int, int]
    channels: int
    colors: bool
    stored: str
    dtype: str
    affine: NDArray[np.float64] = field(compare=False)
    encoding: Encoding | None = None
    planes_first: bool = False
    oriented: bool = True

    @property
    def packed_nbytes(self) -> int:
        """Number of bytes up to the end of the voxels after decompression; 0 if there is none."""
        return self.encoding.end if self.encoding and _is_packed(self.path) else 0


class VolumeFiles(Protocol):
    """Files of one kind that hold volumes. Picklable."""

    def measure(self, path: str) -> Volume:
        """Read a file's header."""
        ...

    def read(self, volume: Volume, index: tuple[int | slice, ...]) -> NDArray[Any]:
        """Read a part of a volume into new memory: (…) or (…, C), by an index of its three axes."""
        ...

    def expect(self, volumes: Sequence[Volume]) -> None:
        """Be ready to read parts of these volumes by turns."""
        ...

    @property
    def memory_nbytes(self) -> int:
        """Maximum number of bytes that are kept in memory."""
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
    slope, intercept = float(image.dataobj.slope), float(image.dataobj.inter)
    encoding = Encoding(int(image.dataobj.offset), dtype, extent, slope, intercept)
    _require_voxels(encoding, path)
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
        rescaled_dtype(numbers, slope, intercept, path),
        _millimetres(image),
        encoding,
        oriented=bool(image.header["qform_code"] or image.header["sform_code"]),
    )


def _require_near_voxels(path: str) -> None:
    """Refuse a header with gigabytes of extensions before the voxels, which nibabel would read."""
    require_regular(Path(path))
    with open_gzip(path) if _is_packed(path) else Path(path).open("rb") as file:
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


def _require_voxels(encoding: Encoding, path: str) -> None:
    """Refuse a file that cannot hold all its voxels."""
    size = Path(path).stat().st_size
    most = size * MOST_DEFLATED if _is_packed(path) else size
    if encoding.end > most:
        found = f"{size} bytes, at most {most} decompressed," if _is_packed(path) else f"{size}"
        raise SourceError(
            f"{path}: needed {encoding.end} bytes of voxels "
            f"({'×'.join(map(str, encoding.extent))}), found {found}; the file ends early: restore "
            "it, or take it out"
            f"{look_up('damaged-file')}"
        )


def _is_packed(path: str) -> bool:
    return path.lower().endswith(".gz")


def _millimetres(image: Any) -> NDArray[np.float64]:
    """Return a volume's affine in millimetres; nibabel ignores the header's unit."""
    affine = np.array(image.affine, np.float64)
    unit = image.header.get_xyzt_units()[0]
    affine[:3] *= _UNITS.get(unit, 1.0)
    return affine


class VolumeReader:
    """Reads parts of NIfTI files. Picklable and thread-safe.

    Files are mapped. Those of .nii.gz are decompressed first, once for all processes, to the folder
    for temporary files; or to memory, if whole volumes are read in order.

    Parameters
    ----------
    paths
        All files.
    in_memory
        Maximum number of bytes to decompress to memory at a time: the files of one case.
    """

    def __init__(self, paths: Sequence[str], *, in_memory: int = 0) -> None:
        self._copies = DecompressedCopies() if any(map(_is_packed, paths)) else None
        self._most = min(in_memory, _MOST_IN_MEMORY)
        self._inflated = InflatedFiles(0)
        self._expected: set[str] = set()

    def measure(self, path: str) -> Volume:
        """Read a file's header; see :func:`measure_volume`."""
        return measure_volume(path)

    def expect(self, volumes: Sequence[Volume]) -> None:
        """Be ready to decompress these volumes to memory together, if they are not too large."""
        nbytes = sum(volume.packed_nbytes for volume in volumes)
        if nbytes > self._most:
            return
        self._expected.update(volume.path for volume in volumes if volume.packed_nbytes)
        if nbytes > self._inflated.bound:
            self._inflated = InflatedFiles(nbytes)

    @property
    def memory_nbytes(self) -> int:
        """Maximum number of decompressed bytes that are kept in memory."""
        return self._inflated.bound

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
        encoding = volume.encoding
        assert encoding
        part = np.array(self._stored(volume.path, encoding, index)[(*index, slice(None))])
        if volume.colors:
            part = np.stack([part[..., 0][name] for name in part.dtype.names or ()], axis=-1)
        elif volume.channels == 1:
            part = part[..., 0]
        return rescaled(part, encoding.slope, encoding.intercept, volume.dtype)

    def _stored(
        self, path: str, encoding: Encoding, index: tuple[int | slice, ...]
    ) -> NDArray[Any]:
        """Return (x, y, z, channels) stored values without a copy; those of an index are known."""
        offset, dtype, extent = encoding.offset, encoding.dtype, encoding.extent
        if path in self._expected:
            data = self._inflated.read(path, encoding.end, encoding.end_of(index))
            return data[offset:].view(dtype).reshape(extent, order="F")
        if self._copies is not None and _is_packed(path):
            path = self._copies.plain(path, extension=".nii", nbytes=encoding.end)
        return np.memmap(path, dtype, "r", offset, extent, "F")


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
