"""Draw slices of volumes with their true and predicted masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed import open_cases
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
    rows = []
    for key in list(cases)[:_ROWS]:
        mask = np.asarray(cases.open(key, "mask"))
        z = int(np.argmax(np.count_nonzero(mask == wanted, axis=(1, 2))))
        image = _grey(cases[key][z, :, :, :1], intensities)
        guess = predicted.open(key, "prediction")[z]
        rows.append((*map(_zoomed, (image, mask[z], guess)), f"{key}, slice {z}"))
    images, masks, guesses, titles = zip(*rows, strict=True)
    return side_by_side(images, masks, guesses, titles, classes=cases.split.classes, overlay=True)


def _grey(image: NDArray[Any], intensities: Intensities) -> NDArray[np.uint8]:
    low, high = intensities.low[0], intensities.high[0]
    shown = (image - low) / (high - low)  # from -1, black, to 2, white
    return np.asarray((shown + 1) / 3 * 255).clip(0, 255).astype(np.uint8)


def _zoomed(image: NDArray[Any]) -> NDArray[Any]:
    return image.repeat(_ZOOM, axis=0).repeat(_ZOOM, axis=1)
