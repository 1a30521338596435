"""Do a volume and its labels show the same voxels, and how are both cut into slices?

Pure: headers in, cuts out.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from nibabel.orientations import inv_ornt_aff, io_orientation

from zarrfeed.errors import SourceError
from zarrfeed_convert.mask_ids import several_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.sources.stacks.volumes import Volume

Shape = tuple[int, int, int]
_TOLERANCE = 0.1  # of a voxel: what rounding of affines makes is a hundredth of it


@dataclass(frozen=True, slots=True)
class Slicing:
    """How slices of a volume are cut along one of its axes.

    Attributes
    ----------
    axis
        Of the volume as it is cut, after it was turned.
    stored
        (3,) the stored axis that each axis of the turned volume is.
    flipped
        (3,) whether each axis of the turned volume runs against the stored one.
    """

    axis: int
    stored: tuple[int, int, int] = (0, 1, 2)
    flipped: tuple[bool, bool, bool] = (False, False, False)

    @classmethod
    def along(cls, axis: int, orientation: NDArray[Any]) -> Slicing:
        """Turn a volume as its orientation says.

        Parameters
        ----------
        axis
            To cut along, of the turned volume.
        orientation
            (3, 2) as nibabel has it: for each stored axis, which axis it becomes, and 1 or -1.
        """
        becomes = [int(number) for number in orientation[:, 0]]
        first, second, third = (becomes.index(number) for number in range(3))
        one, two, three = (bool(orientation[at, 1] < 0) for at in (first, second, third))
        return cls(axis, (first, second, third), (one, two, three))

    def turned(self, shape: Sequence[int]) -> Shape:
        """Give the shape of a stored volume once it is turned."""
        first, second, third = (shape[at] for at in self.stored)
        return first, second, third

    def count(self, shape: Sequence[int]) -> int:
        """Count the slices of a stored volume."""
        return shape[self.stored[self.axis]]

    def size(self, shape: Sequence[int]) -> tuple[int, int]:
        """Give the height and width of a stored volume's slices."""
        height, width = (shape[self.stored[axis]] for axis in self._across)
        return height, width

    def index(self, shape: Sequence[int], number: int) -> tuple[int | slice, ...]:
        """Index a stored volume with it to get a slice."""
        index: list[int | slice] = [slice(None)] * 3
        last = self.count(shape) - 1
        index[self.stored[self.axis]] = last - number if self.flipped[self.axis] else number
        return tuple(index)

    def turn(self, part: NDArray[Any]) -> NDArray[Any]:
        """Turn what :meth:`index` gives: (H, W) or (H, W, C)."""
        across = self._across
        if self.stored[across[0]] > self.stored[across[1]]:
            part = part.swapaxes(0, 1)
        steps = tuple(slice(None, None, -1 if self.flipped[axis] else 1) for axis in across)
        return part[steps]

    @property
    def _across(self) -> tuple[int, int]:
        first, second = (axis for axis in range(3) if axis != self.axis)
        return first, second


def apart(one: NDArray[Any], other: NDArray[Any], shape: Sequence[int]) -> float:
    """Measure how far apart two affines put the corners of a volume, in voxels of the first.

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
    """Tell whether two affines put a volume's voxels at nearly the same places."""
    return apart(one, other, shape) <= _TOLERANCE


@dataclass(frozen=True, slots=True)
class Case:
    """A volume, or one for each channel, with its labels.

    Attributes
    ----------
    key
        Names it.
    images, labels
        The files.
    cuts
        How each of the images is cut.
    labels_cut
        How the labels are.
    """

    key: str
    images: tuple[Volume, ...]
    labels: Volume
    cuts: tuple[Slicing, ...]
    labels_cut: Slicing

    @property
    def channels(self) -> int:
        """Of the images."""
        files = len(self.images)
        return files if files > 1 else self.images[0].channels

    @property
    def count(self) -> int:
        """How many slices there are."""
        return self.cuts[0].count(self.images[0].shape)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the slices."""
        return self.cuts[0].size(self.images[0].shape)


def case_of(
    key: str,
    images: Sequence[Volume],
    labels: Volume,
    *,
    axis: int,
    canonical: bool,
    ignore_affine: bool,
    one_hot: bool,
) -> Case:
    """Bring a volume and its labels together.

    Parameters
    ----------
    key, images, labels
        As in :class:`Case`.
    axis
        To cut along, once volumes are turned.
    canonical
        Turn volumes to RAS.
    ignore_affine
        Take it that voxels of the same indices belong together, if the shapes are equal.
    one_hot
        Labels may have a channel for each class along the fourth axis.

    Raises
    ------
    SourceError
        Shapes or places differ, or there are channels where none may be.
    """
    cuts = [_cut(volume, axis, canonical=canonical) for volume in images]
    labels_cut = cuts[0] if ignore_affine else _cut(labels, axis, canonical=canonical)
    case = Case(key, tuple(images), labels, tuple(cuts), labels_cut)
    _require_channels(case, one_hot=one_hot)
    for other, cut in zip((*images[1:], labels), (*cuts[1:], labels_cut), strict=True):
        _require_same_shape(images[0], cuts[0], other, cut)
        if not ignore_affine:
            _require_same_place(images[0], cuts[0], other, cut)
    return case


def _cut(volume: Volume, axis: int, *, canonical: bool) -> Slicing:
    if not canonical:
        return Slicing(axis)
    orientation = io_orientation(volume.affine)  # type: ignore[no-untyped-call]
    if not np.isfinite(orientation).all():
        raise SourceError(
            f"{volume.path}: needed an affine that says how the volume lies, found "
            f"{_rounded(volume.affine)}; leave out --option canonical=yes"
        )
    return Slicing.along(axis, orientation)


def _require_channels(case: Case, *, one_hot: bool) -> None:
    files = len(case.images)
    several = [image for image in case.images if files > 1 and image.channels > 1]
    if several:
        raise SourceError(
            f"{case.images[0].path}: needed one channel in every file, found "
            f"{several[0].channels} in {several[0].path}; give one image suffix"
        )
    if case.labels.channels > 1 and not (case.labels.colors or one_hot):
        raise SourceError(several_values(case.labels.path, case.labels.channels))


def _require_same_shape(image: Volume, cut: Slicing, other: Volume, other_cut: Slicing) -> None:
    shape, other_shape = cut.turned(image.shape), other_cut.turned(other.shape)
    if shape != other_shape:
        raise SourceError(
            f"{image.path}: needed volumes of one shape, found {'×'.join(map(str, shape))}, and "
            f"{'×'.join(map(str, other_shape))} of {other.path}"
        )


def _require_same_place(image: Volume, cut: Slicing, other: Volume, other_cut: Slicing) -> None:
    affine, other_affine = _turned(image, cut), _turned(other, other_cut)
    if not alike(affine, other_affine, cut.turned(image.shape)):
        raise SourceError(
            f"{image.path}: needed volumes at one place, found the affine {_rounded(affine)}, and "
            f"{_rounded(other_affine)} of {other.path}; if their voxels belong together all the "
            "same, use --option ignore_affine=yes"
        )


def _turned(volume: Volume, cut: Slicing) -> NDArray[Any]:
    """Give the affine that a volume has once it is turned."""
    orientation = np.empty((3, 2))
    for axis, stored in enumerate(cut.stored):
        orientation[stored] = axis, -1 if cut.flipped[axis] else 1
    stored_affine = inv_ornt_aff(orientation, volume.shape)  # type: ignore[no-untyped-call]
    affine: NDArray[Any] = volume.affine @ stored_affine
    return affine


def _rounded(affine: NDArray[Any]) -> list[list[float]]:
    return [[round(float(number), 3) for number in row] for row in affine[:3]]
