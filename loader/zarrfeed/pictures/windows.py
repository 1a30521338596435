"""How does an image of any dtype, number of channels and range of values look on a screen? Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PERCENTILES = (0.5, 99.5)  # a few broken pixels don't make an image dark
_MOST_VALUES = 1 << 20  # of a channel, from which the percentiles are estimated


class Window(NamedTuple):
    """The values that are black and white, like the window of a radiologist.

    Attributes
    ----------
    low, high
        (C,) float64 each, one per channel, or one for all.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]


def window_of(image: NDArray[Any], *, together: bool = False) -> Window:
    """Find the values between which nearly all pixels of an image are.

    Parameters
    ----------
    image
        (…, C) numbers. NaN and infinite values do not count.
    together
        Whether to return one window for all channels, which keeps the hues of a colour image.

    Returns
    -------
    Window
        The percentiles 0.5 and 99.5 of each channel. Where both are the same, the smallest and the
        largest value.

    Examples
    --------
    >>> window_of(np.arange(1001.0)[:, None])
    Window(low=array([5.]), high=array([995.]))
    """
    values = _real(image)
    values = values.reshape(-1, 1 if together else values.shape[-1])
    values = values[:: max(1, len(values) // _MOST_VALUES)]
    ranges = [_range(channel[np.isfinite(channel)]) for channel in values.T]
    low, high = np.array(ranges, np.float64).reshape(-1, 2).T
    return Window(low, high)


def _range(values: NDArray[Any]) -> tuple[float, float]:
    if not values.size:
        return 0.0, 0.0
    low, high = np.percentile(values.astype(np.float64), PERCENTILES, method="nearest")
    if low == high:
        low, high = values.min(), values.max()
    return float(low), float(high)


def to_rgb(image: NDArray[Any], window: Window | None = None) -> NDArray[np.uint8]:
    """Make an RGB picture of an image.

    Parameters
    ----------
    image
        (H, W) or (H, W, C), of any numbers or booleans. One channel becomes grey; of two, the first
        becomes magenta and the second green; of more than three, the first three are shown.
    window
        What is black and white. By default :func:`window_of` the shown channels, of three channels
        together; uint8 is left as it is, and booleans become black and white.

    Returns
    -------
    (H, W, 3) uint8
        NaN is black. So is an image that has one value only.

    Examples
    --------
    >>> to_rgb(np.array([[-1000, 0, 1000]], np.int16))[0, :, 0].tolist()
    [0, 127, 255]
    """
    image = image[..., None] if image.ndim == 2 else image
    channels = image.shape[-1]
    if not channels:
        return np.zeros((*image.shape[:2], 3), np.uint8)
    image = image[..., :3]
    if window is not None and len(window.low) > 3:
        window = Window(window.low[:3], window.high[:3])
    if image.dtype == bool:
        image = image.astype(np.uint8) * np.uint8(255)
    if image.dtype != np.uint8 or window is not None:
        shown = window_of(image, together=channels == 3) if window is None else window
        image = _scaled(_real(image), shown)
    if channels == 1:
        return np.repeat(image, 3, axis=-1)
    return np.ascontiguousarray(image[..., [0, 1, 0]] if channels == 2 else image)


def _real(image: NDArray[Any]) -> NDArray[Any]:
    """Return numbers that can be compared: the magnitude of complex ones."""
    return np.abs(image) if image.dtype.kind == "c" else image


def _scaled(image: NDArray[Any], window: Window) -> NDArray[np.uint8]:
    # Halves, for the difference of two float64 may be infinite.
    low, high = np.asarray(window.low) / 2, np.asarray(window.high) / 2
    span = high - low
    halves = np.clip(image / 2, low, np.maximum(low, high))  # of integers, too: float64
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = (halves.astype(np.float64, copy=False) - low) / span
    shares = np.where(span > 0, shares, 0.0)
    return (np.nan_to_num(shares, nan=0.0) * 255).clip(0, 255).astype(np.uint8)
