"""What do the descriptive arrays of a split say of its samples?

Their names, the pixels of each class, the mean and the variance of the images: read, not computed.
They were written when the split was packed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zarrfeed.errors import StoreError
from zarrfeed.store.reader import SplitReader, read_samples
from zarrfeed.store.schema import CHANNEL_SUMS, CLASS_PIXELS, IMAGE, KEY, MASK

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from zarrfeed.arrays import Ids
    from zarrfeed.store.split import Split

# Samples that are summed at a time, and their bytes.
_SUMMED, _SUMMED_NBYTES = 1 << 16, 8 << 20


def sample_names(split: Split, ids: Ids) -> list[str]:
    """Name samples by their key, or by their id where the store has no keys."""
    if split.describing(KEY) is None:
        return [f"sample {sample}" for sample in ids]
    keys = read_samples(split, KEY, ids)
    return [decode_name(key) for key in keys]


def decode_name(stored: NDArray[np.uint8]) -> str:
    """Decode a name as it is stored: UTF-8, padded with zeros."""
    return bytes(stored).rstrip(b"\0").decode("utf-8", "replace")


def class_pixels(split: Split, ids: Ids) -> NDArray[np.int64] | None:
    """Sum the pixels of each class over samples.

    Parameters
    ----------
    split
        An opened split.
    ids
        (n,) of the samples, or a ``range``.

    Returns
    -------
    (classes,) int64, or None where the store does not count them.

    Raises
    ------
    StoreError
        A class has more pixels than there are, or fewer than none.
    """
    counted, mask = split.describing(CLASS_PIXELS), split.layouts.get(MASK)
    if counted is None or (split.classes and counted.sample_shape != (len(split.classes),)):
        return None
    pixels = _sum(split, CLASS_PIXELS, ids, np.int64)
    most = len(ids) * math.prod(mask.sample_shape) if mask else pixels.max(initial=0)
    if ((pixels < 0) | (pixels > most)).any():
        raise StoreError(
            f"{split.path / CLASS_PIXELS}: needed counts from 0 to {most}, all pixels of "
            f"{len(ids)} samples, found {pixels.tolist()!s:.200}: restore it, or convert again"
        )
    return pixels


class Normalization(NamedTuple):
    """What ``keras.layers.Normalization`` needs to know of images.

    Attributes
    ----------
    mean, variance
        (C,) float64 of each channel, over all pixels but those that are NaN or infinite.
    """

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]


def normalization_of(split: Split, ids: Ids, field: str = IMAGE) -> Normalization:
    """Sum up the channels of some samples.

    Parameters
    ----------
    split
        An opened split.
    ids
        (n,) of the samples, or a range; at least one.
    field
        An array whose role is `image`.

    Raises
    ------
    StoreError
        The channels were not added up when the split was packed, or the field is no image.

    Notes
    -----
    ``variance = E[x²] - E[x]²``, from sums that are exact for integers.
    """
    described = split.describing(CHANNEL_SUMS)
    roles = split.attributes.get("packed", {}).get("roles", {IMAGE: "image"})
    images = [name for name, role in roles.items() if role == "image" and name in split.layouts]
    channels = [split.layouts[name].shape[-1] for name in images]
    if field in split.layouts and images and field not in images:
        raise StoreError(
            f"{split.path}: needed a field of images, {' or '.join(images)}, found {field!r}"
        )
    if described is None or field not in images or described.shape[1] != sum(channels):
        raise StoreError(
            f"{split.path}: needed sums of the images' channels, found none: it was not packed by "
            "zarrfeed, or by an older one; `zarrfeed repack` adds them"
        )
    sums = _sum(split, CHANNEL_SUMS, ids, np.float64)
    if not np.isfinite(sums).all():
        raise StoreError(
            f"{split.path / CHANNEL_SUMS}: needed finite sums, found {sums.tolist()}: an older "
            "zarrfeed packed images with NaN or infinite values; convert them again"
        )
    first = sum(channels[: images.index(field)])
    sums = sums[first : first + split.layouts[field].shape[-1]]
    pixels = len(ids) * math.prod(split.layouts[field].sample_shape[:-1])
    counts = np.maximum(pixels - sums[:, 2:].sum(axis=1), 1)
    mean = sums[:, 0] / counts
    return Normalization(mean, np.maximum(sums[:, 1] / counts - mean**2, 0.0))


def _sum(split: Split, field: str, ids: Ids, dtype: DTypeLike) -> NDArray[Any]:
    """Sum a field over samples, however many they are.

    Returns
    -------
    sample_shape
        Of `dtype`.
    """
    layout = split.layouts[field]
    with SplitReader(split, [field]) as reader:
        total = np.zeros(layout.sample_shape, dtype)
        step = max(1, min(_SUMMED, _SUMMED_NBYTES // layout.sample_nbytes))
        for start in range(0, len(ids), step):
            total += reader.read(ids[start : start + step])[field].sum(axis=0, dtype=dtype)
    return total
