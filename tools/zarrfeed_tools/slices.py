"""Draw slices of volumes with their true and predicted masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed import open_cases
from zarrfeed.pictures.palette import Palette
from zarrfeed.pictures.thumbnails import pick
from zarrfeed.pictures.windows import Window, to_rgb
from zarrfeed_tools.pictures import side_by_side

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

    from zarrfeed import Cases
    from zarrfeed_tools.intensities import Intensities

_ROWS = 4
_ZOOM = 2  # pixels of the picture per voxel


def draw_slices(
    cases: Cases, predictions: Path, *, of_class: str, intensities: Intensities
) -> Image.Image:
    """Draw the slice of each volume that has most voxels of a class.

    Parameters
    ----------
    cases
        Volumes with masks, of which the first four are drawn.
    predictions
        A split of the same cases, with class ids in the field `prediction`.
    of_class
        Name of the class.
    intensities
        The range of values in the middle third of all greys.
    """
    wanted, predicted = cases.split.classes.index(of_class), open_cases(predictions)
    palette = Palette.of(cases.split.classes, cases.split.ignore)
    rows = []
    for key in list(cases)[:_ROWS]:
        mask = np.asarray(cases.open(key, "mask"))
        z = int(np.argmax(np.count_nonzero(mask == wanted, axis=(1, 2))))
        image = _grey(cases[key][z, :, :, :1], intensities)
        guess = predicted.open(key, "prediction")[z]
        rows.append((*map(_zoomed, (image, mask[z], guess)), f"{key}, slice {z}"))
    images, masks, guesses, titles = zip(*rows, strict=True)
    return side_by_side(images, masks, guesses, titles, palette=palette, overlay=True)


def _grey(image: NDArray[Any], intensities: Intensities) -> NDArray[np.uint8]:
    low, high = intensities.low[:1], intensities.high[:1]
    return to_rgb(image, Window(2 * low - high, 2 * high - low))


def _zoomed(image: NDArray[Any]) -> NDArray[Any]:
    return pick(image, (image.shape[0] * _ZOOM, image.shape[1] * _ZOOM))
