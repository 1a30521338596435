"""How are images and other arrays resized? Pure functions of arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed_convert.source import Image

_EXACT = 2**24  # float32 represents all integers up to this one exactly
_MOST = float(np.finfo(np.float32).max)


def resize_image(image: Image, size: tuple[int, ...]) -> Image:
    """Resize by Pillow's bilinear filter, which averages pixels along axes that become shorter.

    Channels are resized separately, since Pillow would weight colours by a fourth channel as alpha.
    A volume is resized plane by plane, then along its depth, since the filter is separable;
    integers are rounded once, at the end.

    Parameters
    ----------
    image
        (H, W, C) or (D, H, W, C). Volumes, and images of other dtypes than uint8, are interpolated
        as float32.
    size
        New size, (h, w) or (d, h, w).

    Raises
    ------
    SourceError
        The image has integers that float32 cannot represent exactly, or floats beyond its range.
    """
    _require_exact(image)
    # Pillow's own arithmetic for uint8 rounds after each axis, which is right to ±1.
    kind = np.uint8 if image.dtype == np.uint8 and len(size) == 2 else np.float32
    out = np.empty((*size, image.shape[-1]), image.dtype)
    for channel in range(image.shape[-1]):
        resized = _resized(image[..., channel], size, np.dtype(kind))
        if out.dtype.kind in "ui" and kind != np.uint8:
            limits = np.iinfo(out.dtype)
            resized = np.clip(np.rint(resized), limits.min, limits.max)
        out[..., channel] = resized
    return out


def _require_exact(image: Image) -> None:
    whole = image.dtype.kind in "ui"
    if whole and image.dtype.itemsize > 2 and max(-int(image.min()), int(image.max())) > _EXACT:
        raise SourceError(
            f"needed integers within ±{_EXACT}, which float32 interpolates exactly, found others; "
            "use --fit crop or pad, or scale them first"
        )
    if image.dtype == np.float64 and (np.abs(image[np.isfinite(image)]) > _MOST).any():
        raise SourceError(
            f"needed floats within ±{_MOST:g}, which float32 interpolates, found others; use --fit "
            "crop or pad, or scale them first"
        )


def _resized(values: NDArray[Any], size: tuple[int, ...], kind: np.dtype[Any]) -> NDArray[Any]:
    """Resize (H, W) or (D, H, W) with the arithmetic of uint8 or float32."""
    from PIL import Image as PillowImage

    if len(size) == 3:
        planes = np.stack([_resized(plane, size[1:], kind) for plane in values])
        if len(planes) == size[0]:
            return planes
        lines = planes.reshape(len(planes), -1)
        return _resized(lines, (size[0], lines.shape[1]), kind).reshape(size)
    height, width = size
    plane = PillowImage.fromarray(np.ascontiguousarray(values, kind))
    return np.asarray(plane.resize((width, height), PillowImage.Resampling.BILINEAR))


def resize_nearest(values: NDArray[Any], size: tuple[int, ...]) -> NDArray[Any]:
    """Resize (H, W, …) or (D, H, W, …) by taking the pixel at the centre of each new pixel.

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
