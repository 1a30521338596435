"""What is known about a sample before it is decoded?"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from zarrfeed.store.schema import IMAGE, MASK

Affine: TypeAlias = tuple[tuple[float, ...], ...]


class ArrayHeader(NamedTuple):
    """Shape and dtype of an array, before it is decoded.

    The dtype of the field ``mask`` is None, since it follows from the classes.
    """

    shape: tuple[int, ...]
    dtype: str | None


@dataclass(frozen=True, slots=True, init=False)
class Header:
    """What is known about a sample before it is decoded.

    Attributes
    ----------
    arrays
        Field → (shape, dtype) of the array that :meth:`Source.read` will return, in the order of
        :attr:`Source.fields`. An image is (H, W, C) or (D, H, W, C); other arrays have the same
        spatial axes. The dtype of a mask may be None.
    mask_colors
        Colours of the indices of the mask's palette, ``0xRRGGBB``; inverted (``~0xRRGGBB``) for
        indices whose class a mask map gives. Empty if there is no palette, or the map gives the
        classes of all indices.
    turned
        Whether the image's file says that it must be rotated for display, and that of another field
        does not.
    nodata
        Values that files declare as no data: those of the image, of further images and of targets.
    affine
        Where pixels are in the world, by the rows of a matrix; None if the file does not say it.
        Of volumes (4, 4): from (z, y, x, 1), a voxel's index in the image as it is read, to
        (x, y, z, 1) of its centre in millimetres, x to the right, y anterior, z superior (RAS+, as
        in nibabel). Of images (3, 3): from (row, column, 1) to (x, y, 1) of the pixel's upper left
        corner, in the file's coordinate reference system (as in GDAL).
    crs
        Coordinate reference system of the affine of an image, as WKT; empty if the file does not
        say it.
    oriented
        Whether the file says how a volume lies. If it does not, of an affine only the distances of
        voxels are known.

    Examples
    --------
    >>> header = Header({"image": ((48, 64, 3), "uint8"), "mask": ((48, 64), None)})
    >>> header.size, header.channels
    ((48, 64), 3)
    """

    arrays: Mapping[str, ArrayHeader]
    mask_colors: tuple[int, ...] = field(default=(), compare=False)
    turned: bool = field(default=False, compare=False)
    nodata: tuple[float, ...] = field(default=(), compare=False)
    affine: Affine | None = field(default=None, compare=False)
    crs: str = field(default="", compare=False)
    oriented: bool = field(default=True, compare=False)

    def __init__(
        self,
        arrays: Mapping[str, tuple[Sequence[int], str | None]] | int | None = None,
        *sizes: Any,
        mask_colors: tuple[int, ...] = (),
        turned: bool = False,
        nodata: tuple[float, ...] = (),
        affine: Affine | None = None,
        crs: str = "",
        oriented: bool = True,
        **old: Any,
    ) -> None:
        if isinstance(arrays, Mapping) and not (sizes or old):
            given = arrays
        else:
            numbers: list[Any] = [] if arrays is None else [arrays]
            given, colors = _of_sizes(*numbers, *sizes, **old)
            mask_colors = colors or mask_colors
        kinds = {name: ArrayHeader(tuple(shape), dtype) for name, (shape, dtype) in given.items()}
        object.__setattr__(self, "arrays", kinds)
        object.__setattr__(self, "mask_colors", mask_colors)
        object.__setattr__(self, "turned", turned)
        object.__setattr__(self, "nodata", nodata)
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "crs", crs)
        object.__setattr__(self, "oriented", oriented)

    @classmethod
    def of_pair(
        cls, image: Sequence[int], dtype: str, mask: Sequence[int] | None, **said: Any
    ) -> Header:
        """Return the header of an image with a shape and dtype, and of its mask, if it has one."""
        arrays: dict[str, tuple[Sequence[int], str | None]] = {IMAGE: (image, dtype)}
        return cls(arrays if mask is None else arrays | {MASK: (mask, None)}, **said)

    @property
    def image(self) -> ArrayHeader:
        """Shape and dtype of the image."""
        return self.arrays[IMAGE]

    @property
    def mask(self) -> ArrayHeader | None:
        """Shape and dtype of the mask; None if there is no mask."""
        return self.arrays.get(MASK)

    @property
    def size(self) -> tuple[int, ...]:
        """Size of the image, (H, W) or (D, H, W), in pixels."""
        return self.image.shape[:-1]

    @property
    def channels(self) -> int:
        """Number of channels of the image."""
        return self.image.shape[-1]

    @property
    def dtype(self) -> str:
        """Dtype of the image."""
        return str(self.image.dtype)

    @property
    def pixel_nbytes(self) -> int:
        """Decoded bytes per pixel, summed over the fields; a mask without a dtype counts as uint16.

        Examples
        --------
        >>> Header({"image": ((48, 64, 3), "uint8"), "mask": ((48, 64), None)}).pixel_nbytes
        5
        """
        axes = len(self.size)
        return sum(
            math.prod(shape[axes:]) * np.dtype(dtype or np.uint16).itemsize
            for shape, dtype in self.arrays.values()
        )

    @property
    def nbytes(self) -> int:
        """Decoded bytes of the sample, as :attr:`pixel_nbytes` counts them."""
        return math.prod(self.size) * self.pixel_nbytes

    def __getattr__(self, name: str) -> Any:
        """Return one of the numbers of headers before there were other fields; deprecated."""
        old = {"height": (IMAGE, 0), "width": (IMAGE, 1)}
        old |= {"mask_height": (MASK, 0), "mask_width": (MASK, 1)}
        if name not in old:
            raise AttributeError(f"a Header has no {name!r}")
        field, axis = old[name]
        new = f"Header.{field}.shape[{axis}]"
        warnings.warn(f"Header.{name}: write {new}", DeprecationWarning, stacklevel=2)
        return self.arrays[field].shape[axis] if field in self.arrays else None


def _of_sizes(
    height: int,
    width: int,
    channels: int,
    dtype: str,
    mask_height: int | None = None,
    mask_width: int | None = None,
    mask_colors: tuple[int, ...] = (),
) -> tuple[Mapping[str, tuple[Sequence[int], str | None]], tuple[int, ...]]:
    """Return the arrays and colours of a header by numbers, as before there were other fields."""
    said = f"'image': (({height}, {width}, {channels}), {dtype!r})"
    arrays: dict[str, tuple[Sequence[int], str | None]] = {
        IMAGE: ((height, width, channels), dtype)
    }
    if mask_height is not None and mask_width is not None:
        said += f", 'mask': (({mask_height}, {mask_width}), None)"
        arrays[MASK] = (mask_height, mask_width), None
    warnings.warn(f"write Header({{{said}}})", DeprecationWarning, stacklevel=3)
    return arrays, mask_colors
