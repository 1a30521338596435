"""How many pixels of each class does a mask have?

Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed_convert.source import Mask

_COUNTED_BY_PILLOW = 1 << 14  # pixels of a mask, at least


def class_counts(mask: Mask, classes: int, *, multi_hot: bool) -> NDArray[np.int64]:
    """Count the pixels of each class.

    Parameters
    ----------
    mask
        (H, W) or (D, H, W) class ids, of which those beyond `classes` are not counted; or, with a
        last axis of `classes`, ones and zeros.
    classes
        How many there are.
    multi_hot
        Whether the mask has that axis.

    Returns
    -------
    (classes,) int64

    Examples
    --------
    >>> class_counts(np.array([[0, 2, 2]], np.uint8), 4, multi_hot=False).tolist()
    [1, 0, 2, 0]
    >>> class_counts(np.array([[[0, 0], [1, 1], [0, 1]]], np.uint8), 2, multi_hot=True).tolist()
    [1, 2]
    """
    if multi_hot:
        # Lines first: of 360×480×3, 0.1 ms, where a sum over all pixels at once takes 2.2.
        lines = mask.reshape(-1, mask.shape[-2] * classes)
        of_columns = np.add.reduce(lines, axis=0, dtype=np.uint32).reshape(-1, classes)
        return np.asarray(of_columns.sum(axis=0), np.int64)
    counts = value_counts(mask)[:classes]
    return np.pad(counts, (0, classes - counts.size))


def value_counts(mask: Mask) -> NDArray[np.int64]:
    """Count the pixels of every value of a mask, from 0 to the highest that is possible or found.

    Examples
    --------
    >>> value_counts(np.array([[0, 2, 2]], np.uint8))[:3].tolist()
    [1, 0, 2]
    """
    # NumPy makes int64 of a mask first: of a CamVid mask, 0.33 against 0.13 ms. Pillow's calls take
    # 30 µs each, in which NumPy has counted a small one.
    if mask.dtype == np.uint8 and mask.size >= _COUNTED_BY_PILLOW:
        from PIL import Image as PillowImage

        plane = np.ascontiguousarray(mask).reshape(-1, mask.shape[-1])
        counts = PillowImage.fromarray(plane).histogram()
        return np.array(counts, np.int64)
    return np.bincount(mask.ravel()).astype(np.int64, copy=False)
