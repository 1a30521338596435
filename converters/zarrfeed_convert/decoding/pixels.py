"""How do a file's pixels become an image?

Pure: it knows arrays, palettes and channels, no file and no decoder.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.georeference import Place

Color: TypeAlias = Literal["auto", "grey", "rgb", "rgba"]
CHANNELS = {"grey": 1, "rgb": 3, "rgba": 4}


@dataclass(frozen=True, slots=True)
class Pixels:
    """A decoded file.

    Attributes
    ----------
    values
        (H, W) grey or palette indices, or (H, W, C): grey and alpha, RGB, RGBA, or more.
    palette
        (n, 3 or 4) uint8: the colours of the indices; None where `values` are no indices.
    bands
        Channels are what they are, as those of arrays: two are not grey and alpha.
    step
        By which grey of fewer bits than 8 was multiplied, so that white is 255, as viewers show it.
    nodata
        Values, as the file's bits hold them, that it declares to be none.
    """

    values: NDArray[Any]
    palette: NDArray[np.uint8] | None = None
    bands: bool = False
    step: int = 1
    nodata: tuple[float, ...] = ()

    @property
    def stored(self) -> NDArray[Any]:
        """Values as the file's bits hold them, such as 0 … 3."""
        return self.values if self.step == 1 else self.values // np.uint8(self.step)


@dataclass(frozen=True, slots=True)
class Measure:
    """What a file's header says: its size as it is shown, and what :func:`decode` will return.

    `palette` holds a palette's colours, red, green and blue; it is empty where there is none.
    `place` is where the pixels lie, if the file says it; `turned`, whether it says that it is to be
    shown turned; `nodata`, the values that it declares to be none.
    """

    height: int
    width: int
    channels: int
    dtype: str
    palette: bytes = b""
    place: Place | None = None
    turned: bool = False
    nodata: tuple[float, ...] = ()


def step_of(bits: int) -> int:
    """Return what grey of so many bits is multiplied by, to be of 8.

    Examples
    --------
    >>> [step_of(bits) for bits in (1, 2, 4, 8, 16)]
    [255, 85, 17, 1, 1]
    """
    return 255 // ((1 << bits) - 1) if bits < 8 else 1


def as_image(pixels: Pixels, color: Color) -> NDArray[Any]:
    """Arrange a file's pixels as an image.

    Parameters
    ----------
    pixels
        A decoded file.
    color
        ``auto`` keeps the channels that the file has; palettes become colours, and grey with
        alpha becomes RGBA. ``grey`` is ITU-R 601 luma, as in Pillow. A new alpha is opaque.

    Returns
    -------
    (H, W, C)
        C-contiguous.
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
    """Count the channels that an image of so many has in colour ``auto``: alpha goes with RGB."""
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
    red, green, blue = (values[:, :, [channel]] for channel in range(3))
    if values.dtype.kind == "f":
        return (0.299 * red + 0.587 * green + 0.114 * blue).astype(values.dtype)
    # Pillow's fixed-point weights, so that 8-bit luma is equal to its own.
    wide = (part.astype(np.uint64) for part in (red, green, blue))
    weighted = sum(part * np.uint64(w) for part, w in zip(wide, (19595, 38470, 7471), strict=True))
    return ((weighted + np.uint64(0x8000)) >> np.uint64(16)).astype(values.dtype)


def turn(pixels: Pixels, orientation: int) -> Pixels:
    """Turn stored pixels the way viewers show them.

    Parameters
    ----------
    pixels
        As they are stored.
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
