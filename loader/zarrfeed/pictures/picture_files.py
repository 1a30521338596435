"""Pictures as PNG and JPEG. The only module of the loader that imports Pillow."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def png_bytes(picture: NDArray[np.uint8], *, colors: int | None = None) -> bytes:
    r"""Encode a picture as PNG, exactly.

    Parameters
    ----------
    picture
        (H, W), (H, W, 3) or (H, W, 4) uint8: grey, RGB or RGBA.
    colors
        First reduce the picture to so many colours, 2 … 256; a photograph takes a third of the
        bytes then.

    Returns
    -------
    bytes
        A PNG file.

    Examples
    --------
    >>> import numpy as np
    >>> png_bytes(np.zeros((2, 2), np.uint8))[:4]
    b'\x89PNG'
    """
    image = Image.fromarray(picture)
    if colors is not None:
        method = Image.Quantize.FASTOCTREE if image.mode == "RGBA" else Image.Quantize.MEDIANCUT
        image = image.quantize(colors, method)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def jpeg_bytes(picture: NDArray[np.uint8], *, quality: int = 80) -> bytes:
    """Encode a photograph as JPEG, about.

    Parameters
    ----------
    picture
        (H, W) or (H, W, 3) uint8: grey or RGB.
    quality
        1 … 95.

    Returns
    -------
    bytes
        A JPEG file.
    """
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality, optimize=True)
    return file.getvalue()


def data_uri(encoded: bytes) -> str:
    """Return a picture as an address that a page can show without another file.

    Parameters
    ----------
    encoded
        A PNG or JPEG file, of :func:`png_bytes` or :func:`jpeg_bytes`.

    Returns
    -------
    str
        ``data:image/…;base64,…``
    """
    kind = "jpeg" if encoded.startswith(b"\xff\xd8") else "png"
    return f"data:image/{kind};base64,{base64.b64encode(encoded).decode('ascii')}"
