"""Do a volume and its labels show the same voxels, and how are they cut into slices?

Pure: it takes headers and returns axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from nibabel.orientations import inv_ornt_aff, io_orientation

from zarrfeed.errors import SourceError
from zarrfeed_convert.mask_ids import several_values
from zarrfeed_convert.sources.axes import Axes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.sources.stacks.volumes import Volume

_TOLERANCE = 0.1  # of a voxel: what rounding of affines makes is a hundredth of it
_AS_STORED = np.array([[0, 1], [1, 1], [2, 1]])


def volume_axes(
    shape: Sequence[int], channels: int, *, axis: int, orientation: NDArray[Any] = _AS_STORED
) -> Axes:
    """Find the slices, rows, columns and channels among the axes of a stored volume.

    Parameters
    ----------
    shape, channels
        The shape (3,) of the volume, and the number of values per voxel.
    axis
        The axis to slice along, after the volume is reoriented.
    orientation
        (3, 2), as in nibabel: for each stored axis, the axis that it becomes, and 1 or -1.
    """
    stored = _stored(orientation)
    slices = stored.pop(axis)
    rows, columns = stored
    return Axes(
        "xyzc" if channels > 1 else "xyz",
        (*shape, channels) if channels > 1 else tuple(shape),
        (slices,),
        (rows, columns),
        3 if channels > 1 else None,
        frozenset(at for at in range(3) if orientation[at, 1] < 0),
    )


def _stored(orientation: NDArray[Any]) -> list[int]:
    """Return the stored axis of each axis of the reoriented volume."""
    becomes = [int(number) for number in orientation[:, 0]]
    return [becomes.index(number) for number in range(3)]


def apart(one: NDArray[Any], other: NDArray[Any], shape: Sequence[int]) -> float:
    """Return the largest distance of a volume's corners by two affines, in voxels of the first.

    Examples
    --------
    >>> moved = np.eye(4)
    >>> moved[0, 3] = 2
    >>> apart(np.eye(4), moved, (5, 5, 5))
    2.0
    """
    corners = np.array([[*corner, 1] for corner in product(*((0, size - 1) for size in shape))])
    distance = np.linalg.norm((corners @ (one - other).T)[:, :3], axis=1).max()
    voxel = np.linalg.norm(one[:3, :3], axis=0).min()
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.nan_to_num(distance / voxel, nan=np.inf if distance else 0.0))


def alike(one: NDArray[Any], other: NDArray[Any], shape: Sequence[int]) -> bool:
    """Return whether two affines place the voxels of a volume at nearly the same positions."""
    return apart(one, other, shape) <= _TOLERANCE


@dataclass(frozen=True, slots=True)
class Case:
    """A volume, or a volume per channel, and its labels.

    Attributes
    ----------
    key
        The name of the case.
    images, labels
        The files; None for images alone.
    axes
        The axes of each image, then of the labels; slices are samples.
    """

    key: str
    images: tuple[Volume, ...]
    labels: Volume | None
    axes: tuple[Axes, ...]

    @property
    def channels(self) -> int:
        """The number of channels of the images."""
        files = len(self.images)
        return files if files > 1 else self.images[0].channels

    @property
    def count(self) -> int:
        """The number of slices."""
        return self.axes[0].count

    @property
    def size(self) -> tuple[int, ...]:
        """The height and width of the slices."""
        return self.axes[0].size


def case_of(
    key: str,
    images: Sequence[Volume],
    labels: Volume | None,
    *,
    axis: int,
    canonical: bool,
    ignore_affine: bool,
    one_hot: bool,
) -> Case:
    """Match a volume with its labels, and the volumes of its channels with each other.

    Parameters
    ----------
    key, images, labels
        As in :class:`Case`.
    axis
        The axis to slice along, after volumes are reoriented.
    canonical
        Reorient volumes to RAS.
    ignore_affine
        Pair voxels by index if shapes are equal, whatever the affines say.
    one_hot
        Labels may have a channel per class along the fourth axis.

    Raises
    ------
    SourceError
        Shapes or positions differ, or a file has channels that may have none.
    """
    turns = [_orientation(volume, canonical=canonical) for volume in images]
    volumes = [*images]
    if labels is not None:
        turns.append(turns[0] if ignore_affine else _orientation(labels, canonical=canonical))
        volumes.append(labels)
    axes = (
        volume_axes(volume.shape, volume.channels, axis=axis, orientation=turn)
        for volume, turn in zip(volumes, turns, strict=True)
    )
    case = Case(key, tuple(images), labels, tuple(axes))
    _require_channels(case, one_hot=one_hot)
    for other, turn in zip(volumes[1:], turns[1:], strict=True):
        _require_same_shape(images[0], turns[0], other, turn)
        if not ignore_affine:
            _require_same_place(images[0], turns[0], other, turn)
    return case


def _orientation(volume: Volume, *, canonical: bool) -> NDArray[Any]:
    if not canonical:
        return _AS_STORED
    orientation: NDArray[Any] = io_orientation(volume.affine)  # type: ignore[no-untyped-call]
    if not np.isfinite(orientation).all():
        raise SourceError(
            f"{volume.path}: needed an affine that gives the orientation of the volume, "
            f"found {_rounded(volume.affine)}; leave out --option canonical=yes"
        )
    return orientation


def _require_channels(case: Case, *, one_hot: bool) -> None:
    files = len(case.images)
    several = [image for image in case.images if files > 1 and image.channels > 1]
    if several:
        raise SourceError(
            f"{case.images[0].path}: needed one channel in every file, found "
            f"{several[0].channels} in {several[0].path}; give one image suffix"
        )
    labels = case.labels
    if labels is not None and labels.channels > 1 and not (labels.colors or one_hot):
        raise SourceError(several_values(labels.path, labels.channels))


def _require_same_shape(
    image: Volume, turn: NDArray[Any], other: Volume, other_turn: NDArray[Any]
) -> None:
    shape, other_shape = _turned_shape(image, turn), _turned_shape(other, other_turn)
    if shape != other_shape:
        raise SourceError(
            f"{image.path}: needed volumes of one shape, found {'×'.join(map(str, shape))}, but "
            f"{'×'.join(map(str, other_shape))} in {other.path}; resample one, or take both out"
        )


def _require_same_place(
    image: Volume, turn: NDArray[Any], other: Volume, other_turn: NDArray[Any]
) -> None:
    affine, other_affine = _turned_affine(image, turn), _turned_affine(other, other_turn)
    if not alike(affine, other_affine, _turned_shape(image, turn)):
        raise SourceError(
            f"{image.path}: needed volumes at the same position, found the affine "
            f"{_rounded(affine)}, but {_rounded(other_affine)} in {other.path}; if their voxels "
            "match anyway, use --option ignore_affine=yes"
        )


def _turned_shape(volume: Volume, orientation: NDArray[Any]) -> tuple[int, ...]:
    return tuple(volume.shape[at] for at in _stored(orientation))


def _turned_affine(volume: Volume, orientation: NDArray[Any]) -> NDArray[Any]:
    stored_affine = inv_ornt_aff(orientation, volume.shape)  # type: ignore[no-untyped-call]
    affine: NDArray[Any] = volume.affine @ stored_affine
    return affine


def _rounded(affine: NDArray[Any]) -> list[list[float]]:
    return [[round(float(number), 3) for number in row] for row in affine[:3]]
