"""How many pixels of each class does each sample have? Read in blocks, from `class_pixels`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import StoreError, look_up
from zarrfeed.machine_memory import require_memory
from zarrfeed.store.reader import SplitReader
from zarrfeed.store.schema import CLASS_PIXELS, MASK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from zarrfeed.arrays import Ids
    from zarrfeed.store.split import Split

_BLOCK_NBYTES = 4 << 20


def counted_classes(split: Split) -> int:
    """Return for how many classes a split counts the pixels of every sample.

    Raises
    ------
    StoreError
        It does not.
    """
    counted, mask = split.describing(CLASS_PIXELS), split.layouts.get(MASK)
    if counted is None or (mask is not None and mask.shape[0] != counted.shape[0]):
        raise StoreError(
            f"{split.address}: needed {CLASS_PIXELS!r}, the pixels of each class in each sample, "
            "found none: `zarrfeed convert` counts them; without, only sampling=Weights(…) works"
            f"{look_up('class-counts')}"
        )
    classes = counted.shape[1]
    if split.classes and classes != len(split.classes):
        raise StoreError(
            f"{split.address}/{CLASS_PIXELS}: needed counts of {len(split.classes)} classes, found "
            f"{classes}: convert again"
        )
    return classes


def class_count_blocks(split: Split, ids: Ids) -> Iterator[tuple[slice, NDArray[np.integer[Any]]]]:
    """Read how many pixels of each class some samples have.

    Parameters
    ----------
    split
        An opened split.
    ids
        Sample ids: (n,) int64, or a range.

    Yields
    ------
    rows
        A part of `ids`.
    pixels
        (rows, classes) integers; 0 for the ignore id.

    Raises
    ------
    StoreError
        The split has no such counts, or they are negative.
    """
    counted_classes(split)
    each = max(1, split.layouts[CLASS_PIXELS].sample_nbytes)
    step = max(1, _BLOCK_NBYTES // each)
    with SplitReader(split, [CLASS_PIXELS]) as reader:
        for start in range(0, len(ids), step):
            pixels = reader.read(ids[start : start + step])[CLASS_PIXELS]
            if pixels.min(initial=0) < 0:
                raise StoreError(
                    f"{split.address}/{CLASS_PIXELS}: needed counts of at least 0, found "
                    f"{pixels.min()}: restore it, or convert again"
                )
            if split.ignore is not None:
                pixels[:, split.ignore : split.ignore + 1] = 0
            yield slice(start, start + len(pixels)), pixels


def class_presence(split: Split, ids: Ids) -> NDArray[np.bool_]:
    """Read which classes samples contain.

    Returns
    -------
    (n, classes) bool
        In Fortran order, in which a class of all samples is contiguous.

    Raises
    ------
    StoreError
        As :func:`class_count_blocks`, or the array would not fit in memory.
    """
    shape = len(ids), counted_classes(split)
    require_memory(split.path, shape[0] * shape[1], f"the classes of {shape[0]:,} samples")
    presence = np.empty(shape, np.bool_, order="F")
    for rows, pixels in class_count_blocks(split, ids):
        presence[rows] = pixels > 0
    return presence


def drawn_class_pixels(split: Split, ids: Ids, draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum the pixels of each class over samples that are drawn several times, or partly.

    Parameters
    ----------
    split, ids
        As for :func:`class_count_blocks`.
    draws
        (n,) float64: how often each sample is drawn.

    Returns
    -------
    (classes,) float64
    """
    total = np.zeros(counted_classes(split))
    for rows, pixels in class_count_blocks(split, ids):
        total += draws[rows] @ pixels
    return total


def drawn_with_class(split: Split, ids: Ids, draws: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the draws that contain each class.

    Parameters
    ----------
    split, ids
        As for :func:`class_count_blocks`.
    draws
        (n,) int64: how often each sample is drawn.

    Returns
    -------
    (classes,) int64
    """
    total = np.zeros(counted_classes(split), np.int64)
    for rows, pixels in class_count_blocks(split, ids):
        total += draws[rows] @ (pixels > 0)
    return total
