"""What do the descriptive arrays of a split say about its samples?

They hold the samples' names, the pixels of each class, and sums for the mean and the variance of
the images, all written when the split was packed. No image or mask is read.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zarrfeed.errors import StoreError
from zarrfeed.store.case_reading import read_case_keys, read_case_table
from zarrfeed.store.names import decode_names
from zarrfeed.store.reader import SplitReader, read_samples
from zarrfeed.store.schema import CHANNEL_SUMS, CLASS_PIXELS, IMAGE, KEY, MASK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike, NDArray

    from zarrfeed.arrays import Ids
    from zarrfeed.store.split import Split

# Samples that are read at a time for a sum, at most, and their bytes.
_MOST_SUMMED, _MOST_SUMMED_NBYTES = 1 << 16, 8 << 20


def sample_names(split: Split, ids: Ids) -> list[str]:
    """Return the keys of samples, or "sample ID" for each if the store has no keys.

    Tiles of cases are named by the key of the case and their origin: ``KEY#y,x`` or ``KEY#z,y,x``.
    """
    try:
        if split.tile_size is not None:
            return _tile_names(split, ids)
    except StoreError:
        if split.packed:
            raise
        return [f"sample {sample}" for sample in ids]  # they mean something else there
    if split.describing(KEY) is None:
        return [f"sample {sample}" for sample in ids]
    return decode_names(read_samples(split, KEY, ids))


def case_names(split: Split, cases: NDArray[np.int64]) -> list[str]:
    """Return the keys of cases, given by their numbers; of samples, in a split of samples."""
    if split.tile_size is None:
        return sample_names(split, cases)
    numbers, places = np.unique(cases, return_inverse=True)
    keys = read_case_keys(split, numbers)
    return [keys[place] for place in places.tolist()]


def _tile_names(split: Split, rows: Ids) -> list[str]:
    table = read_case_table(split)
    cases = np.unique(table.cases_of(np.asarray(rows, np.int64)))
    keys = dict(zip(cases.tolist(), read_case_keys(split, cases), strict=True))
    return table.tile_names(keys, rows)


def class_pixels(split: Split, ids: Ids) -> NDArray[np.int64] | None:
    """Sum the pixels of each class over samples.

    Parameters
    ----------
    split
        An opened split.
    ids
        Sample ids: (n,) int64, or a ``range``.

    Returns
    -------
    (classes,) int64 or None
        None if the store has no such counts. A pixel of a multi-hot mask counts once for each of
        its classes.

    Raises
    ------
    StoreError
        A stored count is negative or larger than the number of pixels.
    """
    counted, mask = split.describing(CLASS_PIXELS), split.layouts.get(MASK)
    if counted is None or (split.classes and counted.sample_shape != (len(split.classes),)):
        return None
    pixels = _sum(split, CLASS_PIXELS, ids, np.int64)
    most = pixels.max(initial=0)
    if mask:
        shape = mask.sample_shape[:-1] if split.multi_hot else mask.sample_shape
        most = _pixels(split, shape, ids)
    if ((pixels < 0) | (pixels > most)).any():
        raise StoreError(
            f"{split.address}/{CLASS_PIXELS}: needed counts from 0 to {most} (all pixels of "
            f"{len(ids)} samples), found {pixels.tolist()!s:.200}: restore it, or convert again"
        )
    return pixels


class Normalization(NamedTuple):
    """Mean and variance of images, as ``keras.layers.Normalization`` takes them.

    Attributes
    ----------
    mean, variance
        (C,) float64 each, per channel. NaN and infinite pixels do not count.
    """

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]


def image_fields(split: Split) -> list[str]:
    """Return the fields whose role is `image`, in the order of their sums."""
    roles = split.attributes.get("packed", {}).get("roles", {IMAGE: "image"})
    return [name for name, role in roles.items() if role == "image" and name in split.layouts]


def normalization_of(split: Split, ids: Ids, field: str = IMAGE) -> Normalization:
    """Compute the mean and the variance of each channel over some samples.

    Parameters
    ----------
    split
        An opened split.
    ids
        Sample ids, at least one: (n,) int64, or a ``range``.
    field
        An array whose role is `image`.

    Raises
    ------
    StoreError
        The split has no sums of its images' channels, they are not finite, or the field is not an
        image.

    Notes
    -----
    ``variance = E[x²] - E[x]²``, from sums that are exact for integers.
    """
    described, images = split.describing(CHANNEL_SUMS), image_fields(split)
    channels = [split.layouts[name].shape[-1] for name in images]
    if field in split.layouts and images and field not in images:
        raise StoreError(
            f"{split.address}: needed a field of images, {' or '.join(images)}, found {field!r}"
        )
    if described is None or field not in images or described.shape[1] != sum(channels):
        how = (
            "an older zarrfeed packed the split; `zarrfeed repack` adds them"
            if split.packed
            else "zarrfeed did not pack the images; `zarrfeed convert` does, and sums them"
        )
        raise StoreError(f"{split.address}: needed sums of the images' channels, found none: {how}")
    sums = _sum(split, CHANNEL_SUMS, ids, np.float64)
    if not np.isfinite(sums).all():
        raise StoreError(
            f"{split.address}/{CHANNEL_SUMS}: needed finite sums, found {sums.tolist()}: an older "
            "zarrfeed packed images with NaN or infinite values; convert them again"
        )
    first = sum(channels[: images.index(field)])
    sums = sums[first : first + split.layouts[field].shape[-1]]
    pixels = _pixels(split, split.layouts[field].sample_shape[:-1], ids)
    counts = np.maximum(pixels - sums[:, 2:].sum(axis=1), 1)
    mean = sums[:, 0] / counts
    return Normalization(mean, np.maximum(sums[:, 1] / counts - mean**2, 0.0))


def mixed_normalization(of_each: Sequence[Normalization], shares: Sequence[float]) -> Normalization:
    """Return mean and variance of pixels of which given shares are from given images.

    Parameters
    ----------
    of_each
        Mean and variance of each.
    shares
        Share of each; their sum is 1.

    Examples
    --------
    >>> one, two = (Normalization(np.array([m]), np.array([0.0])) for m in (0.0, 4.0))
    >>> mean, variance = mixed_normalization([one, two], [0.75, 0.25])
    >>> mean.tolist(), variance.tolist()
    ([1.0], [3.0])
    """
    pairs = list(zip(of_each, shares, strict=True))
    mean = np.sum([share * each.mean for each, share in pairs], axis=0)
    spread = [share * (each.variance + (each.mean - mean) ** 2) for each, share in pairs]
    return Normalization(mean, np.sum(spread, axis=0))


def _pixels(split: Split, shape: tuple[int, ...], ids: Ids) -> int:
    """Count the pixels of samples of this shape; of tiles those inside their cases, not padding."""
    if split.tile_size is None:
        return len(ids) * math.prod(shape)
    return read_case_table(split).own_pixels(ids)


def _sum(split: Split, field: str, ids: Ids, dtype: DTypeLike) -> NDArray[Any]:
    """Sum a field over samples in bounded memory.

    Returns
    -------
    array of the field's sample shape, of `dtype`
    """
    layout = split.layouts[field]
    with SplitReader(split, [field]) as reader:
        total = np.zeros(layout.sample_shape, dtype)
        step = max(1, min(_MOST_SUMMED, _MOST_SUMMED_NBYTES // layout.sample_nbytes))
        for start in range(0, len(ids), step):
            total += reader.read(ids[start : start + step])[field].sum(axis=0, dtype=dtype)
    return total
