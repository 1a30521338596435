"""One field of one case, as a lazy array that reads the boxes it is asked for."""

from __future__ import annotations

import math
from numbers import Number
from typing import TYPE_CHECKING, Any

from zarrfeed.arrays import aligned_empty
from zarrfeed.errors import ReadError
from zarrfeed.machine_memory import enough_memory, require_memory
from zarrfeed.store.array_index import box_index
from zarrfeed.store.box_plan import BoxPlan
from zarrfeed.store.reader import BatchReader
from zarrfeed.store.tile_grid import TilePart

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike, NDArray

    from zarrfeed.store.split import Split
    from zarrfeed.store.tile_grid import Box, TileGrid

# Bytes of boxes whose memory is not compared with the machine's, which would take longer than
# reading a small one.
_SMALL = 16 << 20


class ReaderPool:
    """Readers of one field, one for each thread that reads at the same time.

    Picklable: only the address is pickled, not the open files.

    Parameters
    ----------
    split
        An opened split.
    field
        Name of the array.

    Raises
    ------
    StoreError
        There is no such field.
    """

    def __init__(self, split: Split, field: str) -> None:
        self.split = split
        self.field = field
        self.layout = split.select([field])[field]
        self._idle: list[BatchReader] = []  # appending and popping are atomic

    def take(self) -> BatchReader:
        """Borrow a reader, which :meth:`give_back` takes back."""
        try:
            return self._idle.pop()
        except IndexError:  # all are lent
            pass
        return BatchReader(self.split, [self.field])

    def give_back(self, reader: BatchReader) -> None:
        """Take back a reader."""
        self._idle.append(reader)

    def __reduce__(self) -> tuple[Any, ...]:
        return ReaderPool, (self.split, self.field)


class CaseArray:
    """One field of an image or volume of any size, read when it is indexed.

    ``case[10:20, ..., 0]`` reads a box into a new array: integers, slices with any step, ``...``
    and None, as in NumPy. Of raw tiles, only the box is copied; compressed tiles are decoded as
    wholes. ``np.asarray(case)`` reads all of it. Several threads may read at the same time.
    ``dask.array.from_array(case, chunks=case.chunks)`` makes one chunk of every tile; without
    `chunks`, Dask joins tiles to chunks of its own size.

    Get one from :func:`zarrfeed.open_case` or :func:`zarrfeed.open_cases`.

    Attributes
    ----------
    key
        Name of the case in the source.
    field
        Name of the field.
    shape
        (H, W) or (D, H, W), without padding; with channels (H, W, C) or (D, H, W, C).
    dtype
        Data type of the pixels.
    chunks
        Shape of a tile, in which the case is stored.
    spacing
        Length of a step along each spatial axis, in the order of `shape`; None if unknown.
    affine
        (4, 4) float64: from (z, y, x, 1), the index of a voxel, to (x, y, z, 1) in the world, in
        mm, RAS+. For images (3, 3): from (row, column, 1), the upper left corner of a pixel, to
        (x, y, 1) in `crs`. None if unknown.
    crs
        Coordinate reference system of georeferenced images, as WKT; None if unknown.
    """

    def __init__(
        self,
        pool: ReaderPool,
        grid: TileGrid,
        first_tile: int,
        *,
        key: str,
        spacing: tuple[float, ...] | None,
        affine: NDArray[np.float64] | None,
        crs: str | None,
    ) -> None:
        self._pool = pool
        self._grid = grid
        self._first_tile = first_tile
        self._channels = pool.layout.sample_shape[len(grid.tile) :]
        self._shape = (*grid.size, *self._channels)
        self.key = key
        self.spacing = spacing
        self.affine = affine
        self.crs = crs

    @property
    def field(self) -> str:
        """Name of the field."""
        return self._pool.field

    @property
    def shape(self) -> tuple[int, ...]:
        """Size without padding, and the number of channels if there are any."""
        return self._shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the pixels."""
        return self._pool.layout.dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of a tile."""
        return self._pool.layout.sample_shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of pixels, each channel counted."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Size in bytes if it is read as a whole."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        """Return the extent of the first axis."""
        return self.shape[0]

    def __getitem__(self, index: Any) -> Any:
        """Read a box.

        Returns
        -------
        array, or a scalar if every axis has an integer

        Raises
        ------
        IndexError
            The index is out of range, or has something else than integers, slices, ``...`` and
            None.
        StoreError
            The box does not fit in memory.
        ReadError
            A shard is missing, short or damaged, or the split was replaced.
        """
        box, shape, then = box_index(index, self._shape)
        out = self._empty(shape)
        if out.size:
            axes = len(self._grid.size)
            plan = BoxPlan.of_box(self._first_tile, self._grid, box[:axes])
            if shape[axes:] != self._channels:
                parts = [_with_channels(part, box[axes:]) for part in plan.parts]
                plan = BoxPlan(self._first_tile, parts)
            self._read(plan, out)
        return out[then]

    def _empty(self, shape: tuple[int, ...]) -> NDArray[Any]:
        dtype = self.dtype
        nbytes = math.prod(shape) * dtype.itemsize
        if nbytes <= _SMALL:
            return aligned_empty(nbytes).view(dtype).reshape(shape)
        folder, what = self._pool.split.path / self.field, f"a box {shape} of case {self.key!r}"
        require_memory(folder, nbytes, what)
        with enough_memory(folder, what):
            return aligned_empty(nbytes).view(dtype).reshape(shape)

    def _read(self, plan: BoxPlan, out: NDArray[Any]) -> None:
        reader = self._pool.take()
        try:
            reader.read_box_into(plan, [out])
        except ReadError as error:
            raise ReadError(f"{error} (read for case {self.key!r})") from error
        finally:
            self._pool.give_back(reader)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Read the whole case."""
        if copy is False:
            raise ValueError(f"case {self.key!r} is read from its files, and cannot be a view")
        whole: NDArray[Any] = self[...]
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def __eq__(self, other: object) -> bool:
        """Refuse to compare pixels, which are not read yet; other objects are never equal."""
        if isinstance(other, Number) or hasattr(other, "__array__"):
            raise TypeError(
                f"the pixels of case {self.key!r} are not compared before they are read: read them "
                "first, as in case[...] == 1"
            )
        return NotImplemented

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return (
            f"<{self.field} of case {self.key!r}: {self.shape} {self.dtype}, tiles {self.chunks}>"
        )


def _with_channels(part: TilePart, channels: Box) -> TilePart:
    """Read some channels of a part only."""
    return TilePart(part.tile, part.inside + channels, part.lands)
