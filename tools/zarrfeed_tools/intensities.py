"""Which values do the classes of a dataset have?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zarrfeed import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_PERCENTILES = (0.5, 99.5)  # as nnU-Net's CT normalization


class Intensities(NamedTuple):
    """The range of values that matters, like the window of a radiologist.

    Attributes
    ----------
    low, high
        (C,) float64 each, per channel.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]


def measure_intensities(
    batches: Iterable[tuple[NDArray[Any], NDArray[Any]]], *, ignore: int | None
) -> Intensities:
    """Measure the range of nearly all labelled pixels, as nnU-Net does for CT.

    Parameters
    ----------
    batches
        Images (b, …, C) and masks (b, …) of class ids. Class 0 is the background.
    ignore
        Mask id of pixels that belong to no class.

    Returns
    -------
    Intensities
        The percentiles 0.5 and 99.5 of the pixels of all classes but the background.

    Raises
    ------
    StoreError
        There are no such pixels.

    Examples
    --------
    >>> image = np.arange(1001.0).reshape(1, 1, 1001, 1)
    >>> measure_intensities([(image, np.ones((1, 1, 1001), np.uint8))], ignore=None).high
    array([995.])
    """
    values = np.concatenate([image[(mask != 0) & (mask != ignore)] for image, mask in batches])
    if not len(values):
        raise StoreError("needed pixels of a class but the background, found none in all batches")
    low, high = np.percentile(values, _PERCENTILES, axis=0)
    return Intensities(low, np.maximum(high, low + 1e-6))  # a constant has a range, too
