"""Which samples or cases of a split are shown? Those that fulfil a condition, spread evenly."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import StoreError
from zarrfeed.spelling import did_you_mean, few
from zarrfeed.store.case_reading import read_case_table
from zarrfeed.store.class_counts import class_count_blocks, counted_classes
from zarrfeed.store.descriptive_arrays import case_names
from zarrfeed.store.schema import CASE_KEY, CLASS_PIXELS, KEY, MASK
from zarrfeed.views.conditions import parse_condition
from zarrfeed.views.stored_views import palette_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed.store.split import Split
    from zarrfeed.views.conditions import Condition

_BLOCK = 1 << 14  # keys that are read at a time
_MOST_COMPARED = 10_000  # keys among which a similar one is looked for


def condition_of(text: str, split: Split) -> Condition:
    """Read a condition on the classes of a split.

    Raises
    ------
    StoreError
        The split does not count the pixels of its classes.
    ConditionError
        The condition is misspelt; see :mod:`zarrfeed.views.conditions`.
    """
    if split.describing(CLASS_PIXELS) is None:
        raise StoreError(
            f"{split.address}: needed {CLASS_PIXELS!r}, the pixels of each class in each sample, "
            "found none: convert it by `zarrfeed convert`, which counts them, or leave out the "
            "condition"
        )
    return parse_condition(text, palette_of(split), counted_classes(split))


def fulfilling(split: Split, condition: Condition) -> NDArray[np.int64]:
    """Return the numbers of the samples, or cases, that fulfil a condition. Reads no mask.

    Parameters
    ----------
    split
        An opened split.
    condition
        What they must have, of :func:`condition_of`.
    """
    samples = split.layouts[CLASS_PIXELS].shape[0]
    if split.tile_size is None:
        size = _sample_pixels(split)
        chosen = [
            np.flatnonzero(condition.holds(pixels, np.full(len(pixels), size))) + rows.start
            for rows, pixels in class_count_blocks(split, range(samples))
        ]
        return np.concatenate([np.zeros(0, np.int64), *chosen])
    table = read_case_table(split)
    totals = np.zeros((len(table), counted_classes(split)), np.int64)
    for rows, pixels in class_count_blocks(split, range(samples)):
        cases = table.cases_of(np.arange(rows.start, rows.stop))
        np.add.at(totals, cases, pixels.astype(np.int64))
    return np.flatnonzero(condition.holds(totals, table.sizes.prod(axis=1)))


def _sample_pixels(split: Split) -> int:
    mask = split.layouts.get(MASK)
    if mask is None:
        return 0
    return math.prod(mask.sample_shape[:-1] if split.multi_hot else mask.sample_shape)


def numbers_of_keys(splits: Sequence[Split], keys: Sequence[str]) -> list[list[int]]:
    """Find samples or cases of some splits by their keys.

    Returns
    -------
    list of lists of int
        Their numbers in each split, in the order of the keys.

    Raises
    ------
    StoreError
        No split has a key; the message suggests one.
    """
    known: list[str] = []
    found = [_numbers(split, set(keys), known) for split in splits]
    for key in keys:
        if not any(key in numbers for numbers in found):
            such = f"such as {few(map(repr, known), shown=3, counted=True)}"
            if not known:
                such = "its samples have no names: leave out the keys"
            raise StoreError(
                f"{splits[0].path if len(splits) == 1 else splits[0].path.parent}: needed the key "
                f"of a sample or case, found {key!r:.200}: "
                f"{did_you_mean(key, known, otherwise=such)}"
            )
    return [[numbers[key] for key in dict.fromkeys(keys) if key in numbers] for numbers in found]


def _numbers(split: Split, wanted: set[str], known: list[str]) -> dict[str, int]:
    """Look keys up, block by block, and collect some of them in `known`."""
    described = split.describing(CASE_KEY if split.tile_size is not None else KEY)
    found: dict[str, int] = {}
    for start in range(0, described.shape[0] if described else 0, _BLOCK):
        assert described is not None
        names = case_names(split, np.arange(start, min(start + _BLOCK, described.shape[0])))
        known += names[: _MOST_COMPARED - len(known)]
        for at, name in enumerate(names):
            if name in wanted:
                found.setdefault(name, start + at)
    return found


def spread(numbers: Sequence[int] | NDArray[np.int64], count: int, seed: int | None) -> list[int]:
    """Choose some of many numbers.

    Parameters
    ----------
    numbers
        All.
    count
        How many, at most.
    seed
        Of a random choice; None to spread them evenly.

    Returns
    -------
    list of int
        In their order.

    Examples
    --------
    >>> spread(range(100), 4, None)
    [12, 37, 62, 87]
    """
    count = min(count, len(numbers))
    if seed is None:
        places = [(2 * place + 1) * len(numbers) // (2 * count) for place in range(count)]
    else:
        chosen = np.random.default_rng(seed).choice(len(numbers), count, replace=False)
        places = sorted(chosen.tolist())
    return [int(numbers[place]) for place in places]
