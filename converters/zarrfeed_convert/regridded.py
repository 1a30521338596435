"""How do the volumes of a source get one orientation and one spacing?

:class:`RegriddedSource` presents another source's samples turned, then resampled. Planning, packing
and verifying know nothing of it: to them, the volumes are so.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed_convert.affines import rows_of
from zarrfeed_convert.arguments import require_spacing
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.geometry import size_text
from zarrfeed_convert.header import ArrayHeader, Header
from zarrfeed_convert.orientation import require_codes
from zarrfeed_convert.source import JSON, Mask, Source, window_size
from zarrfeed_convert.volume_grid import VolumeGrid, grid_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.geometry import Size
    from zarrfeed_convert.resampling import Resampling
    from zarrfeed_convert.source import Window

_ENLARGED = 64  # times its own size that a volume read in windows may have when it is resampled


class RegriddedSource(Source):
    """The samples of another source, turned and resampled.

    Images are interpolated linearly; masks and targets take the nearest voxel. The affine in each
    header is that of the result. All else, also the description, is that of the other source.

    Parameters
    ----------
    inner
        A source of volumes whose headers have an affine.
    orient
        To where the x, y and z axes point, such as ``RAS``; None to keep the orientation.
    spacing
        Spacing along D, H, W of the turned volumes, in mm; None to keep it.
    limits
        Limits of what a resampled volume may claim.

    Attributes
    ----------
    more_nbytes
        Bytes that decoding the other source's samples takes beyond those of the results; 0 until
        someone has measured them.
    affines_digest
        Digest of the affines in the other source's headers, by which results may change though
        their headers do not; empty until someone has read them.

    Raises
    ------
    SourceError
        `orient` or `spacing` is invalid.
    """

    def __init__(
        self,
        inner: Source,
        *,
        orient: str | None = None,
        spacing: tuple[float, ...] | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.inner = inner
        self.orient = None if orient is None else require_codes(orient)
        self.spacing = require_spacing(spacing)
        self.fields, self.classes, self.ignore = inner.fields, inner.classes, inner.ignore
        self.classes_from = inner.classes_from
        self.left_out, self.remarks = inner.left_out, inner.remarks
        self.opened, self.arguments = inner.opened, inner.arguments
        self.more_nbytes = 0
        self.affines_digest = ""
        self._limits = limits or Limits()
        self._last: tuple[int, Header, VolumeGrid] | None = None

    def over(self, inner: Source) -> RegriddedSource:
        """Return the same over another source of the same samples."""
        done = RegriddedSource(inner, orient=self.orient, spacing=self.spacing, limits=self._limits)
        done.remarks, done.more_nbytes = self.remarks, self.more_nbytes
        done.affines_digest = self.affines_digest
        return done

    @property
    def keys(self) -> Sequence[str]:
        """Names of all samples."""
        return self.inner.keys

    @property
    def memory_nbytes(self) -> int:
        """Bytes that the other source keeps, and `more_nbytes`."""
        return self.inner.memory_nbytes + self.more_nbytes

    def describe(self) -> JSON:
        """Return the description of the other source."""
        return self.inner.describe()

    def names(self, sample: int) -> tuple[str, ...]:
        """Return the names of a sample's fields."""
        return self.inner.names(sample)

    def shown_colors(self, sample: int) -> Mapping[int, int]:
        """Return the palette indices that a mask uses, with their colours."""
        return self.inner.shown_colors(sample)

    def probe(self, sample: int) -> Header:
        """Return the header of a turned and resampled sample.

        Raises
        ------
        SourceError
            The sample is no volume, or has no affine, or one that cannot be used. Or the result
            would be too large, or have a single voxel along an axis that has several, as of
            spacings in a file that are not in millimetres.
        """
        header, grid = self._grid(sample)
        return replace(
            header, arrays=_arrays_of(header, grid.new_size), affine=rows_of(grid.affine)
        )

    def read(self, sample: int) -> tuple[NDArray[Any], ...]:
        """Decode a sample, turn and resample it."""
        _, grid = self._grid(sample)
        found = self.inner.read(sample)
        self._require_promised(sample, found, grid.size)
        before = grid.window_before(grid.whole)
        return self._made(grid, (values[before] for values in found), grid.whole)

    def require_whole(self, sample: int, header: Header) -> None:
        """Refuse a sample that is too large to be decoded, or resampled, as a whole."""
        inner, grid = self._grid(sample)
        self.inner.require_whole(sample, inner)
        if grid.resampling:
            for shape, dtype in header.arrays.values():
                self._limits.require(
                    shape, dtype or np.uint8, self.names(sample)[0], "a resampled volume"
                )

    def reads_windows(self, sample: int) -> bool:
        """Return whether the other source reads windows of a sample."""
        return self.inner.reads_windows(sample)

    def read_window(self, sample: int, window: Window) -> tuple[NDArray[Any], ...]:
        """Decode the part of a sample that a window is made of, turn and resample it."""
        _, grid = self._grid(sample)
        before = grid.window_before(window)
        found = self.inner.read_window(sample, before)
        self._require_promised(sample, found, window_size(before))
        return self._made(grid, found, window)

    def decoded_together(self, sample: int) -> tuple[int, ...]:
        """Return what the other source decodes as a whole, as it is in the result."""
        _, grid = self._grid(sample)
        chunk = self.inner.decoded_together(sample)
        if not chunk:
            return ()
        turned = grid.turn.size(chunk) if grid.turn else chunk
        return tuple(
            min(new, max(1, math.ceil(extent * new / old)))
            for extent, new, old in zip(turned, grid.new_size, grid.turned_size, strict=True)
        )

    def read_mask_window(self, sample: int, window: Window) -> Mask:
        """Decode the part of a sample's mask that a window is made of, turn and resample it."""
        _, grid = self._grid(sample)
        before = grid.window_before(window)
        found = self.inner.read_mask_window(sample, before)
        size = window_size(before)
        self._require_promised(sample, (found,), size, self.names(sample)[1:2])
        return grid.apply(found, "mask", window)

    def read_mask(self, sample: int) -> Mask:
        """Decode a sample's mask, turn and resample it."""
        _, grid = self._grid(sample)
        found = self.inner.read_mask(sample)
        self._require_promised(sample, (found,), grid.size, self.names(sample)[1:2])
        return grid.apply(found[grid.window_before(grid.whole)], "mask", grid.whole)

    def _made(
        self, grid: VolumeGrid, parts: Iterable[NDArray[Any]], window: Window
    ) -> tuple[NDArray[Any], ...]:
        return tuple(
            grid.apply(values, field.role, window)
            for values, field in zip(parts, self.fields, strict=True)
        )

    def _grid(self, sample: int) -> tuple[Header, VolumeGrid]:
        """Return the header of a sample of the other source, and what is done with it."""
        last = self._last
        if last is not None and last[0] == sample:
            return last[1:]
        header, name = self.inner.probe(sample), self.names(sample)[0]
        grid = grid_of(header, orient=self.orient, spacing=self.spacing, name=name)
        if grid.resampling:
            _require_several(grid.resampling, self.spacing or (), name)
            self._require_small(sample, header, grid, name)
        self._last = sample, header, grid
        return header, grid

    def _require_small(self, sample: int, header: Header, grid: VolumeGrid, name: str) -> None:
        """Check the size of the result before it takes memory: spacings are claims, too."""
        limits = self._limits
        if self.inner.reads_windows(sample):  # not all of the result is in memory at a time
            most = _ENLARGED * header.nbytes
            limits = replace(limits, sample_nbytes=max(limits.sample_nbytes, most))
        for shape, dtype in _arrays_of(header, grid.new_size).values():
            limits.require(shape, dtype or np.uint8, name, "a resampled volume")

    def _require_promised(
        self,
        sample: int,
        found: tuple[NDArray[Any], ...],
        size: Size,
        names: tuple[str, ...] | None = None,
    ) -> None:
        """Check that the decoded arrays have the size in the header."""
        for name, values in zip(names or self.names(sample), found, strict=True):
            if values.shape[:3] != size:
                raise SourceError(
                    f"{name}: needed {size_text(size)} voxels, as its header says, found "
                    f"{values.shape}; restore it, or take it out"
                )

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to pickle, without the last header."""
        return self.__dict__ | {"_last": None}


def _require_several(resampling: Resampling, spacing: tuple[float, ...], name: str) -> None:
    """Refuse to make a single voxel of several: most such spacings are in another unit."""
    for axis, before, after, step, new in zip(
        "DHW", resampling.before, resampling.after, resampling.steps, spacing, strict=True
    ):
        if after == 1 < before:
            old = new / step
            raise SourceError(
                f"{name}: needed at least 2 voxels along {axis} after resampling, found {before} "
                f"voxels of {old:.3g} mm, as the file says, {before * old:.3g} mm together, which "
                f"are 1 of {new:g} mm; --spacing is along D,H,W in millimetres, as is the spacing "
                "of the file: choose a smaller --spacing, or correct the unit in the file"
            )


def _arrays_of(header: Header, size: Size) -> dict[str, ArrayHeader]:
    """Return the arrays of a header, with another size."""
    return {
        name: ArrayHeader((*size, *shape[3:]), dtype)
        for name, (shape, dtype) in header.arrays.items()
    }
