"""Draw images, true masks and predicted masks side by side."""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_GAP = 6
_LINE = 18
_TITLES = ("image", "true mask", "predicted mask")


def class_colors(names: Sequence[str]) -> NDArray[np.uint8]:
    """Choose distinct colours for classes, with hues by the golden angle.

    Parameters
    ----------
    names
        Class names. The first class is black if it is called background.

    Returns
    -------
    (classes, 3) uint8
        RGB values.
    """
    hues = [colorsys.hsv_to_rgb(i * 0.381966 % 1, 0.65, 0.95) for i in range(len(names))]
    colors = (np.array(hues).reshape(-1, 3) * 255).astype(np.uint8)
    if names and names[0].lower() == "background":
        colors[0] = 0
    return colors


def side_by_side(
    images: Sequence[NDArray[Any]] | NDArray[Any],
    masks: Sequence[NDArray[Any]] | NDArray[Any],
    predictions: Sequence[NDArray[Any]] | NDArray[Any],
    keys: Sequence[str],
    *,
    classes: Sequence[str],
    overlay: bool = False,
) -> Image.Image:
    """Draw one row per sample, below a legend of the classes.

    Parameters
    ----------
    images
        (H, W, C) each, with 1, 3 (RGB) or 4 (RGBA) channels. Dtypes other than uint8 are scaled
        from zero, or the darkest value below it, to the brightest value of the image.
    masks, predictions
        (H, W) class ids each. Ids beyond `classes`, such as an ignore id, are white.
    keys
        Names of the samples, which are written above their rows.
    classes
        Class names by id.
    overlay
        Whether to lay the colours of the classes over the image, which shows through the black of
        the background.
    """
    colors = np.full((np.iinfo(np.uint16).max + 1, 3), 255, np.uint8)
    colors[: len(classes)] = class_colors(classes)
    height, width = sum(len(mask) for mask in masks), max(mask.shape[1] for mask in masks)
    sheet_width = 3 * width + 4 * _GAP
    legend = _legend(classes, sheet_width - 2 * _GAP)
    top = 2 * _GAP + legend.height
    sheet = Image.new("RGB", (sheet_width, top + height + len(masks) * (_LINE + _GAP)), "white")
    sheet.paste(legend, (_GAP, _GAP))
    pen = ImageDraw.Draw(sheet)
    for image, mask, prediction, key in zip(images, masks, predictions, keys, strict=True):
        shown = _visible(image)
        panels = [shown, colors[mask], colors[prediction]]
        if overlay:
            panels = [shown, *(_overlaid(shown, panel) for panel in panels[1:])]
        for column, (panel, title) in enumerate(zip(panels, _TITLES, strict=True)):
            left = _GAP + column * (width + _GAP)
            pen.text((left, top + 2), key if column == 0 else title, fill="black")
            sheet.paste(Image.fromarray(panel), (left, top + _LINE))
        top += len(mask) + _LINE + _GAP
    return sheet


def _overlaid(image: NDArray[np.uint8], colors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mix an image with colours, half of each, except where these are black."""
    return np.where(colors.any(axis=-1, keepdims=True), image // 2 + colors // 2, image)


def _legend(classes: Sequence[str], width: int) -> Image.Image:
    """Draw a coloured square and a name for each class, in as many lines as needed."""
    places, left, top = [], 0, 0
    for name in classes:
        size = _LINE + int(ImageDraw.Draw(Image.new("L", (1, 1))).textlength(name)) + 2 * _GAP
        if left and left + size > width:
            left, top = 0, top + _LINE
        places.append((left, top))
        left += size
    legend = Image.new("RGB", (width, top + _LINE), "white")
    pen = ImageDraw.Draw(legend)
    for (left, top), name, color in zip(
        places, classes, class_colors(classes).tolist(), strict=True
    ):
        pen.rectangle((left, top + 3, left + 11, top + 14), fill=tuple(color))
        pen.text((left + _LINE, top + 2), name, fill="black")
    return legend


def _visible(image: NDArray[Any]) -> NDArray[np.uint8]:
    if image.dtype != np.uint8:
        wide = np.nan_to_num(image.astype(np.float64))
        low = min(0.0, float(wide.min()))
        image = ((wide - low) / max(1e-9, float(wide.max()) - low) * 255).astype(np.uint8)
    return np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image[..., :3]
