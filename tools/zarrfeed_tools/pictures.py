"""Lay images, true masks and predicted masks side by side in one picture."""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_GAP = 6
_TITLE = 18
_TITLES = ("image", "true mask", "predicted mask")


def class_colors(classes: int) -> NDArray[np.uint8]:
    """Choose colours that are told apart: black for class 0, then hues by the golden angle.

    Returns
    -------
    (classes, 3) uint8
    """
    hues = [colorsys.hsv_to_rgb(i * 0.381966 % 1, 0.65, 0.95) for i in range(classes - 1)]
    return (np.array([(0.0, 0.0, 0.0), *hues]) * 255).astype(np.uint8)


def side_by_side(
    images: NDArray[Any],
    masks: NDArray[Any],
    predictions: NDArray[Any],
    names: Sequence[str],
    *,
    classes: int,
) -> Image.Image:
    """Draw a row per sample.

    Parameters
    ----------
    images
        (b, H, W, C): 1 channel, RGB or RGBA; scaled to its own brightest value unless uint8.
    masks, predictions
        (b, H, W) class ids; ids beyond `classes`, such as an ignore id, are drawn white.
    names
        Of the samples, written above each row.
    classes
        How many classes there are.
    """
    colors = np.full((np.iinfo(np.uint16).max + 1, 3), 255, np.uint8)
    colors[:classes] = class_colors(classes)
    rows, height, width = masks.shape
    sheet = Image.new(
        "RGB",
        (3 * width + 4 * _GAP, rows * (height + _TITLE + _GAP) + _GAP),
        "white",
    )
    pen = ImageDraw.Draw(sheet)
    for row in range(rows):
        top = _GAP + row * (height + _TITLE + _GAP)
        panels = (_visible(images[row]), colors[masks[row]], colors[predictions[row]])
        for column, (panel, title) in enumerate(zip(panels, _TITLES, strict=True)):
            left = _GAP + column * (width + _GAP)
            text = names[row] if column == 0 else title
            pen.text((left, top + 2), text, fill="black")
            sheet.paste(Image.fromarray(panel), (left, top + _TITLE))
    return sheet


def _visible(image: NDArray[Any]) -> NDArray[np.uint8]:
    if image.dtype != np.uint8:
        image = (image / max(1e-9, float(image.max())) * 255).astype(np.uint8)
    return np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image[..., :3]
