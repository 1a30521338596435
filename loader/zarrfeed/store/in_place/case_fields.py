"""Which axes of which stored array are one field of one case?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from zarrfeed.store.files import Stamp
    from zarrfeed.store.ome_places import Affine
    from zarrfeed.store.schema import ArrayLayout
    from zarrfeed.store.tile_grid import Box


@dataclass(frozen=True, slots=True)
class StoredArray:
    """An array on disk.

    Attributes
    ----------
    folder, layout
        Where and how it is stored.
    within
        Folder that must contain all files, resolved by :func:`os.path.realpath`.
    stamp
        Stamp by which a replacement is detected.
    """

    folder: Path
    layout: ArrayLayout
    within: str
    stamp: Stamp | None


@dataclass(frozen=True, slots=True)
class CaseField:
    """One field of one case: all of a stored array, or its part at one index of some axes.

    Attributes
    ----------
    array
        The stored array.
    order
        The array's axis of each axis of the field: (z,) y, x and, of images, the channels. None for
        the only channel of an image without such an axis.
    picks
        Index along every other axis of the array, by axis.

    Examples
    --------
    The second point in time of an array (t, c, y, x):

    >>> field = CaseField(array, order=(2, 3, 1), picks={0: 1})  # doctest: +SKIP
    >>> field.index((slice(0, 8), slice(4, 8), slice(0, 3)))  # doctest: +SKIP
    (slice(1, 2, None), slice(0, 3, None), slice(0, 8, None), slice(4, 8, None))
    """

    array: StoredArray
    order: tuple[int | None, ...]
    picks: Mapping[int, int]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the field."""
        return self._along(self.array.layout.shape)

    @property
    def chunk(self) -> tuple[int, ...]:
        """Extents of a chunk along the axes of the field."""
        return self._along(self.array.layout.chunk_shape)

    @property
    def _stored(self) -> tuple[int, ...]:
        return tuple(axis for axis in self.order if axis is not None)

    def _along(self, extents: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(1 if axis is None else extents[axis] for axis in self.order)

    def index(self, box: Box) -> Box:
        """Return which box of the array a box of the field is."""
        along = {axis: part for axis, part in zip(self.order, box, strict=True) if axis is not None}
        along |= {axis: slice(at, at + 1) for axis, at in self.picks.items()}
        return tuple(along[axis] for axis in range(len(along)))

    def turned(self, out: NDArray[Any]) -> NDArray[Any]:
        """Return the view of a box of the field that has the axes of the array."""
        order = self._stored
        if order != self.order:
            out = out[..., 0]
        axes = range(len(order) + len(self.picks))
        picked = tuple(None if axis in self.picks else slice(None) for axis in axes)
        return out.transpose(np.argsort(order))[picked]


@dataclass(frozen=True, slots=True)
class Case:
    """One image with its labels.

    Attributes
    ----------
    key
        Name of the case.
    fields
        Its arrays by name; their first axes are the spatial ones.
    size
        Extents along the spatial axes.
    affine
        From (z, y, x, 1) to (x, y, z, 1) in millimetres; None if unknown.
    """

    key: str
    fields: Mapping[str, CaseField]
    size: tuple[int, ...]
    affine: Affine | None = None
