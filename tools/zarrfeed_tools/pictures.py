"""Draw images, true masks and predicted masks side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw

from zarrfeed.pictures.overlays import mask_colors, overlaid
from zarrfeed.pictures.windows import to_rgb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed.pictures.palette import Palette

_GAP = 6
_LINE = 18
_TITLES = ("image", "true mask", "predicted mask")


def side_by_side(
    images: Sequence[NDArray[Any]] | NDArray[Any],
    masks: Sequence[NDArray[Any]] | NDArray[Any],
    predictions: Sequence[NDArray[Any]] | NDArray[Any],
    keys: Sequence[str],
    *,
    palette: Palette,
    overlay: bool = False,
) -> Image.Image:
    """Draw one row per sample, below a legend of the classes.

    Parameters
    ----------
    images
        (H, W, C) each, of any dtype and number of channels.
    masks, predictions
        (H, W) class ids each.
    keys
        Names of the samples, which are written above their rows.
    palette
        The colours of the classes.
    overlay
        Whether to lay the colours of the classes over the image, except the background's.
    """
    height, width = sum(len(mask) for mask in masks), max(mask.shape[1] for mask in masks)
    sheet_width = 3 * width + 4 * _GAP
    legend = _legend(palette, sheet_width - 2 * _GAP)
    top = 2 * _GAP + legend.height
    sheet = Image.new("RGB", (sheet_width, top + height + len(masks) * (_LINE + _GAP)), "white")
    sheet.paste(legend, (_GAP, _GAP))
    pen = ImageDraw.Draw(sheet)
    for image, mask, prediction, key in zip(images, masks, predictions, keys, strict=True):
        shown = to_rgb(image)
        colored = [
            overlaid(shown, ids, palette) if overlay else mask_colors(ids, palette)[0]
            for ids in (mask, prediction)
        ]
        for column, (panel, title) in enumerate(zip([shown, *colored], _TITLES, strict=True)):
            left = _GAP + column * (width + _GAP)
            pen.text((left, top + 2), key if column == 0 else title, fill="black")
            sheet.paste(Image.fromarray(panel), (left, top + _LINE))
        top += len(mask) + _LINE + _GAP
    return sheet


def _legend(palette: Palette, width: int) -> Image.Image:
    """Draw a coloured square and a name for each class, in as many lines as needed."""
    places, left, top = [], 0, 0
    for name, color in palette.legend():
        size = _LINE + int(ImageDraw.Draw(Image.new("L", (1, 1))).textlength(name)) + 2 * _GAP
        if left and left + size > width:
            left, top = 0, top + _LINE
        places.append((name, color, left, top))
        left += size
    legend = Image.new("RGB", (width, top + _LINE), "white")
    pen = ImageDraw.Draw(legend)
    for name, color, left, top in places:
        pen.rectangle((left, top + 3, left + 11, top + 14), fill=color)
        pen.text((left + _LINE, top + 2), name, fill="black")
    return legend
