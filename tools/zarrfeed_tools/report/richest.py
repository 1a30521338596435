"""Which sample or case has most pixels of each class? Read from stored counts, not from masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed import SplitReader, open_cases
from zarrfeed.store.case_table import CaseTable
from zarrfeed.store.schema import CLASS_PIXELS
from zarrfeed_tools.report.choice import Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from zarrfeed import Split

_BLOCK_NBYTES = 4 << 20


def richest_samples(splits: Sequence[Split]) -> list[Place]:
    """Return the sample, or case, that has most pixels of each class.

    Parameters
    ----------
    splits
        The splits of a dataset. Those that don't count pixels of classes are left out.

    Returns
    -------
    list
        One place for each class that has pixels, that of the rarest class first. The ignored id is
        no class.

    Raises
    ------
    StoreError, ReadError
        The counts are damaged.
    """
    most: dict[int, tuple[int, Place]] = {}
    total: dict[int, int] = {}
    for split in splits:
        counts, numbers, sums = _richest(split)
        for class_id in np.flatnonzero(sums > 0).tolist():
            total[class_id] = total.get(class_id, 0) + int(sums[class_id])
            here = int(counts[class_id]), Place(split.path.name, int(numbers[class_id]))
            most[class_id] = max(most.get(class_id, here), here, key=lambda found: found[0])
    return [most[class_id][1] for class_id in sorted(most, key=lambda each: total[each])]


def _richest(split: Split) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.float64]]:
    """Return, by class, the most pixels that a unit has, which one it is, and the sum of all."""
    counted = split.describing(CLASS_PIXELS)
    classes = counted.shape[1] if counted else 0
    most = np.zeros(classes, np.int64)
    numbers = np.zeros(classes, np.int64)
    sums = np.zeros(classes)
    if counted is not None:
        for first, pixels in _blocks(split, counted.shape):
            if split.ignore is not None and not split.multi_hot:
                pixels[:, split.ignore : split.ignore + 1] = 0
            sums += pixels.sum(axis=0, dtype=np.float64)
            best = pixels.argmax(axis=0)
            values = pixels[best, np.arange(classes)]
            better = values > most
            most[better], numbers[better] = values[better], first + best[better]
    return most, numbers, sums


def _blocks(split: Split, shape: tuple[int, ...]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield counts (units, classes) of some units, and the number of the first of them."""
    step = max(1, _BLOCK_NBYTES // max(1, 8 * shape[1]))
    with SplitReader(split, [CLASS_PIXELS]) as reader:
        if split.tile_size is None:
            for first in range(0, shape[0], step):
                stop = min(first + step, shape[0])
                yield first, reader.read(range(first, stop))[CLASS_PIXELS].astype(np.int64)
            return
        table = CaseTable.of_sizes(open_cases(split).sizes, split.tile_size)
        for case in range(len(table)):
            rows = table.rows(case)
            pixels = np.zeros((1, shape[1]), np.int64)
            for first in range(rows.start, min(rows.stop, shape[0]), step):
                part = range(first, min(first + step, rows.stop, shape[0]))
                pixels += reader.read(part)[CLASS_PIXELS].sum(axis=0, dtype=np.int64)
            yield case, pixels
