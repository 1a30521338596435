"""Read boxes of one field case by case, from a split of cases or of samples.

A sample is a case of the one size that all have.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import StoreError
from zarrfeed.machine_memory import enough_memory, require_memory
from zarrfeed.store.cases import open_cases
from zarrfeed.store.descriptive_arrays import sample_names
from zarrfeed.store.reader import SplitReader
from zarrfeed.store.schema import IMAGE, KEY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed.store.split import Split
    from zarrfeed.store.tile_grid import Box


_NAME_NBYTES = 200  # of a short text in a list and in a dict
_AHEAD_NBYTES = 1 << 20  # of small samples that are read together


class CaseBoxes:
    """One field of all cases of a split.

    Parameters
    ----------
    split
        A split of cases, or of samples.
    field
        Name of the field.
    axes
        Number of spatial axes of a split of samples, 2 or 3.

    Attributes
    ----------
    numbers
        Key → number of the case, in the order of the store.
    sizes
        (M, axes) int64: size of each case.
    tile
        Size of the boxes that are read without reading more.
    channels
        The extents of the axes after the spatial ones.
    dtype
        Data type of the values.

    Raises
    ------
    StoreError
        The field is missing, or does not fit the split, or its keys do not fit in memory.
    """

    def __init__(self, split: Split, field: str, axes: int) -> None:
        layout = split.select([field])[field]
        self.split, self.field = split, field
        self.dtype = layout.dtype
        self._cases = open_cases(split) if split.tile_size is not None else None
        if self._cases is not None:
            keys: Sequence[str] = list(self._cases)
            self.sizes = self._cases.sizes
            self.tile = self._cases.tile_size
            self._cases.open(keys[0], field)  # refuses a field that has no tiles
        else:
            rows = layout.shape[0]
            keys = self._names(rows)
            self.tile = layout.sample_shape[:axes]
            self.sizes = np.broadcast_to(np.array(self.tile, np.int64), (rows, len(self.tile)))
            self._reader = SplitReader(split, [field])
            self._chunk_rows = layout.chunk_rows
            self._rows, self._samples = range(0), np.empty(0, layout.dtype)
        self.channels = layout.sample_shape[len(self.tile) :]
        self.numbers = {key: number for number, key in enumerate(keys)}
        if len(self.numbers) < len(keys):
            again = next(key for number, key in enumerate(keys) if self.numbers[key] != number)
            raise StoreError(
                f"{split.address}: needed samples of different keys, by which they are compared, "
                f"found {again!r} twice: leave one out, by `zarrfeed repack --keys`"
            )

    def _names(self, rows: int) -> list[str]:
        described = self.split.describing(KEY)
        stored = 0 if described is None else 2 * described.sample_nbytes  # as an array, and as text
        require_memory(self.split.path, rows * (stored + _NAME_NBYTES), f"{rows:,} keys")
        with enough_memory(self.split.path, f"{rows:,} keys"):
            return sample_names(self.split, range(rows))

    @property
    def pixel_nbytes(self) -> int:
        """Size of a pixel in bytes, with all of its channels."""
        return math.prod(self.channels) * self.dtype.itemsize

    def read(self, key: str, box: Box) -> NDArray[Any]:
        """Read a box of a case.

        Parameters
        ----------
        key
            Name of the case.
        box
            A slice per spatial axis.

        Returns
        -------
        array of the shape of the box, and of the channels if there are any

        Raises
        ------
        ReadError
            A shard is missing, short or damaged.
        """
        if self._cases is not None:
            values: NDArray[Any] = self._cases.open(key, self.field)[box]
            return values
        return self._sample(self.numbers[key])[box]

    def _sample(self, row: int) -> NDArray[Any]:
        """Return a sample. Those that are read with it, such as the rest of its chunk, are kept."""
        if row not in self._rows:
            count = self._chunk_rows
            if row == self._rows.stop:  # the next one: more of them will probably follow
                nbytes = math.prod(self.tile) * self.pixel_nbytes
                count = max(count, _AHEAD_NBYTES // nbytes)
            start = row - row % self._chunk_rows
            self._rows = range(start, min(start + count, len(self.sizes)))
            self._samples = self._reader.read(self._rows)[self.field]
        sample: NDArray[Any] = self._samples[row - self._rows.start]
        return sample

    def close(self) -> None:
        """Close the files."""
        if self._cases is None:
            self._reader.close()


def spatial_axes(split: Split, field: str, other: Split) -> int:
    """Return how many axes of a field of masks are spatial.

    Of samples without packed images, a last axis of 1 is one of channels, and others are spatial.

    Parameters
    ----------
    split, field
        The masks.
    other
        A split of the same images; if it has cases, these have as many axes.

    Raises
    ------
    StoreError
        The field is missing.
    """
    layout = split.select([field])[field]
    tile = split.tile_size or other.tile_size
    if tile is not None:
        return len(tile)
    axes = len(layout.sample_shape)
    image = split.layouts.get(IMAGE)
    if split.packed and image is not None:
        return min(axes, len(image.sample_shape) - 1)
    return axes - (axes > 2 and layout.sample_shape[-1] == 1)


def box_size(
    size: tuple[int, ...], steps: tuple[tuple[int, ...], tuple[int, ...]], pixels: int
) -> tuple[int, ...]:
    """Choose the boxes in which a case is compared that is stored twice, in unlike tiles.

    A box is as large as the larger tile along each axis, so that few tiles are read twice, and
    grows by whole ones, at first along the last axis, in which pixels lie next to each other.

    Parameters
    ----------
    size
        Size of the case.
    steps
        Sizes of the tiles of both.
    pixels
        The most pixels of a box, unless a single tile has more.

    Examples
    --------
    >>> box_size((96, 340, 440), ((64, 64, 64), (32, 64, 96)), 1 << 22)
    (64, 128, 440)
    >>> box_size((96, 340, 440), ((1, 512, 512), (96, 1, 1)), 1 << 22)
    (28, 340, 440)
    """
    one, other = (
        tuple(map(min, size, step)) for step in sorted(steps, key=math.prod, reverse=True)
    )
    box = list(map(max, one, other))
    if math.prod(box) > pixels:
        box = list(one)
    for axis in reversed(range(len(size))):
        more = max(pixels // math.prod(box), 1)
        box[axis] = min(size[axis], box[axis] * more)
    return tuple(box)
