"""How do the decoded pixels of a file become an image?

Pure functions of arrays, palettes and channels, independent of files and decoders.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.georeference import Georeference

Color: TypeAlias = Literal["auto", "grey", "rgb", "rgba"]
CHANNELS = {"grey": 1, "rgb": 3, "rgba": 4}


@dataclass(frozen=True, slots=True)
class Pixels:
    """A decoded file.

    Attributes
    ----------
    values
        (H, W) grey or palette indices, or (H, W, C): grey and alpha, RGB, RGBA, or more channels.
    palette
        (n, 3 or 4) uint8 colours of the indices; None if `values` are not indices.
    bands
        Whether channels are independent bands, as in arrays, so that two are not grey and alpha.
    step
        Factor by which grey of fewer than 8 bits was multiplied, so that white is 255.
    nodata
        Stored values that the file declares as no data.
    jpeg
        Whether the file is a JPEG, whose compression changes numbers.
    """

    values: NDArray[Any]
    palette: NDArray[np.uint8] | None = None
    bands: bool = False
    step: int = 1
    nodata: tuple[float, ...] = ()
    jpeg: bool = False

    @property
    def stored(self) -> NDArray[Any]:
        """Values before the multiplication by `step`, such as 0 … 3."""
        return self.values if self.step == 1 else self.values // np.uint8(self.step)


@dataclass(frozen=True, slots=True)
class Measure:
    """What the header of a file says about the image that :func:`decode` will return.

    Attributes
    ----------
    height, width
        Size in pixels, after rotation.
    channels
        Number of channels in colour ``auto``.
    dtype
        Name of the dtype.
    palette
        Red, green and blue of every palette index; empty if there is no palette.
    place
        Location of the pixels, if the file records it.
    turned
        Whether the file says that it must be rotated or mirrored for display.
    nodata
        Stored values that the file declares as no data.
    windows
        Whether a part of the image can be decoded without the rest.
    levels
        Number of resolutions at which the file has the image.
    planes
        Number of planes of a volume; 0 of images.
    """

    height: int
    width: int
    channels: int
    dtype: str
    palette: bytes = b""
    place: Georeference | None = None
    turned: bool = False
    nodata: tuple[float, ...] = ()
    windows: bool = False
    levels: int = 1
    planes: int = 0

    @property
    def size(self) -> tuple[int, ...]:
        """Size in pixels, (H, W) or (D, H, W)."""
        size = self.height, self.width
        return (self.planes, *size) if self.planes else size


def step_of(bits: int) -> int:
    """Return the factor that scales grey of `bits` bits to 8 bits.

    Examples
    --------
    >>> [step_of(bits) for bits in (1, 2, 4, 8, 16)]
    [255, 85, 17, 1, 1]
    """
    return 255 // ((1 << bits) - 1) if bits < 8 else 1


def as_image(pixels: Pixels, color: Color) -> NDArray[Any]:
    """Convert decoded pixels to an image with the channels of a colour mode.

    Parameters
    ----------
    pixels
        A decoded file.
    color
        ``auto`` keeps the channels of the file, but converts palettes to colours, and grey with
        alpha to RGBA. ``grey`` is ITU-R 601 luma, as in Pillow, rounded for integers. An added
        alpha channel is opaque: the highest value of integers, 1 of floats.

    Returns
    -------
    ndarray
        (H, W, C), C-contiguous.
    """
    values = pixels.values
    if pixels.palette is not None:
        values = pixels.palette[np.minimum(values, len(pixels.palette) - 1)]
    if values.ndim == 2:
        values = values[:, :, np.newaxis]
    channels = values.shape[2] if pixels.bands else shown_channels(values.shape[2])
    channels = channels if color == "auto" else CHANNELS[color]
    return np.ascontiguousarray(_with_channels(values, channels))


def shown_channels(channels: int) -> int:
    """Return the number of channels in colour ``auto``: grey with alpha becomes RGBA."""
    return 4 if channels == 2 else channels


def _with_channels(values: NDArray[Any], channels: int) -> NDArray[Any]:
    has = values.shape[2]
    if has == channels:
        return values
    if channels == 1:
        return values[:, :, :1] if has == 2 else _luma(values)
    colors = np.repeat(values[:, :, :1], 3, axis=2) if has < 3 else values[:, :, :3]
    if channels == 3:
        return colors
    opaque = 1 if values.dtype.kind == "f" else np.iinfo(values.dtype).max
    alpha = values[:, :, -1:] if has == 2 else np.full_like(colors[:, :, :1], opaque)
    return np.concatenate([colors, alpha], axis=2)


def _luma(values: NDArray[Any]) -> NDArray[Any]:
    red, green, blue = np.split(values[:, :, :3], 3, axis=2)
    floats = values.dtype.kind == "f"
    wide = np.promote_types(values.dtype, np.float32 if floats else np.int64)
    red, green, blue = (part.astype(wide, copy=False) for part in (red, green, blue))
    if floats:
        luma = 0.299 * red + 0.587 * green + 0.114 * blue
    else:  # Pillow's fixed-point weights, so that 8-bit luma equals Pillow's
        luma = (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16
    return np.asarray(luma, values.dtype)


def turn(pixels: Pixels, orientation: int) -> Pixels:
    """Rotate and mirror stored pixels as viewers show them.

    Parameters
    ----------
    pixels
        Pixels in stored order.
    orientation
        1 … 8, as EXIF and TIFF define it.

    Examples
    --------
    >>> turn(Pixels(np.array([[1, 2, 3]])), 6).values.tolist()
    [[1], [2], [3]]
    """
    values = pixels.values
    if orientation >= 5:
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return replace(pixels, values=values)


def stored_window(
    window: tuple[slice, slice], orientation: int, size: tuple[int, int]
) -> tuple[slice, slice]:
    """Find the part of an image that :func:`turn` turns into a window of the turned image.

    Parameters
    ----------
    window
        Rows and columns of the turned image.
    orientation
        1 … 8, as EXIF and TIFF define it.
    size
        (height, width) of the turned image.

    Examples
    --------
    >>> stored_window((slice(0, 1), slice(0, 2)), 6, (3, 5))
    (slice(3, 5, None), slice(0, 1, None))
    """
    rows, columns = (
        slice(*each.indices(count)[:2]) for each, count in zip(window, size, strict=True)
    )
    if orientation in (3, 4, 7, 8):
        rows = slice(size[0] - rows.stop, size[0] - rows.start)
    if orientation in (2, 3, 6, 7):
        columns = slice(size[1] - columns.stop, size[1] - columns.start)
    return (columns, rows) if orientation >= 5 else (rows, columns)
