"""Where are the voxels of a volume, and where will they be once it is turned and resampled?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError, look_up
from zarrfeed_convert.affines import require_affine, require_orthogonal, spacing_of
from zarrfeed_convert.orientation import Turn, turn_to
from zarrfeed_convert.resampling import Resampling, resample, resampling_to
from zarrfeed_convert.source import whole_window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed_convert.header import Header
    from zarrfeed_convert.source import Role, Window


@dataclass(frozen=True, slots=True)
class VolumeGrid:
    """How a volume is turned and resampled.

    Attributes
    ----------
    size
        (D, H, W) of the volume as its source gives it.
    turn, resampling
        What is done, in this order; None if nothing is to do.
    affine
        (4, 4) affine of the result.
    """

    size: tuple[int, ...]
    turn: Turn | None
    resampling: Resampling | None
    affine: NDArray[np.float64]

    @property
    def turned_size(self) -> tuple[int, ...]:
        """(D, H, W) of the turned volume."""
        return self.turn.size(self.size) if self.turn else self.size

    @property
    def new_size(self) -> tuple[int, ...]:
        """(D, H, W) of the result."""
        return self.resampling.after if self.resampling else self.turned_size

    @property
    def whole(self) -> Window:
        """Window of the whole result."""
        return whole_window(self.new_size)

    def window_before(self, window: Window) -> Window:
        """Return the part of the volume that a window of the result is made of."""
        if self.resampling:
            window = tuple(taps.span for taps in self.resampling.taps(window))
        return self.turn.window(window, self.size) if self.turn else window

    def apply(self, values: NDArray[Any], role: Role, window: Window) -> NDArray[Any]:
        """Make a window of the result.

        Parameters
        ----------
        values
            (d, h, w, …) part of the volume; see :meth:`window_before`.
        role
            Role of its field.
        window
            Window of the result.

        Returns
        -------
        ndarray
            The window, with the dtype of `values`; C-contiguous.
        """
        if self.turn:
            values = self.turn.apply(values)
        if self.resampling is None:
            return np.ascontiguousarray(values)
        taps = (along.part(slice(None), along.span.start) for along in self.resampling.taps(window))
        return resample(values, tuple(taps), role)


def grid_of(
    header: Header, *, orient: str | None, spacing: tuple[float, ...] | None, name: str
) -> VolumeGrid:
    """Return how a volume gets an orientation and a spacing.

    Parameters
    ----------
    header
        Header of the volume.
    orient
        To where its x, y and z axes will point, such as ``RAS``; None to keep its orientation.
    spacing
        Spacing along D, H and W of the turned volume, in mm; None to keep its spacing.
    name
        Name of the volume, for errors.

    Raises
    ------
    SourceError
        It is no volume, or has no affine, or one that cannot be inverted or whose axes are not at
        right angles. Or its file says no orientation from which to turn it. Or it would have too
        many voxels.
    """
    affine = _affine_of(header, name)
    if orient is not None and not header.oriented:
        raise SourceError(
            f"{name}: needed an orientation to turn the volume, found a file that says none (NIfTI "
            "with neither qform nor sform: their codes are 0; NRRD without a space), where "
            "programs guess differently; write the orientation into the file, or keep it as it is "
            "(--orient keep)"
            f"{look_up('orientation')}"
        )
    turn = None if orient is None else turn_to(orient, affine)
    size = header.size
    if turn:
        affine = affine @ turn.matrix(size)
        size = turn.size(size)
    resampling = None
    if spacing is not None:
        resampling = resampling_to(spacing, spacing_of(affine), size, name=name)
    if resampling:
        affine = affine @ resampling.matrix
    return VolumeGrid(header.size, turn, resampling, affine)


def _affine_of(header: Header, name: str) -> NDArray[np.float64]:
    if len(header.size) != 3:
        raise SourceError(
            f"{name}: needed a volume (D, H, W) to orient or resample, found an image "
            f"{header.size}; read volumes as such (--as volumes), or leave --orient and --spacing "
            "out and use --size with --fit resize"
            f"{look_up('orientation')}"
        )
    if header.affine is None:
        raise SourceError(
            f"{name}: needed an affine, which says where voxels are in the world, to orient or "
            "resample it, found none; use a format that has it, such as nifti or dicom, or leave "
            "--orient and --spacing out"
            f"{look_up('orientation')}"
        )
    affine = require_affine(header.affine, 3, name=name)
    require_orthogonal(affine, name=name)
    return affine
