"""What does a NIfTI file hold, and how is a part of it read?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
from nibabel.volumeutils import apply_read_scaling

from zarrfeed.errors import SourceError
from zarrfeed_convert.sources.stacks.decompressed import DecompressedCopies
from zarrfeed_convert.sources.values import packed_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

VOLUMES = (".nii", ".nii.gz")  # extensions


@dataclass(frozen=True, slots=True)
class Volume:
    """A NIfTI file, as its header says.

    Attributes
    ----------
    path
        The file.
    shape
        (3,) of its voxels.
    channels
        Values of a voxel: along the fourth axis, or as colours.
    colors
        Whether its values are stored as RGB or RGBA.
    dtype
        As it is packed.
    affine
        (4, 4) from voxels to millimetres, RAS.
    """

    path: str
    shape: tuple[int, int, int]
    channels: int
    colors: bool
    dtype: str
    affine: NDArray[np.float64] = field(compare=False)


def measure_volume(path: str) -> Volume:
    """Read a file's header.

    Raises
    ------
    SourceError
        It is no volume, or one with more axes than voxels and channels need.
    """
    image: Any = nib.load(path)
    dtype, extent = image.get_data_dtype(), _extent(image.shape, path)
    if dtype.names:
        channels, numbers = len(dtype.names) * extent[3], dtype[0]
    else:
        channels, numbers = extent[3], dtype
    if _scaling(image) is not None:
        numbers = np.dtype(np.float64)
    return Volume(
        path,
        extent[:3],
        channels,
        bool(dtype.names),
        packed_dtype(numbers, path),
        np.asarray(image.affine, np.float64),
    )


class VolumeReader:
    """Reads parts of volumes, from files that are mapped. Picklable, safe in threads."""

    def __init__(self, paths: Sequence[str]) -> None:
        packed = any(path.lower().endswith(".gz") for path in paths)
        self._copies = DecompressedCopies() if packed else None

    def read(self, volume: Volume, index: tuple[int | slice, ...]) -> NDArray[Any]:
        """Read a part of a volume into new memory.

        Parameters
        ----------
        volume
            Which one.
        index
            Along the three axes of voxels.

        Returns
        -------
        (…) or (…, C)
            Values as they are meant: scaled, if the file says how.
        """
        path = volume.path
        if self._copies is not None and path.lower().endswith(".gz"):
            path = self._copies.plain(path, extension=".nii")
        image: Any = nib.load(path)
        # Mapped, and without a copy: axes of length 1 come and go.
        stored = image.dataobj.get_unscaled().reshape(_extent(image.shape, volume.path))
        part = np.array(stored[(*index, slice(None))])
        if volume.colors:
            part = np.stack([part[..., 0][name] for name in part.dtype.names or ()], axis=-1)
        elif volume.channels == 1:
            part = part[..., 0]
        scaling = _scaling(image)
        return part if scaling is None else np.asarray(apply_read_scaling(part, *scaling))


def _scaling(image: Any) -> tuple[float, float] | None:
    slope, inter = image.dataobj.slope, image.dataobj.inter
    return None if (slope, inter) == (1, 0) else (slope, inter)


def _extent(shape: Sequence[int], path: str) -> tuple[int, int, int, int]:
    """Give three axes of voxels and one of channels; a fourth of one is time, before vectors."""
    voxels = [*shape[:3], 1, 1, 1][:3]
    channels = [size for size in shape[3:] if size > 1]
    if len(channels) > 1:
        raise SourceError(
            f"{path}: needed a volume of 3 axes, or 4 of which the last are channels, found "
            f"{'×'.join(map(str, shape))}"
        )
    return voxels[0], voxels[1], voxels[2], channels[0] if channels else 1
