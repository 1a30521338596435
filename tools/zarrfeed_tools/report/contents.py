"""What is in each unit, as a number by which equal contents are found?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.store.schema import CHANNEL_SUMS, DIGEST
from zarrfeed_tools.report.mixing import at_places, mixed_columns

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from zarrfeed_tools.report.units import Units

# Sums of fewer values are the same by chance.
_FEWEST_VALUES = 1024


def digests_of(units: Units) -> NDArray[np.uint64]:
    """Return a digest of all fields of each unit.

    Of a sample it is the stored one. That of a case is made from those of its tiles, and its size.

    Returns
    -------
    (units,) uint64
    """
    return _of_units(units, DIGEST, lambda _, digests: digests.astype(np.uint64, copy=False))


def image_sums_of(units: Units) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Return a number for the sums and the sums of squares of the channels of each unit's image.

    Equal images of one size have equal sums. Different images have equal sums by chance only, if
    they have many values of many kinds.

    Returns
    -------
    numbers, telling
        (units,) uint64, and (units,) bool: whether the image has enough values, more than 0 and 1
        among them.
    """
    telling = np.zeros(len(units), np.bool_)
    plain = np.zeros(units.rows, np.bool_)
    channels = units.split.layouts[CHANNEL_SUMS].shape[1]

    def numbers(first: int, sums: NDArray[np.float64]) -> NDArray[np.uint64]:
        some = slice(first, first + len(sums))
        # One bit per value, or one value for all, as both sums say.
        pixels = units.row_pixels(first, len(sums))[:, None]
        total, squares = sums[:, :, 0], sums[:, :, 1]
        with np.errstate(over="ignore", invalid="ignore"):
            same = np.abs(squares * pixels - total**2) <= 1e-9 * np.abs(squares * pixels)
        plain[some] = (same | (total == squares)).all(axis=1)
        # -0.0 is 0.0
        return mixed_columns(sums[:, :, :2].astype(np.float64).reshape(len(sums), -1) + 0.0)

    found = _of_units(units, CHANNEL_SUMS, numbers)
    pixels = units.pixels(0, len(units))
    telling = pixels * channels >= _FEWEST_VALUES
    if units.table is None:
        return found, telling & ~plain
    every = np.logical_and.reduceat(plain, units.table.first_tile)
    return found, telling & ~every


def _of_units(
    units: Units, array: str, numbers: Callable[[int, NDArray[Any]], NDArray[np.uint64]]
) -> NDArray[np.uint64]:
    """Make a number of each unit, from those of its rows and its size."""
    found = np.zeros(len(units), np.uint64)
    for first, values in units.blocks(array):
        words = numbers(first, values)
        if units.table is None:
            found[first : first + len(words)] = words
            continue
        rows = np.arange(first, first + len(words), dtype=np.int64)
        cases = units.table.cases_of(rows)
        starts = np.flatnonzero(np.diff(cases, prepend=-1))
        words = at_places(words, rows - units.table.first_tile[cases])
        found[cases[starts]] += np.add.reduceat(words, starts)
    if units.table is None:
        return found
    return mixed_columns(np.column_stack([found, units.table.sizes.astype(np.uint64)]))
