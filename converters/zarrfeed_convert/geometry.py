"""How does a sample become the size that the store needs?

Pure. All fields of a sample go through it together: images may interpolate, the others never do.
Sizes are those of the spatial axes: (H, W), or (D, H, W) of volumes.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.source import Field, Image, Role, Sample

Fit: TypeAlias = Literal["resize", "crop", "pad", "tile"]
FITS: tuple[Fit, ...] = ("resize", "crop", "pad", "tile")
Size: TypeAlias = tuple[int, ...]
_EXACT = 2**24  # float32 holds every integer up to here
_MOST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class Geometry:
    """What is done to every sample.

    Attributes
    ----------
    size
        (H, W) or (D, H, W) of every stored sample.
    fit
        How a sample of another size gets there; None where every sample has it already.
    overlap
        Pixels that neighbouring tiles share at least, along every axis.
    """

    size: Size
    fit: Fit | None
    overlap: int = 0

    def windows(self, size: Size) -> list[Size]:
        """List the origins of what is cut from a sample of this size.

        One, except for tiles: these cover the sample, and the last ones along an axis end
        flush with its border, overlapping their neighbours more than they need to.

        Examples
        --------
        >>> Geometry((2, 2), "tile").windows((3, 4))
        [(0, 0), (0, 2), (1, 0), (1, 2)]
        """
        if self.fit != "tile":
            return [(0,) * len(self.size)]
        return [*itertools.product(*self._origins(size))]

    def is_cut_into(self, size: Size, windows: set[Size]) -> bool:
        """Tell whether these are its windows; of a damaged size, it does not list them."""
        steps = (
            len(range(0, max(0, old - new), new - self.overlap))
            for old, new in zip(size, self.size, strict=True)
        )
        count = math.prod(more + 1 for more in steps)
        return count == len(windows) and windows == set(self.windows(size))

    def pads(self, size: Size) -> bool:
        """Tell whether a sample of this size needs pixels that it does not have."""
        return self.fit in ("pad", "tile") and self._is_smaller(size)

    def check(self, size: Size, *, name: str) -> None:
        """Refuse a sample that the fit cannot bring to size.

        Raises
        ------
        SourceError
            It is smaller than a crop or larger than a padding, or has other axes.
        """
        needed = size_text(self.size)
        if len(size) != len(self.size):
            raise SourceError(
                f"{name}: is {size_text(size)}, cannot become {needed}; name an extent for each "
                "of its axes: HxW for images, DxHxW for volumes"
            )
        if self.fit == "crop" and self._is_smaller(size):
            raise SourceError(
                f"{name}: is {size_text(size)}, too small to crop {needed} from; "
                "use --fit resize or pad, or a smaller --size"
            )
        if self.fit == "pad" and any(map(int.__gt__, size, self.size)):
            raise SourceError(
                f"{name}: is {size_text(size)}, too large to pad to {needed}; "
                "use --fit resize, crop or tile, or a larger --size"
            )

    def check_window(self, size: Size, window: Size, *, name: str) -> None:
        """Refuse a decoded sample of another size than the one that it was planned for.

        Raises
        ------
        SourceError
            The window is none of those of a sample of this size.
        """
        if self.fit is None and size != self.size:
            raise SourceError(
                f"{name}: its header promised {size_text(self.size)}, it decoded to "
                f"{size_text(size)}; restore it, or take it out"
            )
        self.check(size, name=name)
        if any(at not in along for at, along in zip(window, self._origins(size), strict=True)):
            raise SourceError(
                f"{name}: is {size_text(size)}, which is not what its header promised: there is no "
                f"tile at {origin_text(window)}; restore it, or take it out"
            )

    def apply(
        self, sample: Sample, fields: Sequence[Field], *, window: Size, ignore: int | None
    ) -> dict[str, NDArray[Any]]:
        """Bring a sample to size.

        Parameters
        ----------
        sample
            Arrays (H, W, …) or (D, H, W, …), by field.
        fields
            Their roles.
        window
            One of :meth:`windows`.
        ignore
            What padded mask pixels are; needed where :meth:`pads` says so.

        Returns
        -------
        dict
            Arrays of the stored size, by field, C-contiguous.
        """
        fill = 0 if ignore is None else ignore
        return {
            field.name: np.ascontiguousarray(
                self._fitted(sample[field.name], field.role, window, fill)
            )
            for field in fields
        }

    def _fitted(self, values: NDArray[Any], role: Role, window: Size, ignore: int) -> NDArray[Any]:
        axes = len(self.size)
        if values.shape[:axes] == self.size:
            return values
        if self.fit == "resize":
            resize = resize_image if role == "image" else resize_nearest
            return resize(values, self.size)
        if self.fit == "crop":
            window = tuple(
                (old - new) // 2 for old, new in zip(values.shape, self.size, strict=False)
            )
        values = values[tuple(map(slice, window, map(sum, zip(window, self.size, strict=True))))]
        if values.shape[:axes] != self.size:
            is_of_ids = role == "mask" and values.ndim == axes
            values = _padded(values, self.size, ignore if is_of_ids else 0)
        return values

    def coverage(self, size: Size) -> Coverage:
        """Count what becomes of the pixels of a sample of this size."""
        if self.fit not in ("crop", "pad", "tile"):
            return Coverage(0, 0, 0)
        origins = self._origins(size)
        # What all windows take of an axis; of the sample they take the product.
        taken = math.prod(
            sum(min(new, old - at) for at in along)
            for new, old, along in zip(self.size, size, origins, strict=True)
        )
        stored = math.prod(map(len, origins)) * math.prod(self.size)
        total = math.prod(size)
        return Coverage(max(0, total - taken), max(0, taken - total), stored - taken)

    def _is_smaller(self, size: Size) -> bool:
        return any(map(int.__lt__, size, self.size))

    def _origins(self, size: Size) -> list[list[int]]:
        """List where windows begin along each axis."""
        if self.fit != "tile":
            return [[0] for _ in self.size]
        ends = (max(0, old - new) for old, new in zip(size, self.size, strict=True))
        steps = (new - self.overlap for new in self.size)
        return [[*range(0, end, step), end] for end, step in zip(ends, steps, strict=True)]


@dataclass(frozen=True, slots=True)
class Coverage:
    """What becomes of source pixels.

    Attributes
    ----------
    lost
        Pixels of the source that are in no stored sample.
    repeated
        Stored pixels that are in another stored sample already.
    padded
        Stored pixels that no source has.
    """

    lost: int
    repeated: int
    padded: int


def size_text(size: Size) -> str:
    """Write a size as options have it.

    Examples
    --------
    >>> size_text((48, 64))
    '48x64'
    """
    return "x".join(map(str, size))


def origin_text(window: Sequence[int]) -> str:
    """Write an origin as the keys of tiles have it.

    Examples
    --------
    >>> origin_text((0, 512))
    '0,512'
    """
    return ",".join(map(str, window))


def _padded(values: NDArray[Any], size: Size, fill: int) -> NDArray[Any]:
    """Add pixels at the far end of each axis."""
    dtype = np.promote_types(values.dtype, np.min_scalar_type(fill)) if fill else values.dtype
    out = np.full((*size, *values.shape[len(size) :]), fill, dtype)
    out[tuple(map(slice, values.shape[: len(size)]))] = values
    return out


def resize_image(image: Image, size: Size) -> Image:
    """Resize by Pillow's bilinear filter, which averages when it makes images smaller.

    Channels are resized each by itself: Pillow would weigh colours by a fourth channel as alpha.
    A volume is resized plane by plane, then along its depth: the filter is separable.

    Parameters
    ----------
    image
        (H, W, C) or (D, H, W, C) numbers. What is not uint8 is interpolated in float32.
    size
        (h, w) or (d, h, w).

    Raises
    ------
    SourceError
        It has integers that float32 does not hold exactly, or floats beyond its range.
    """
    if len(size) == 3:
        planes = np.stack([resize_image(plane, size[1:]) for plane in image])
        lines = planes.reshape(len(planes), -1, planes.shape[-1])
        return resize_image(lines, (size[0], lines.shape[1])).reshape(*size, -1)
    from PIL import Image as PillowImage

    height, width = size
    whole = image.dtype.kind in "ui"
    if whole and image.dtype.itemsize > 2 and np.abs(image.astype(np.int64)).max() > _EXACT:
        raise SourceError(
            f"needed integers within ±{_EXACT}, which float32 interpolates exactly, found others; "
            "use --fit crop or pad, or scale them first"
        )
    if image.dtype == np.float64 and (np.abs(image[np.isfinite(image)]) > _MOST).any():
        raise SourceError(
            f"needed floats within ±{_MOST:g}, which float32 interpolates, found others; use --fit "
            "crop or pad, or scale them first"
        )
    out = np.empty((height, width, image.shape[2]), image.dtype)
    for channel in range(image.shape[2]):
        plane = image[:, :, channel]
        if image.dtype != np.uint8:
            plane = plane.astype(np.float32)
        resized = np.asarray(
            PillowImage.fromarray(np.ascontiguousarray(plane)).resize(
                (width, height), PillowImage.Resampling.BILINEAR
            )
        )
        if whole and image.dtype != np.uint8:
            limits = np.iinfo(image.dtype)
            resized = np.clip(np.rint(resized), limits.min, limits.max)
        out[:, :, channel] = resized
    return out


def resize_nearest(values: NDArray[Any], size: Size) -> NDArray[Any]:
    """Take the pixel at the centre of each new one: (H, W, …) or (D, H, W, …), no new values.

    Examples
    --------
    >>> resize_nearest(np.array([[1, 2, 3, 4]]), (1, 2)).tolist()
    [[2, 4]]
    """
    places = (
        ((2 * np.arange(new) + 1) * old) // (2 * new)
        for new, old in zip(size, values.shape, strict=False)
    )
    return np.ascontiguousarray(values[np.ix_(*places)])
