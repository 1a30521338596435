"""Do a volume and its labels show the same voxels, and how are they cut into samples?

Pure: it takes headers and returns axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from nibabel.orientations import inv_ornt_aff, io_orientation, ornt_transform

from zarrfeed.errors import SourceError, look_up
from zarrfeed_convert.mask_ids import several_values
from zarrfeed_convert.sources.axes import Axes
from zarrfeed_convert.sources.stacks.agreement import difference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.header import Affine
    from zarrfeed_convert.sources.stacks.nifti_file import Volume

_AS_STORED = np.array([[0, 1], [1, 1], [2, 1]])
_REVERSED = [2, 1, 0, 3]  # from the index (z, y, x, 1)


@dataclass(frozen=True, slots=True)
class Cut:
    """How volumes become samples.

    Attributes
    ----------
    axis
        The axis to slice along, after volumes are reoriented; None for whole volumes, whose arrays
        are (z, y, x), as in SimpleITK.
    canonical
        Reorient volumes to RAS before they are sliced.
    warn
        Pair voxels by index if shapes are equal, whatever the affines say.
    one_hot
        Labels may have a channel per class along the fourth axis.
    images
        Whether files hold one image each, so that a slice is named like its file.
    """

    axis: int | None
    canonical: bool = False
    warn: bool = False
    one_hot: bool = False
    images: bool = False

    @property
    def numbered(self) -> bool:
        """Whether samples are slices with numbers."""
        return self.axis is not None and not self.images


def volume_axes(
    shape: Sequence[int],
    channels: int,
    *,
    axis: int | None,
    orientation: NDArray[Any] = _AS_STORED,
    planes_first: bool = False,
) -> Axes:
    """Find the slices, rows, columns and channels among the axes of a stored volume.

    Parameters
    ----------
    shape, channels
        The shape (3,) of the volume, and the number of values per voxel.
    axis
        The axis to slice along, after the volume is reoriented: 0, 1, 2 for x, y, z; None for
        (z, y, x) as one sample.
    orientation
        (3, 2), as in nibabel: for each stored axis, the axis that it becomes, and 1 or -1.
    planes_first
        Whether stored axes are z, y, x.
    """
    spatial, samples = _stored(orientation), list[int]()
    if axis is not None:
        samples.append(spatial.pop(2 - axis if planes_first else axis))
    elif not planes_first:
        spatial.reverse()
    letters = "zyx" if planes_first else "xyz"
    return Axes(
        f"{letters}c" if channels > 1 else letters,
        (*shape, channels) if channels > 1 else tuple(shape),
        tuple(samples),
        tuple(spatial),
        3 if channels > 1 else None,
        frozenset(at for at in range(3) if orientation[at, 1] < 0),
    )


def _stored(orientation: NDArray[Any]) -> list[int]:
    """Return the stored axis of each axis of the reoriented volume."""
    becomes = [int(number) for number in orientation[:, 0]]
    return [becomes.index(number) for number in range(3)]


@dataclass(frozen=True, slots=True)
class VolumePair:
    """A volume, or a volume per channel, and its labels.

    Attributes
    ----------
    key
        The name of the case.
    images, labels
        The files; None for images alone.
    axes
        The axes of each image, then of the labels, in the samples.
    affine
        From the index (z, y, x, 1) of the whole volume to millimetres; None for slices, and if the
        file's affine is none.
    elsewhere
        A sentence for each file that is elsewhere and was accepted all the same.
    """

    key: str
    images: tuple[Volume, ...]
    labels: Volume | None
    axes: tuple[Axes, ...]
    affine: Affine | None = None
    elsewhere: tuple[str, ...] = ()

    @property
    def channels(self) -> int:
        """The number of channels of the images."""
        files = len(self.images)
        return files if files > 1 else self.images[0].channels

    @property
    def count(self) -> int:
        """The number of slices; 1 for a whole volume."""
        return self.axes[0].count

    @property
    def size(self) -> tuple[int, ...]:
        """The height and width of the slices, or the depth, height and width of the volume."""
        return self.axes[0].size


def volume_pair_of(
    key: str, images: Sequence[Volume], labels: Volume | None, cut: Cut
) -> VolumePair:
    """Match a volume with its labels, and the volumes of its channels with each other.

    Parameters
    ----------
    key, images, labels
        As in :class:`VolumePair`.
    cut
        What their samples are.

    Raises
    ------
    SourceError
        Shapes or positions differ, or a file has channels that may have none.
    """
    first = images[0]
    _require_channels(images, labels, one_hot=cut.one_hot)
    turn = _orientation(first, canonical=cut.canonical)
    axes, elsewhere = [], list[str]()
    for volume in (*images, *([] if labels is None else [labels])):
        own = turn
        if volume is not first:
            own, said = _matching(first, turn, volume, cut, is_labels=volume is labels)
            elsewhere += said
        axes.append(
            volume_axes(
                volume.shape,
                volume.channels,
                axis=cut.axis,
                orientation=own,
                planes_first=volume.planes_first,
            )
        )
    affine = None if cut.axis is not None else _affine(first)
    return VolumePair(key, tuple(images), labels, tuple(axes), affine, tuple(elsewhere))


def _affine(volume: Volume) -> Affine | None:
    """Return the affine of a volume's index (z, y, x, 1); None if it places no volume."""
    affine = volume.affine
    if not np.isfinite(affine).all() or not np.linalg.det(affine[:3, :3]):
        return None
    if not volume.planes_first:
        affine = affine[:, _REVERSED]
    return tuple(tuple(map(float, row)) for row in affine)


def _matching(
    first: Volume, turn: NDArray[Any], other: Volume, cut: Cut, *, is_labels: bool
) -> tuple[NDArray[Any], list[str]]:
    """Return the orientation by which a file's voxels are those of the first, and what differs."""
    if cut.axis is None:
        own = _toward(first, other)
    elif cut.warn and is_labels:
        own = turn
    else:
        own = _orientation(other, canonical=cut.canonical)
    shape, other_shape = _turned_shape(first, turn), _turned_shape(other, own)
    if shape != other_shape:
        raise SourceError(
            f"{first.path}: needed volumes of one shape, found {'×'.join(map(str, shape))}, but "
            f"{'×'.join(map(str, other_shape))} in {other.path}; resample one, or take both out"
            f"{look_up('geometry')}"
        )
    if np.isnan(first.affine).all() or np.isnan(other.affine).all():
        return own, []  # one does not say where it is
    affine, other_affine = _turned_affine(first, turn), _turned_affine(other, own)
    found = difference(affine, other_affine, shape)
    if found.tolerated:
        return own, []
    values = f"the affine {_rounded(affine)}, but {_rounded(other_affine)} in {other.path}: {found}"
    if cut.warn:
        return own, [f"{first.path}: {values}"]
    raise SourceError(
        f"{first.path}: needed volumes at the same position, found {values}; if their voxels match "
        "anyway, use --geometry warn"
        f"{look_up('geometry')}"
    )


def _toward(first: Volume, other: Volume) -> NDArray[Any]:
    """Return the orientation in which a volume lies as the first does, if there is one."""
    there = _turned_affine(other, _AS_STORED)
    if first.shape == other.shape and difference(first.affine, there, first.shape).tolerated:
        return _AS_STORED  # also where axes are between two directions
    if not (np.isfinite(first.affine).all() and np.isfinite(other.affine).all()):
        return _AS_STORED
    axes = [io_orientation(one.affine) for one in (other, first)]  # type: ignore[no-untyped-call]
    if not np.isfinite(axes).all():  # an affine is flat
        return _AS_STORED
    turn: NDArray[Any] = ornt_transform(*axes)  # type: ignore[no-untyped-call]
    if _turned_shape(other, turn) != first.shape:
        return _AS_STORED
    placed = _turned_affine(other, turn)
    return turn if difference(first.affine, placed, first.shape).tolerated else _AS_STORED


def _orientation(volume: Volume, *, canonical: bool) -> NDArray[Any]:
    if not canonical:
        return _AS_STORED
    if not volume.oriented:
        raise SourceError(
            f"{volume.path}: needed a qform or sform, which say the orientation of the volume, "
            "found neither (their codes are 0), where programs guess differently; write the "
            "orientation into the file, or leave out --option canonical=yes"
            f"{look_up('orientation')}"
        )
    orientation: NDArray[Any] = io_orientation(volume.affine)  # type: ignore[no-untyped-call]
    if not np.isfinite(orientation).all():
        raise SourceError(
            f"{volume.path}: needed an affine that gives the orientation of the volume, "
            f"found {_rounded(volume.affine)}; leave out --option canonical=yes"
        )
    return orientation


def _require_channels(images: Sequence[Volume], labels: Volume | None, *, one_hot: bool) -> None:
    several = [image for image in images if len(images) > 1 and image.channels > 1]
    if several:
        raise SourceError(
            f"{images[0].path}: needed one channel in every file, found "
            f"{several[0].channels} in {several[0].path}; give one image suffix"
        )
    if labels is not None and labels.channels > 1 and not (labels.colors or one_hot):
        raise SourceError(several_values(labels.path, labels.channels))


def _turned_shape(volume: Volume, orientation: NDArray[Any]) -> tuple[int, ...]:
    return tuple(volume.shape[at] for at in _stored(orientation))


def _turned_affine(volume: Volume, orientation: NDArray[Any]) -> NDArray[Any]:
    stored_affine = inv_ornt_aff(orientation, volume.shape)  # type: ignore[no-untyped-call]
    affine: NDArray[Any] = volume.affine @ stored_affine
    return affine


def _rounded(affine: NDArray[Any]) -> list[list[float]]:
    return [[round(float(number), 3) for number in row] for row in affine[:3]]
