"""How many pixels of each class do a true and a predicted mask share, and how many not?

Pure. Results have a row for each class: its true positives, false positives and false negatives.
Rows of several boxes of a case add up to those of the case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Pixels that are counted at a time: NumPy's intermediate results then stay in the processor's
# cache, which is twice as fast as counting 1 M at a time.
_PIECE = 1 << 17
# Below this, comparing with every id is faster than ``bincount``, which converts to int64 first.
_FEW = 16


def overlap_of_ids(
    truth: NDArray[Any], predicted: NDArray[Any], *, classes: int, ignore: int | None = None
) -> NDArray[np.int64]:
    """Count the pixels of each class in two masks of class ids.

    Parameters
    ----------
    truth, predicted
        Masks of one shape, of bool, uint8 or uint16.
    classes
        Number of classes.
    ignore
        Pixels with this id in `truth` are left out. In `predicted`, it is no class.

    Returns
    -------
    (n, 3) int64
        True positives, false positives and false negatives of each id. n is `classes`, or more if
        there are higher ids.

    Examples
    --------
    >>> truth, predicted = np.array([[0, 0, 1, 1, 9]], np.uint8), np.array([[0, 1, 1, 0, 1]], "u1")
    >>> overlap_of_ids(truth, predicted, classes=2, ignore=9)[:2].tolist()
    [[1, 1, 1], [1, 1, 1]]
    """
    true, found = truth.reshape(-1), predicted.reshape(-1)
    total = np.zeros((classes, 3), np.int64)
    for start in range(0, true.size, _PIECE):
        piece = slice(start, start + _PIECE)
        total = add_overlaps(total, _overlap_of_piece(true[piece], found[piece], ignore))
    if ignore is not None:
        total[ignore : ignore + 1] = 0
    return total


def _overlap_of_piece(
    true: NDArray[Any], found: NDArray[Any], ignore: int | None
) -> NDArray[np.int64]:
    # Only one of the masks is counted as a whole. The other pixels that have to be counted are
    # those at which they differ, and of good predictions these are few.
    apart = np.flatnonzero(true != found)
    missed, wrong = true[apart], found[apart]
    if ignore is not None:
        valid = missed != ignore
        missed, wrong = missed[valid], wrong[valid]
    parts = [_id_counts(true), np.bincount(wrong), np.bincount(missed)]
    counts = np.zeros((max(map(len, parts)), 3), np.int64)
    for column, part in enumerate(parts):
        counts[: len(part), column] = part
    counts[:, 0] -= counts[:, 2]
    return counts


def _id_counts(ids: NDArray[Any]) -> NDArray[np.int64]:
    top = int(ids.max(initial=0))
    if top < _FEW:
        return np.array([np.count_nonzero(ids == value) for value in range(top + 1)], np.int64)
    return np.bincount(ids)


def overlap_of_channels(truth: NDArray[Any], predicted: NDArray[Any]) -> NDArray[np.int64]:
    """Count the pixels of each class in two multi-hot masks, whose classes may overlap.

    Parameters
    ----------
    truth, predicted
        (…, K) bool masks of one shape, of 2 or more axes.

    Returns
    -------
    (K, 3) int64
        True positives, false positives and false negatives of each class.

    Examples
    --------
    >>> truth, predicted = np.array([[[1, 1], [0, 1]]], bool), np.array([[[1, 0], [1, 1]]], bool)
    >>> overlap_of_channels(truth, predicted).tolist()
    [[1, 1, 0], [1, 0, 1]]
    """
    shared, true, found = map(_ones, (truth & predicted, truth, predicted))
    return np.stack([shared, found - shared, true - shared], axis=1)


def _ones(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Count the ones of each channel, line by line, because NumPy is slow to keep a short axis."""
    width, classes = mask.shape[-2:]
    columns = np.add.reduce(mask.reshape(-1, width * classes), axis=0, dtype=np.int64)
    ones: NDArray[np.int64] = columns.reshape(width, classes).sum(axis=0)
    return ones


def add_overlaps(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """Add the counts of two parts of a case, of which one may have more rows.

    Examples
    --------
    >>> add_overlaps(np.array([[1, 2, 3]]), np.array([[1, 0, 0], [0, 5, 0]])).tolist()
    [[2, 2, 3], [0, 5, 0]]
    """
    longer, shorter = (one, other) if len(one) >= len(other) else (other, one)
    total = longer.copy()
    total[: len(shorter)] += shorter
    return total
