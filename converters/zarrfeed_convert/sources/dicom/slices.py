"""What is a DICOM slice, where is it in the patient, and where in a volume?

Pure: numbers in, numbers out. A plane is a (3, 3) array that maps (row, column, 1) to millimetres,
LPS as in DICOM: x to the left, y to the back, z to the head. NIfTI's affines are RAS.

    plane = | step of a row | step of a column | centre of the first pixel |
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from zarrfeed_convert.affines import APART
from zarrfeed_convert.sources.rescale import rescaled_dtype
from zarrfeed_convert.sources.values import packed_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed_convert.header import Affine

PALETTE = "PALETTE COLOR"  # the photometric interpretation of indices
Plane: TypeAlias = NDArray[np.float64]
Size: TypeAlias = tuple[int, int]
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


def plane_of(
    position: Sequence[float], orientation: Sequence[float], spacing: Sequence[float]
) -> Plane:
    """Return the plane of a slice.

    Parameters
    ----------
    position
        (3,) ImagePositionPatient.
    orientation
        (6,) ImageOrientationPatient: the direction in which columns follow each other, then that
        of rows.
    spacing
        (2,) PixelSpacing: between rows, between columns.

    Examples
    --------
    >>> plane_of([-100, -120, 40], [1, 0, 0, 0, 1, 0], [0.5, 0.25]).tolist()
    [[0.0, 0.25, -100.0], [0.5, 0.0, -120.0], [0.0, 0.0, 40.0]]
    """
    along_columns, along_rows = np.array(orientation[:3], float), np.array(orientation[3:], float)
    return np.column_stack(
        [along_rows * spacing[0], along_columns * spacing[1], np.array(position, float)]
    )


def normal_of(plane: Plane) -> NDArray[np.float64]:
    """Return the unit vector along which the slices of a plane's volume follow each other."""
    normal: NDArray[np.float64] = np.cross(plane[:, 1], plane[:, 0])
    return normal / (np.linalg.norm(normal) or 1.0)


def same_grid(one: Plane, other: Plane, size: Size) -> bool:
    """Return whether two slices of one size have their pixels at the same positions."""
    pixel = np.linalg.norm(one[:, :2], axis=0).min()
    apart = np.linalg.norm((one - other) @ _corners(size), axis=0).max()
    return bool(apart <= APART * pixel)


@dataclass(frozen=True, slots=True)
class Slice:
    """A file's only image, or one of its frames.

    Attributes
    ----------
    path, frame, frames
        The file; the frame in it, from 0; its number of frames.
    size
        Height and width.
    channels
        Number of channels as decoded; 3 for palettes, too.
    stored
        The dtype as decoded.
    slope, intercept
        Of the rescaling of stored values; None if the file has none.
    table
        Whether the file has a lookup table instead.
    photometric, bits
        PhotometricInterpretation, and the number of bits that stored values use.
    negative
        Whether the lowest stored value is white.
    series, instance
        SeriesInstanceUID and SOPInstanceUID.
    number
        InstanceNumber.
    plane
        Where it lies; None if the file does not say.
    padding
        The stored value of pixels outside the picture, or the lowest and the highest of them.
    localizer
        Whether it shows where other slices are (a scout).
    depth
        The distance of slices that its file says, else their thickness, in mm; None if neither.
    """

    path: str
    frame: int
    frames: int
    size: tuple[int, int]
    channels: int
    stored: str
    slope: float | None
    intercept: float | None
    table: bool
    photometric: str
    bits: int
    negative: bool
    series: str
    instance: str
    number: int
    plane: Plane | None = field(compare=False)
    padding: tuple[float, ...] = ()
    localizer: bool = field(default=False, compare=False)
    depth: float | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """The file, with the number of the frame, from 1 as in DICOM."""
        return self.path if self.frames == 1 else f"{self.path}[frame={self.frame + 1}]"

    @property
    def has_palette(self) -> bool:
        """Whether stored values are indices of colours."""
        return self.photometric == PALETTE and self.channels == 3

    @property
    def scale(self) -> tuple[float, float]:
        """The slope and the intercept; 1 and 0 if the file has none."""
        return (1, 0) if self.slope is None else (self.slope, self.intercept or 0)

    def packed(self, *, rescale: bool) -> str:
        """Return the dtype of its values, rescaled or as stored."""
        stored = np.dtype(self.stored)
        if not rescale or self.has_palette:
            return packed_dtype(stored, self.name)
        if self.table:
            return "float32"
        return rescaled_dtype(stored, *self.scale, self.name, bits=self.bits)

    def padding_shown(self, *, rescale: bool) -> tuple[float, ...]:
        """Return the padding among the packed values; the stored one for lookup tables."""
        if not rescale or self.table or self.negative:
            return self.padding
        slope, intercept = self.scale
        return tuple(value * slope + intercept for value in self.padding)


@dataclass(frozen=True, slots=True)
class Series:
    """Slices that were acquired together.

    Attributes
    ----------
    uid
        SeriesInstanceUID.
    key
        The name of the series: its folder, or another name if that has several.
    place
        Its folder, or its only file.
    slices
        Sorted by position.
    affine
        Where the voxels of a volume are; see :class:`zarrfeed_convert.Header`.
    """

    uid: str
    key: str
    place: str
    slices: tuple[Slice, ...]
    affine: Affine | None = None


def in_order(slices: Sequence[Slice]) -> list[Slice]:
    """Sort slices along their normal; by instance number if a file does not say where it lies."""
    known = {one: one.plane for one in slices if one.plane is not None}
    if len(known) < len(slices):
        return sorted(slices, key=lambda one: (one.number, one.path, one.frame))
    normal = normal_of(known[min(slices, key=lambda one: (one.instance, one.frame))])

    def place(one: Slice) -> tuple[float, int, str, int]:
        millimetres = round(float(known[one][:, 2] @ normal), 3)
        return millimetres, one.number, one.path, one.frame

    return sorted(slices, key=place)


@dataclass(frozen=True, slots=True)
class Patch:
    """The part of a volume that shows a slice.

    Attributes
    ----------
    index
        The index along the three axes of the volume.
    transposed
        Whether the rows of the part are the columns of the slice.
    """

    index: tuple[int | slice, ...]
    transposed: bool

    def turn(self, part: NDArray[Any]) -> NDArray[Any]:
        """Transpose the part to the rows and columns of the slice."""
        return part.swapaxes(0, 1) if self.transposed else part


def patch_of(plane: Plane, size: Size, affine: NDArray[Any], shape: Sequence[int]) -> Patch | None:
    """Find the pixels of a slice in a volume.

    Parameters
    ----------
    plane, size
        The plane and the size of the slice.
    affine, shape
        The affine (4, 4), RAS, and the shape (3,) of the volume.

    Returns
    -------
    Patch or None
        None if pixels lie between voxels or outside the volume.
    """
    try:
        to_voxels = np.linalg.inv(affine)
    except np.linalg.LinAlgError:
        return None
    places = to_voxels[:3, :3] @ (LPS_TO_RAS @ plane)
    places[:, 2] += to_voxels[:3, 3]
    steps, start = np.rint(places[:, :2]).astype(int), np.rint(places[:, 2]).astype(int)
    rounded = np.column_stack([steps, start])
    if np.abs((places - rounded) @ _corners(size)).max() > APART:
        return None
    if (np.abs(steps).sum(axis=0) != 1).any():  # each step leads to the next voxel of one axis
        return None
    axes = [int(np.flatnonzero(steps[:, side])[0]) for side in range(2)]
    corners = rounded @ _corners(size)
    inside = (corners >= 0).all() and (corners < np.array(shape)[:, None]).all()
    if axes[0] == axes[1] or not inside:
        return None
    index: list[int | slice] = [int(at) for at in start]
    for side, axis in enumerate(axes):
        index[axis] = _run(int(start[axis]), int(steps[axis, side]), size[side])
    return Patch(tuple(index), axes[0] > axes[1])


def _run(start: int, step: int, count: int) -> slice:
    stop = start + step * count
    return slice(start, None if stop < 0 else stop, step)


def _corners(size: Size) -> NDArray[Any]:
    """Return (row, column, 1) of the four corner pixels, a column each."""
    last = size[0] - 1, size[1] - 1
    return np.array([[0, last[0], 0, last[0]], [0, 0, last[1], last[1]], [1, 1, 1, 1]])
