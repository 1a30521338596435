"""Read samples and cases of a split, of large cases only a part."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from zarrfeed import Cases, Split, SplitReader, StoreError, open_cases, read_samples
from zarrfeed.store.case_table import CaseTable
from zarrfeed.store.names import decode_names
from zarrfeed.store.schema import CLASS_PIXELS, IMAGE, KEY, MASK
from zarrfeed.views.stored_views import palette_of
from zarrfeed_convert import fields_of
from zarrfeed_tools.report.bounded_box import bounded_box
from zarrfeed_tools.report.choice import evenly
from zarrfeed_tools.report.sample_view import Seen

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed import CaseArray
    from zarrfeed.store.tile_grid import TileGrid

# What is read of the image of a case, and as many pixels of its mask. Of volumes it is a layer of
# tiles, 64 × 512 × 512 int16, for planes shall be whole.
_MOST_NBYTES = 32 << 20
_MOST_PIXELS = 4 << 20  # of an image
_TILES_ELSEWHERE = 8  # of a case of which only a part is read, for its distribution
_MOST_TILES = 1 << 16  # of a case whose counts of classes are read
_COLORS = 4  # channels of a colour image, at most, where the store doesn't say what an axis is


class SampleReader:
    """Reads samples of a split, or cases, one at a time.

    Parameters
    ----------
    split
        An opened split.

    Attributes
    ----------
    image, mask
        Names of the fields that are read; None for no mask.
    palette
        Colours of the split's classes.
    classes
        Number of classes; of a split without names, 65,536, so that every id is a class.

    Raises
    ------
    StoreError
        The split has no image, or it cannot be read.
    """

    def __init__(self, split: Split) -> None:
        self.split = split
        self.image = _image_of(split)
        self.mask = _mask_of(split)
        self.palette = palette_of(split)
        self.classes = len(split.classes) or 1 << 16
        self._cases: Cases | None = None
        self._reader: SplitReader | None = None
        if split.tile_size is None:
            self._reader = SplitReader(split, [self.image, *([self.mask] if self.mask else [])])
        else:
            self._cases = open_cases(split, self.image)
            self._keys = list(self._cases)
            self._table = CaseTable.of_sizes(self._cases.sizes, self._cases.tile_size)

    @property
    def row_nbytes(self) -> int:
        """Bytes of the image and the mask of a sample, or of a tile."""
        names = [self.image, *([self.mask] if self.mask else [])]
        return sum(self.split.layouts[name].sample_nbytes for name in names)

    def key(self, number: int) -> str:
        """Return the key of a sample or case; ``sample N`` where the store has no keys."""
        if self._cases is not None:
            return self._keys[number]
        if self.split.describing(KEY) is None:
            return f"sample {number}"
        return decode_names(read_samples(self.split, KEY, range(number, number + 1)))[0]

    def read(self, number: int) -> Seen:
        """Read a sample, or a case by its number.

        Raises
        ------
        StoreError, ReadError
            It cannot be read, or does not fit in memory.
        """
        if self._reader is not None:
            read = {name: values[0] for name, values in self._reader.read([number]).items()}
            return self._seen_sample(read)
        return self._seen_case(number)

    def _seen_sample(self, read: dict[str, NDArray[Any]]) -> Seen:
        image = read[self.image]
        mask = read[self.mask] if self.mask else None
        axes = self._axes(image.shape)
        if image.ndim == axes:
            image = image[..., None]
        size = image.shape[:axes]
        box = tuple(slice(0, extent) for extent in size)
        return Seen(image, self._own_axes(mask, axes), box, size)

    def _axes(self, shape: tuple[int, ...]) -> int:
        """Tell the number of spatial axes of an image."""
        if self.split.packed or len(shape) > 3 or len(shape) < 3:
            return 2 if len(shape) == 2 else len(shape) - 1
        if self.mask and self.split.layouts[self.mask].sample_shape[:3] == shape:
            return 3
        return 2 if self.mask or shape[-1] <= _COLORS else 3

    def _own_axes(self, mask: NDArray[Any] | None, axes: int) -> NDArray[Any] | None:
        """Leave out a last axis of 1; a mask of another meaning is none."""
        if mask is None or self.palette.multi_hot or mask.ndim == axes:
            return mask
        return mask[..., 0] if mask.ndim == axes + 1 and mask.shape[-1] == 1 else None

    def _seen_case(self, number: int) -> Seen:
        assert self._cases is not None
        case = self._cases[self._keys[number]]
        grid, axes = self._table.grid(number), len(self._table.tile)
        pixel_nbytes = math.prod(case.shape[axes:]) * case.dtype.itemsize
        most = max(1, _MOST_NBYTES // max(1, pixel_nbytes))
        if axes == 2:
            most = min(most, _MOST_PIXELS)
        elsewhere = None
        if math.prod(grid.size) > most:
            around = grid.place(self._tile_with_most_classes(number))
            elsewhere = self._some_tiles(case, grid)
        else:
            around = (0,) * axes
        box = bounded_box(grid.size, grid.tile, around, most_pixels=most)
        mask = self._cases.open(case.key, self.mask)[box] if self.mask else None
        return Seen(
            _with_channels(case[box], axes), self._own_axes(mask, axes), box, grid.size,
            case.spacing, elsewhere,
        )  # fmt: skip

    def _some_tiles(self, case: CaseArray, grid: TileGrid) -> NDArray[Any]:
        """Read the pixels (m, C) of tiles that lie evenly in a case."""
        tiles = []
        nbytes = max(1, math.prod(case.chunks) * case.dtype.itemsize)
        count = max(1, min(_TILES_ELSEWHERE, _MOST_NBYTES // nbytes))
        for tile in evenly(grid.tiles, count).tolist():
            box = bounded_box(grid.size, grid.tile, grid.place(tile), most_pixels=1)
            pixels = _with_channels(case[box], len(grid.size))
            tiles.append(pixels.reshape(-1, pixels.shape[-1]))
        return np.concatenate(tiles)

    def _tile_with_most_classes(self, number: int) -> int:
        """Return the tile of a case that has most classes; without counts, that in the middle."""
        rows = self._table.rows(number)
        middle = len(rows) // 2
        counted = self.split.describing(CLASS_PIXELS)
        if counted is None or counted.shape[0] != self._table.tiles or len(rows) > _MOST_TILES:
            return middle
        pixels = read_samples(self.split, CLASS_PIXELS, rows)
        if self.split.ignore is not None and not self.palette.multi_hot:
            pixels[:, self.split.ignore : self.split.ignore + 1] = 0
        shown = (pixels > 0).sum(axis=1)
        evenness = np.sqrt(np.maximum(pixels, 0)).sum(axis=1)
        away = np.abs(np.arange(len(rows)) - middle)
        return int(np.lexsort((away, -evenness, -shown))[0])

    def close(self) -> None:
        """Close the files."""
        if self._reader is not None:
            self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _with_channels(image: NDArray[Any], axes: int) -> NDArray[Any]:
    return image[..., None] if image.ndim == axes else image


def _image_of(split: Split) -> str:
    """Return the field that is the image: that of this name, or the first one of this role."""
    fields = fields_of(split, [name for name in split.default_fields if name in split.layouts])
    pictures = [field for field in fields if 3 <= len(field.shape) <= 5 and field.name != MASK]
    for field in sorted(pictures, key=lambda field: (field.name != IMAGE, field.role != "image")):
        return field.name
    raise StoreError(
        f"{split.path}: needed a field of images, found {', '.join(split.default_fields) or 'none'}"
    )


def _mask_of(split: Split) -> str | None:
    return MASK if MASK in split.default_fields and MASK in split.layouts else None
