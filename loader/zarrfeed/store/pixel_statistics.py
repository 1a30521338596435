"""What are the mean and the variance of a split's images? Read, not computed: they were packed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from zarrfeed.errors import StoreError
from zarrfeed.store.reader import sum_samples
from zarrfeed.store.schema import CHANNEL_SUMS, IMAGE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed.arrays import Ids
    from zarrfeed.store.split import Split


class Normalization(NamedTuple):
    """What ``keras.layers.Normalization`` needs to know of images.

    Attributes
    ----------
    mean, variance
        (C,) float64 of each channel, over all pixels but those that are NaN or infinite.
    """

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]


def normalization_of(split: Split, ids: Ids) -> Normalization:
    """Sum up the channels of some samples.

    Parameters
    ----------
    split
        An opened split.
    ids
        (n,) of the samples, or a range; at least one.

    Raises
    ------
    StoreError
        Nobody added the channels up when the split was packed.

    Notes
    -----
    ``variance = E[x²] - E[x]²``, from sums that are exact for integers.
    """
    described, image = split.describing(CHANNEL_SUMS), split.layouts.get(IMAGE)
    if described is None or image is None or described.shape[1] != image.shape[-1]:
        raise StoreError(
            f"{split.path}: needed sums of the images' channels, found none: it was not packed by "
            "zarrfeed, or by an older one; `zarrfeed repack` adds them"
        )
    sums = sum_samples(split, CHANNEL_SUMS, ids, np.float64)
    if not np.isfinite(sums).all():
        raise StoreError(
            f"{split.path / CHANNEL_SUMS}: needed finite sums, found {sums.tolist()}: an older "
            "zarrfeed packed images with NaN or infinite values; convert them again"
        )
    pixels = len(ids) * math.prod(image.shape[1:3])
    counts = np.maximum(pixels - sums[:, 2:].sum(axis=1), 1)
    mean = sums[:, 0] / counts
    return Normalization(mean, np.maximum(sums[:, 1] / counts - mean**2, 0.0))
