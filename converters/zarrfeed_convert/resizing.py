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
    """Resize by Pillow's bilinear filter, which averages pixels when images become smaller.

    Channels are resized separately, since Pillow would weight colours by a fourth channel as alpha.
    A volume is resized plane by plane, then along its depth, since the filter is separable.

    Parameters
    ----------
    image
        (H, W, C) or (D, H, W, C). Other dtypes than uint8 are interpolated as float32.
    size
        New size, (h, w) or (d, h, w).

    Raises
    ------
    SourceError
        The image has integers that float32 cannot represent exactly, or floats beyond its range.
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
