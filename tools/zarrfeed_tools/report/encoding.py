"""Write small pictures into a page, as data URIs in few bytes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup
from PIL import Image

from zarrfeed.pictures.picture_files import data_uri, jpeg_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray


def resized(picture: NDArray[np.uint8], size: tuple[int, ...]) -> NDArray[np.uint8]:
    """Shrink or enlarge an RGB picture: the mean of the pixels that fall into one.

    Parameters
    ----------
    picture
        (H, W, 3) uint8.
    size
        (h, w) of the result.
    """
    if picture.shape[:2] == size:
        return picture
    height, width = size
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BOX))


def jpeg_uri(picture: NDArray[np.uint8], *, quality: int) -> Markup:
    """Return an RGB picture as a JPEG in a data URI, far smaller than a PNG.

    Parameters
    ----------
    picture
        (h, w, 3) uint8.
    quality
        1 … 95.
    """
    return _uri(jpeg_bytes(picture, quality=quality))


def overlay_uri(overlay: NDArray[np.uint8]) -> Markup:
    """Return the colours of a mask as a PNG in a data URI, with a palette if they are few.

    Parameters
    ----------
    overlay
        (h, w, 4) uint8: RGBA.
    """
    colors, places = np.unique(
        np.ascontiguousarray(overlay).view(np.uint32).reshape(-1), return_inverse=True
    )
    image = Image.fromarray(overlay)
    if len(colors) <= 256:
        image = Image.fromarray(places.reshape(overlay.shape[:2]).astype(np.uint8), "P")
        image.putpalette(colors.view(np.uint8).tobytes(), "RGBA")
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=9)  # optimize=True takes five times as long
    return _uri(file.getvalue())


def _uri(encoded: bytes) -> Markup:
    return Markup(data_uri(encoded))  # base64 needs no escaping
