"""How is an image of any size shrunk without having all of it in memory?

An image is anything that has a shape and a dtype, and returns boxes when it is indexed: a NumPy
array, a :class:`zarrfeed.CaseArray`, a Zarr array, or a :class:`PlaneOf` one of these. It is read
in blocks of at most 32 MiB.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from zarrfeed.pictures.thumbnails import area_means, edges_of, pick, pick_present

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from zarrfeed.pictures.planes import Plane

_BLOCK_NBYTES = 32 << 20


class Image(Protocol):
    """What is read in boxes."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Its data type."""
        ...

    def __getitem__(self, index: Any, /) -> Any: ...


class PlaneOf:
    """A plane of a volume (D, H, W) or (D, H, W, C), read when it is indexed.

    Parameters
    ----------
    volume
        What is read in boxes.
    plane
        Which plane.
    """

    def __init__(self, volume: Image, plane: Plane) -> None:
        self._volume = volume
        self._axis, self._place = plane.axis, plane.place

    @property
    def shape(self) -> tuple[int, ...]:
        """(height, width), and channels."""
        shape = self._volume.shape
        return shape[: self._axis] + shape[self._axis + 1 :]

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the volume."""
        return self._volume.dtype

    def __getitem__(self, index: tuple[slice, slice]) -> NDArray[Any]:
        """Read a box of the plane."""
        whole: list[slice | int] = list(index)
        whole.insert(self._axis, self._place)
        read: NDArray[Any] = self._volume[tuple(whole)]
        return read


class MiddleOf:
    """The middle of an image (H, W) or (H, W, C), read when it is indexed.

    Parameters
    ----------
    image
        What is read in boxes.
    size
        (height, width) of the middle, at most those of the image.
    """

    def __init__(self, image: Image, size: Sequence[int]) -> None:
        self._image = image
        self.shape = (*size, *image.shape[2:])
        self.dtype = image.dtype
        self._origin = [(old - new) // 2 for old, new in zip(image.shape, size, strict=False)]

    def __getitem__(self, index: tuple[slice, slice]) -> NDArray[Any]:
        """Read a box of the middle."""
        places = zip(index, self._origin, self.shape, strict=False)
        ranges = [(range(extent)[part], first) for part, first, extent in places]
        read: NDArray[Any] = self._image[
            tuple(slice(r.start + first, r.stop + first) for r, first in ranges)
        ]
        return read


def fit_image(image: Image, size: Sequence[int]) -> NDArray[Any]:
    """Read an image at a size, as means of areas where it is smaller.

    Parameters
    ----------
    image
        (H, W) or (H, W, C).
    size
        (h, w), which may be larger along an axis.

    Returns
    -------
    (h, w) or (h, w, C)
    """
    return _fitted(image, size, area_means)


def fit_mask(mask: Image, size: Sequence[int], background: int | None) -> NDArray[Any]:
    """Read a mask at a size, so that small objects stay visible.

    Parameters
    ----------
    mask
        (H, W) class ids, or (H, W, K).
    size
        (h, w), which may be larger along an axis.
    background
        The id that gives way to others; None if no id does.

    Returns
    -------
    (h, w) or (h, w, K)
    """
    return _fitted(mask, size, lambda block, edges: pick_present(block, edges, background))


def _fitted(
    image: Image, size: Sequence[int], reduce: Callable[[Any, Any], NDArray[Any]]
) -> NDArray[Any]:
    small = [min(extent, new) for extent, new in zip(image.shape, size, strict=False)]
    rows, columns = edges_of(image.shape, small)
    parts = [
        [_read(image, rows[down], columns[across], reduce) for across in _parts(columns, height)]
        for down, height in _bands(rows, image)
    ]
    return pick(np.concatenate([np.concatenate(part, axis=1) for part in parts]), size)


def _read(
    image: Image,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    reduce: Callable[[Any, Any], NDArray[Any]],
) -> NDArray[Any]:
    down, across = (slice(int(ends[0]), int(ends[-1])) for ends in (rows, columns))
    block = np.asarray(image[down, across])
    return reduce(block, (rows - rows[0], columns - columns[0]))


def _bands(edges: NDArray[np.int64], image: Image) -> list[tuple[slice, int]]:
    """Cut rows into bands of whole areas, with the bytes of one column of each."""
    row = math.prod(image.shape[1:]) * image.dtype.itemsize
    column = math.prod(image.shape[2:]) * image.dtype.itemsize
    height = int(np.diff(edges).max(initial=1))
    step = max(1, _BLOCK_NBYTES // max(1, row * height))
    return [
        (slice(start, start + step + 1), step * height * column)
        for start in range(0, len(edges) - 1, step)
    ]


def _parts(edges: NDArray[np.int64], column_nbytes: int) -> list[slice]:
    """Cut columns so that a part of a band has not too many bytes."""
    width = int(np.diff(edges).max(initial=1))
    step = max(1, _BLOCK_NBYTES // max(1, column_nbytes * width))
    return [slice(start, start + step + 1) for start in range(0, len(edges) - 1, step)]
