"""How does a sample become the size that the store needs?

Pure. All fields of a sample go through it together: images may interpolate, the others never do.
"""

from __future__ import annotations

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
Size: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Geometry:
    """What is done to every sample.

    Attributes
    ----------
    size
        (height, width) of every stored sample.
    fit
        How a sample of another size gets there; None where every sample has it already.
    overlap
        Pixels that neighbouring tiles share at least, in both directions.
    """

    size: Size
    fit: Fit | None
    overlap: int = 0

    def windows(self, height: int, width: int) -> list[Size]:
        """List the (y, x) origins of what is cut from a sample of this size.

        One, except for tiles: these cover the sample, and the last ones of a row or column end
        flush with its border, overlapping their neighbours more than they need to.

        Examples
        --------
        >>> Geometry((2, 2), "tile").windows(3, 4)
        [(0, 0), (0, 2), (1, 0), (1, 2)]
        """
        if self.fit != "tile":
            return [(0, 0)]
        return [
            (y, x)
            for y in _origins(height, self.size[0], self.overlap)
            for x in _origins(width, self.size[1], self.overlap)
        ]

    def pads(self, height: int, width: int) -> bool:
        """Tell whether a sample of this size needs pixels that it does not have."""
        return self.fit in ("pad", "tile") and (height < self.size[0] or width < self.size[1])

    def check(self, height: int, width: int, *, name: str) -> None:
        """Refuse a sample that the fit cannot bring to size.

        Raises
        ------
        SourceError
            It is smaller than a crop or larger than a padding.
        """
        needed = f"{self.size[0]}x{self.size[1]}"
        if self.fit == "crop" and (height < self.size[0] or width < self.size[1]):
            raise SourceError(
                f"{name}: is {height}x{width}, too small to crop {needed} from; "
                "use --fit resize or pad, or a smaller --size"
            )
        if self.fit == "pad" and (height > self.size[0] or width > self.size[1]):
            raise SourceError(
                f"{name}: is {height}x{width}, too large to pad to {needed}; "
                "use --fit resize, crop or tile, or a larger --size"
            )

    def check_window(self, height: int, width: int, window: Size, *, name: str) -> None:
        """Refuse a decoded sample of another size than the one that it was planned for.

        Raises
        ------
        SourceError
            The window is none of those of a sample of this size.
        """
        if self.fit is None and (height, width) != self.size:
            raise SourceError(
                f"{name}: its header promised {self.size[0]}x{self.size[1]}, it decoded to "
                f"{height}x{width}; restore it, or take it out"
            )
        self.check(height, width, name=name)
        if window not in self.windows(height, width):
            raise SourceError(
                f"{name}: is {height}x{width}, which is not what its header promised: there is no "
                f"tile at {window[0]},{window[1]}; restore it, or take it out"
            )

    def apply(
        self, sample: Sample, fields: Sequence[Field], *, window: Size, ignore: int | None
    ) -> dict[str, NDArray[Any]]:
        """Bring a sample to size.

        Parameters
        ----------
        sample
            Arrays (H, W, …), by field.
        fields
            Their roles.
        window
            One of :meth:`windows`.
        ignore
            What padded mask pixels are; needed where :meth:`pads` says so.

        Returns
        -------
        dict
            Arrays (h, w, …), by field, C-contiguous.
        """
        fill = 0 if ignore is None else ignore
        return {
            field.name: np.ascontiguousarray(
                self._fitted(sample[field.name], field.role, window, fill)
            )
            for field in fields
        }

    def _fitted(self, values: NDArray[Any], role: Role, window: Size, ignore: int) -> NDArray[Any]:
        height, width = self.size
        if values.shape[:2] == self.size:
            return values
        if self.fit == "resize":
            resize = resize_image if role == "image" else resize_nearest
            return resize(values, self.size)
        y, x = window
        if self.fit == "crop":
            y, x = (values.shape[0] - height) // 2, (values.shape[1] - width) // 2
        values = values[y : y + height, x : x + width]
        if values.shape[:2] != self.size:
            values = _padded(values, self.size, ignore if role == "mask" else 0)
        return values

    def coverage(self, height: int, width: int) -> Coverage:
        """Count what becomes of the pixels of a sample of this size."""
        if self.fit not in ("crop", "pad", "tile"):
            return Coverage(0, 0, 0)
        inside = [
            (min(self.size[0], height - y), min(self.size[1], width - x))
            for y, x in self.windows(height, width)
        ]
        taken = sum(rows * columns for rows, columns in inside)
        stored = len(inside) * self.size[0] * self.size[1]
        total = height * width
        return Coverage(max(0, total - taken), max(0, taken - total), stored - taken)


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


def _origins(extent: int, window: int, overlap: int) -> list[int]:
    """Where windows begin that cover ``0 … extent-1``."""
    last = max(0, extent - window)
    return [*range(0, last, window - overlap), last]


def _padded(values: NDArray[Any], size: Size, fill: int) -> NDArray[Any]:
    """Add pixels at the bottom and at the right."""
    dtype = np.promote_types(values.dtype, np.min_scalar_type(fill))
    out = np.full((*size, *values.shape[2:]), fill, dtype)
    out[: values.shape[0], : values.shape[1]] = values
    return out


def resize_image(image: Image, size: Size) -> Image:
    """Resize by Pillow's bilinear filter, which averages when it makes images smaller.

    Channels are resized each by itself: Pillow would weigh colours by a fourth channel as alpha.

    Parameters
    ----------
    image
        (H, W, C) uint8, uint16 or float32.
    size
        (h, w).
    """
    from PIL import Image as PillowImage

    height, width = size
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
        if image.dtype == np.uint16:
            resized = np.clip(np.rint(resized), 0, 65535)
        out[:, :, channel] = resized
    return out


def resize_nearest(values: NDArray[Any], size: Size) -> NDArray[Any]:
    """Resize (H, W, …) by taking the pixel at the centre of each new one; no value is invented.

    Examples
    --------
    >>> resize_nearest(np.array([[1, 2, 3, 4]]), (1, 2)).tolist()
    [[2, 4]]
    """
    y, x = (
        ((2 * np.arange(new) + 1) * old) // (2 * new)
        for new, old in zip(size, values.shape[:2], strict=True)
    )
    return np.ascontiguousarray(values[np.ix_(y, x)])
